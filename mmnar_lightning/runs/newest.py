"""The run of a command: the one that it names, or the newest."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.yaml_files import read_yaml
from mmnar_lightning.console import say
from mmnar_lightning.runs.folders import CHILDREN, CONFIG
from mmnar_lightning.runs.started import started


def run_of(config: ExperimentConfig, *needed: str, parents: bool = False) -> Path:
    """The folder of `run`; if it is empty, of the run in `paths.runs` that was started last, which a line names.

    It is a run of any experiment, unless the command names one (`experiment=`), or a dataset.

    Args:
        config: of the command.
        needed: names of files; a run with any of them is considered.
        parents: whether the runs that gather a protocol are considered too.

    Returns:
        The folder.

    Raises:
        ConfigError: if there is none.
    """
    if config.run:
        return Path(config.run)
    place = Path(config.paths.runs)
    experiment = config.experiment if "experiment" in config.given else "*"
    found = [
        path.parent
        for path in place.glob(f"{experiment}/*/{CONFIG}")
        if any((path.parent / name).is_file() for name in needed)
        and (parents or not (path.parent / CHILDREN).is_file())
    ]
    for folder in sorted(found, key=started, reverse=True):
        if "dataset" not in config.given or _dataset(folder) == config.dataset:
            say(f"the newest run: {folder}")
            return folder
    named = [f"{key}={getattr(config, key)}" for key in ("experiment", "dataset") if key in config.given]
    raise ConfigError(
        f"{place} has no run{' of ' if named else ''}{' '.join(named)} with {' or '.join(needed)}; train one first, or "
        "give its folder by run="
    )


def _dataset(folder: Path) -> str:
    saved = OmegaConf.create(read_yaml(folder / CONFIG))
    assert isinstance(saved, DictConfig)
    return str(saved.dataset)
