"""Seeds each step, so that a resumed run draws the same random numbers as an uninterrupted one."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


def derive_seed(*numbers: int) -> int:
    """Derive one seed from several numbers and their order.

    Args:
        numbers: at least 0 each.

    Returns:
        A 32-bit seed; torch's CPU generator ignores higher bits.

    >>> derive_seed(0, 1) != derive_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class StepSeed(Callback):
    """Seeds PyTorch before every training batch with (seed, step, rank).

    Checkpoints need no generator state, and a run can stop within an epoch without changing its result.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of the CPU and of CUDA."""
        seed = derive_seed(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        # torch.manual_seed does the same for all kinds of devices but takes more than a millisecond per step.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(seed)
