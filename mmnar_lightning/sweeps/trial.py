"""One trial: a run in the folder that its sweep assigns, started or resumed; it never reads test rows."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from data_modules import locks
from data_modules.vocabulary import check_name
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.runs import folders, plan, single
from mmnar_lightning.sweeps.workers import FOLDER_VARIABLE

LOCK = ".trial.lock"


def trial(config: ExperimentConfig) -> Path:
    """Train in the trial's folder, from its last checkpoint if there is one.

    Args:
        config: settings of the run.

    Returns:
        The folder.

    Raises:
        ConfigError: outside of a sweep, or if the settings would read test rows.
    """
    if config.evaluate:
        raise ConfigError(
            "evaluate=true: a trial never reads test rows; set evaluate=false (mmnar best reads them once)"
        )
    if protocol := plan.protocol_of(config):
        raise ConfigError(
            f"a trial is one run, but these settings define several ({protocol}); sweep over seed instead"
        )
    folder = folder_of(config.paths.runs, os.environ)
    with _alone(folder):
        if (folder / folders.DONE).is_file():
            say(f"{folder} is finished")
            return folder
        with folders.child_run(folder):
            single.train(replace(config, resume=""))  # which forgets the words: a search space is not conditional
    return folder


def folder_of(base: str, environment: Mapping[str, str]) -> Path:
    """Folder of a trial, the same for every agent.

    Args:
        base: `paths.runs`.
        environment: variables, with the folder, or the sweep and run of W&B.

    Returns:
        An absolute path.

    Raises:
        ConfigError: outside of a sweep.

    >>> folder_of("/runs", {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "r2"}).as_posix()
    '/runs/sweeps/s1/r2'
    """
    if given := environment.get(FOLDER_VARIABLE):
        return Path(given).absolute()
    names = {name: environment.get(name, "") for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID")}
    if not all(names.values()):
        raise ConfigError("a trial is started by `mmnar sweep` or by `wandb agent`; `mmnar train` trains a single run")
    for variable, name in names.items():
        check_name(variable, name)
    return Path(base).absolute().joinpath("sweeps", *names.values())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait while another process trains this trial; rank zero waits for all ranks."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]  # Lightning sets it
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locks.locked(folder / LOCK):
        yield
