"""Where the YAML files of experiments and sweeps lie: the user's folder is searched first, file by file."""

from pathlib import Path

from data_modules.settings import expand
from mmnar_lightning.config.experiment import ConfigError

EXPERIMENTS = "experiments"


def experiments_folder() -> Path:
    """The folder of the YAML files of the program: in the checkout or the installed package.

    Returns:
        The first of them that has a base.yaml.

    Raises:
        ConfigError: if none has.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / EXPERIMENTS, package / f"_{EXPERIMENTS}"):
        if (folder / "base.yaml").is_file():
            return folder
    raise ConfigError("no experiments/base.yaml in the checkout or in the package; reinstall the package")


def experiments_folders() -> list[Path]:
    """The folders that are searched: experiments/ of the working directory, if there is one, then the program's."""
    own = Path.cwd() / EXPERIMENTS
    return [*([own] if own.is_dir() else []), experiments_folder()]


def experiment_file(name: str) -> Path | None:
    """Find a file by its path below experiments/.

    Args:
        name: for example `base.yaml` or `sweeps/random.yaml`.

    Returns:
        The user's, else the program's; None if neither has it.
    """
    return next((folder / name for folder in experiments_folders() if (folder / name).is_file()), None)


def known_experiments() -> list[str]:
    """Names of all files that can be an experiment or a layer of one, the user's included."""
    found = {
        str(path.relative_to(folder).with_suffix(""))
        for folder in experiments_folders()
        for path in folder.rglob("*.yaml")
    }
    return sorted(found)


def sweep_file(given: str) -> Path:
    """Find a sweep's file.

    Args:
        given: a path; one that begins with experiments/ may be a file of the program.

    Returns:
        Where it is; the given path if it is nowhere, which is refused when it is read.
    """
    path = Path(expand(given))
    if path.is_file() or path.is_absolute() or path.parts[:1] != (EXPERIMENTS,):
        return path
    return experiment_file(str(Path(*path.parts[1:]))) or path
