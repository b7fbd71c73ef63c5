"""Random numbers that depend on the step alone, so that a resumed run draws those of a run never stopped."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

_STEPS, _RANKS = 1 << 32, 1 << 12


class StepSeed(Callback):
    """Seeds PyTorch before every training batch with (seed, step, rank).

    Nothing needs to be stored in a checkpoint, and stopping in the middle of an epoch changes nothing.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of all devices."""
        step = trainer.fit_loop.total_batch_idx
        torch.manual_seed((self.seed * _STEPS + step) % 2**50 * _RANKS + trainer.global_rank)
