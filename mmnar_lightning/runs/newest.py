"""The run of a command: the one that it names, or the newest."""

import time
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.yaml_files import read_yaml
from mmnar_lightning.console import say, warn
from mmnar_lightning.runs.folders import CHILDREN, CONFIG, DONE, LOCK, is_free
from mmnar_lightning.runs.started import started

TRIES, PAUSE = 5, 0.1
"""How often, and seconds between, a lock is tried that another rank may hold for a moment, because it tries it too."""


def run_of(config: ExperimentConfig, *needed: str, parents: bool = False) -> Path:
    """The folder of `run`; if it is empty, of the run in `paths.runs` that was started last, which a line names.

    It is a run of any experiment, unless the command names one (`experiment=`), or a dataset. One that another process
    trains is left out.

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
        if "dataset" in config.given and _dataset(folder) != config.dataset:
            continue
        if _is_trained_now(folder):
            warn(f"{folder} is being trained by another process, so an earlier run is taken")
            continue
        say(f"the newest run: {folder}")
        return folder
    named = [f"{key}={getattr(config, key)}" for key in ("experiment", "dataset") if key in config.given]
    raise ConfigError(
        f"{place} has no run{' of ' if named else ''}{' '.join(named)} with {' or '.join(needed)}; train one first, or "
        "give its folder by run="
    )


def _is_trained_now(folder: Path) -> bool:
    """Whether another process trains a run, or one of the runs that it gathers."""
    children = [path.parent for path in folder.glob(f"*/{LOCK}")] if (folder / CHILDREN).is_file() else []
    return any(_is_held(own) for own in (folder, *children))


def _is_held(folder: Path) -> bool:
    if (folder / DONE).is_file() or not (folder / LOCK).is_file():
        return False
    for _ in range(TRIES):
        try:
            if is_free(folder):
                return False
        except OSError:  # no process trains in a folder that it cannot write
            return False
        time.sleep(PAUSE)
    return True


def _dataset(folder: Path) -> str:
    saved = OmegaConf.create(read_yaml(folder / CONFIG))
    assert isinstance(saved, DictConfig)
    return str(saved.dataset)
