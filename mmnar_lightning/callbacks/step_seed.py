"""Random numbers that depend on the step alone, so that a resumed run draws those of a run never stopped."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


def derive_seed(*numbers: int) -> int:
    """One 32-bit seed that depends on all the numbers; of a longer one, torch's CPU generator reads 32 bits only.

    >>> derive_seed(0, 1) != derive_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


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
        seed = derive_seed(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        # torch.manual_seed does the same for every kind of device, at more than a millisecond a step.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(seed)
