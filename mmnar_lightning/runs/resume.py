"""Where a run goes on: the newest checkpoint that is whole and its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from data_modules.errors import UserError
from mmnar_lightning.callbacks.run_identity import IDENTITY_KEY
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.console import say, warn
from mmnar_lightning.runs.folders import LAST, PREVIOUS

PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters")
"""What a checkpoint of ours holds."""


class BrokenCheckpointError(UserError):
    """A checkpoint is cut off, or not one of ours."""


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run goes on from.

    Attributes:
        path: of the checkpoint.
        run_id: of the run, and of its W&B run.
        epoch: that it was written in.
        step: after which it was written.
        world_size: how many ranks wrote it.
    """

    path: Path
    run_id: str
    epoch: int
    step: int
    world_size: int

    def __str__(self) -> str:
        """For people."""
        return f"from {self.path.name}, epoch {self.epoch}, step {self.step}"


def checkpoint_to_resume(folder: Path, cohort: str) -> Start | None:
    """The last checkpoint of a run, or the one before where that is broken; None in a run that has none.

    A broken one is kept under another name, so that it is never the one before.

    Args:
        folder: of the run.
        cohort: fingerprint of the cohort of now.

    Raises:
        ConfigError: when every checkpoint is broken, or the cohort is another.
    """
    refused = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            checkpoint = read_checkpoint(path, cohort)
        except FileNotFoundError:
            continue
        except BrokenCheckpointError as error:
            refused.append(str(error))
            warn(str(error))
            _set_aside(path)
            continue
        if refused:
            warn(f"{path} is used, the checkpoint before")
        return Start(path, epoch=checkpoint["epoch"], step=checkpoint["global_step"], **identity(checkpoint))
    if refused:
        raise ConfigError(f"{'; '.join(refused)}; no checkpoint is left to go on from, start anew with resume=new")
    return None


def read_checkpoint(path: Path, cohort: str) -> dict[str, Any]:
    """Read a checkpoint of ours.

    Raises:
        FileNotFoundError: when there is none.
        BrokenCheckpointError: when it is cut off, or not of this project.
        ConfigError: when it was trained on another cohort: its splits, and so its test subjects, are others.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # what torch raises depends on where a file is cut off
        raise BrokenCheckpointError(f"{path} is refused: it cannot be read ({_first_line(error)})") from error
    missing = [part for part in PARTS if not isinstance(checkpoint, dict) or part not in checkpoint]
    if missing or "cohort_fingerprint" not in checkpoint["hyper_parameters"]:
        raise BrokenCheckpointError(f"{path} is refused: it is no checkpoint of mmnar")
    trained = checkpoint["hyper_parameters"]["cohort_fingerprint"]
    if trained != cohort:
        raise ConfigError(
            f"{path} was trained on the cohort {trained}, but that of now is {cohort}; name the release, or the cohort "
            "folder, that the run was trained on, as it was then, or start anew with resume=new"
        )
    return dict(checkpoint)


def identity(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """`run_id` and `world_size` of a checkpoint."""
    return dict(checkpoint["callbacks"][IDENTITY_KEY])


def say_ranks(trainer: Trainer, batch_size: int, start: Start | None) -> None:
    """Say what each of several ranks does, and whether there are others than before."""
    world_size = trainer.world_size
    if world_size > 1:
        share = f"{batch_size / world_size:g}"
        say(f"{world_size} ranks; loader.batch_size={batch_size} and optim.lr are of all together: {share} rows a rank")
    if start is not None and start.world_size != world_size:
        warn(f"{world_size} ranks go on with what {start.world_size} began: dropout draws other numbers from here on")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@rank_zero_only
def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.refused"))
