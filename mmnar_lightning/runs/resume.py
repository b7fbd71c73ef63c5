"""Finds the checkpoint that a run resumes from: the newest one that is intact and its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from data_modules.errors import UserError
from mmnar_lightning.callbacks import digests
from mmnar_lightning.callbacks.checkpoints import OPTIMIZERS
from mmnar_lightning.callbacks.run_identity import IDENTITY_KEY
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs.folders import BEST, LAST, PREVIOUS

PARTS = ("state_dict", OPTIMIZERS, "lr_schedulers", "loops", "callbacks", "hyper_parameters")
"""Keys of a checkpoint of this project."""


class BrokenCheckpointError(UserError):
    """A checkpoint is damaged, or not of this project."""


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint that a run resumes from.

    Attributes:
        path: of the checkpoint.
        run_id: of the run, and of its W&B run.
        epoch: in which it was written.
        step: after which it was written.
        world_size: number of ranks that wrote it.
        shapes: name of each tensor of the module -> its shape.
    """

    path: Path
    run_id: str
    epoch: int
    step: int
    world_size: int
    shapes: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        """File name, epoch and step, for messages."""
        return f"from {self.path.name}, epoch {self.epoch}, step {self.step}"

    def check(self, module: nn.Module) -> None:
        """Compare the tensors of a module with those of the checkpoint.

        Args:
            module: that resumes.

        Raises:
            ConfigError: naming a tensor that only one of them has, or that differs in shape.
        """
        own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        differs = sorted(name for name in own.keys() | self.shapes if own.get(name) != self.shapes.get(name))
        if differs:
            name = differs[0]
            raise ConfigError(
                f"{self.path} was written by another version of mmnar: its tensor {name} has the shape "
                f"{self.shapes.get(name, 'none')}, expected {own.get(name, 'none')}; resume with that version, or "
                "start a new run with resume=new"
            )


def checkpoint_to_resume(folder: Path, cohort: str) -> ResumePoint | None:
    """Find the last checkpoint of a run, or the previous one if that is broken.

    A broken checkpoint is renamed, so that it never becomes the previous one.

    Args:
        folder: of the run.
        cohort: fingerprint of the current cohort.

    Returns:
        The checkpoint; None if the run has none.

    Raises:
        ConfigError: when all checkpoints are broken or, from `read_checkpoint`, were trained on another cohort.
    """
    refused = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            checkpoint = _resumable(path, cohort)
        except FileNotFoundError:
            continue
        except BrokenCheckpointError as error:
            refused.append(str(error))
            warn(str(error))
            _set_aside(path)
            continue
        if refused:
            warn(f"{path} is used instead, the previous checkpoint")
        shapes = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
        place = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]}
        return ResumePoint(path, shapes=shapes, **place, **identity(checkpoint))
    if refused:
        raise ConfigError(
            f"{'; '.join(refused)}; no checkpoint remains to resume from; start a new run with resume=new"
        )
    return None


def _resumable(path: Path, cohort: str) -> dict[str, Any]:
    """Read a checkpoint that has the state of the optimiser, which `best.ckpt` under another name has not."""
    checkpoint = read_checkpoint(path, cohort)
    if not checkpoint[OPTIMIZERS]:
        raise BrokenCheckpointError(f"{path} is refused: it has weights alone, without the state of the optimiser")
    return checkpoint


def read_checkpoint(path: Path, cohort: str) -> dict[str, Any]:
    """Read a checkpoint of this project.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: when there is none.
        BrokenCheckpointError: when it changed since it was written, is truncated, or not of this project.
        ConfigError: when it was trained on another cohort, whose splits, and thus test subjects, differ.
    """
    problem = digests.problem(path) if path.is_file() else ""
    if problem:
        raise BrokenCheckpointError(f"{path} is refused: it {problem}")
    try:
        with signals.restored():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # the type that torch raises depends on where the file is truncated
        raise BrokenCheckpointError(f"{path} is refused: it cannot be read ({_first_line(error)})") from error
    missing = [part for part in PARTS if not isinstance(checkpoint, dict) or part not in checkpoint]
    if (
        missing
        or "cohort_fingerprint" not in checkpoint["hyper_parameters"]
        or IDENTITY_KEY not in checkpoint["callbacks"]
    ):
        raise BrokenCheckpointError(f"{path} is refused: it is not a checkpoint of mmnar, or one of an older version")
    trained = checkpoint["hyper_parameters"]["cohort_fingerprint"]
    if trained != cohort:
        raise ConfigError(
            f"{path} was trained on the cohort {trained}, but the current one is {cohort}; use the release or cohort "
            "folder that the run was trained on, unchanged, or start a new run with resume=new"
        )
    return dict(checkpoint)


def read_best(folder: Path, cohort: str) -> dict[str, Any]:
    """Read the best checkpoint of a run, which nothing can replace; its other faults are those of `read_checkpoint`.

    Returns:
        Its content.

    Raises:
        BrokenCheckpointError: when it is damaged, with what to do.
    """
    try:
        return read_checkpoint(folder / BEST, cohort)
    except BrokenCheckpointError as error:
        raise BrokenCheckpointError(f"{error}; restore it from a copy, or train again with resume=new") from error


def identity(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """`run_id` and `world_size` of a checkpoint."""
    return dict(checkpoint["callbacks"][IDENTITY_KEY])


def print_ranks(trainer: Trainer, batch_size: int, resume_point: ResumePoint | None) -> None:
    """Print the batch size per rank, and warn if the number of ranks changed since the checkpoint."""
    world_size = trainer.world_size
    if world_size > 1:
        share = f"{batch_size / world_size:g}"
        say(f"{world_size} ranks; loader.batch_size={batch_size} and optim.lr are global: {share} rows per rank")
    if resume_point is not None and resume_point.world_size != world_size:
        warn(
            f"{world_size} ranks resume a run of {resume_point.world_size}: dropout draws other random numbers from "
            "here on"
        )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@rank_zero_only
def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.refused"))
