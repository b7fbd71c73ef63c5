"""Batches from memory-mapped arrays: a batch is one indexed read per modality, never a loop over rows."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.loading.arrays import CohortArrays


class TrainLoader:
    """Shuffled batches of a split; the order is a function of (seed, epoch) and the state is one integer.

    Every rank walks through the same global batches and takes every world_size-th row of each, so that the ranks
    together see what one process would. With `accumulate` a global batch comes in so many parts, one after the other.
    In a last batch with fewer rows than ranks, some ranks have no row; one with fewer rows than parts is left out.

    Args:
        arrays: the cohort.
        rows: (N,) int64 row ids of the split.
        batch_size: rows of a global batch.
        seed: of the order.
        accumulate: parts of a global batch.
        rank: of this process.
        world_size: number of processes.

    Raises:
        UserError: without a row, or with a batch smaller than the number of processes.
    """

    def __init__(
        self,
        arrays: CohortArrays,
        rows: Tensor,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(rows):
            raise UserError("the train split has no row; raise cohort.split.train, or use a larger cohort")
        if batch_size < world_size * accumulate:
            parts = f" in {accumulate} parts (trainer.accumulate)" if accumulate > 1 else ""
            raise UserError(
                f"loader.batch_size={batch_size} is for all devices{parts}, so it must be at least "
                f"{world_size * accumulate}"
            )
        self.arrays = arrays
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.num_served = 0

    @property
    def sampler(self) -> "TrainLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were served, and how many parts each global batch came in."""
        return {"num_served": self.num_served % len(self), "accumulate": self.accumulate}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after that many batches.

        Raises:
            UserError: inside of an epoch whose batches came in another number of parts.
        """
        then = state["accumulate"]
        if state["num_served"] and then != self.accumulate:
            raise UserError(
                f"trainer.accumulate: {then} then, {self.accumulate} now, but the run stopped inside an epoch; go on "
                f"with trainer.accumulate={then} (and resume_with=[trainer.accumulate]) to its end, and change it there"
            )
        self.num_served = state["num_served"]

    def __len__(self) -> int:
        full, rest = divmod(len(self.rows), self.batch_size)
        return (full + (rest >= self.accumulate)) * self.accumulate

    def order(self) -> Tensor:
        """(N,) int64 row ids in the order of this epoch."""
        permutation = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))
        return self.rows[torch.from_numpy(permutation)]

    def __iter__(self) -> Iterator[Batch]:
        order = self.order()
        start, self.num_served = self.num_served % len(self), 0
        for step in range(start, len(self)):
            self.num_served = step + 1
            number, part = divmod(step, self.accumulate)
            window = order[number * self.batch_size : (number + 1) * self.batch_size]
            rows = window[part :: self.accumulate]
            batch = self.arrays.gather(rows[self.rank :: self.world_size])
            yield batch if self.accumulate == 1 else replace(batch, label_share=self._label_share(rows, window))

    def _label_share(self, rows: Tensor, window: Tensor) -> Tensor:
        known = self.arrays.label_mask
        return self.accumulate * known[rows].sum(0) / known[window].sum(0).clamp(min=1)


class EvalLoader:
    """Batches of a split in order, each row on one rank; no padding.

    A rank that would have no row repeats the first one (collectives need every rank); metrics drop the repetition
    by its row id.

    Args:
        arrays: the cohort.
        rows: (N,) int64 row ids of the split.
        batch_size: rows of a batch on this rank.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, arrays: CohortArrays, rows: Tensor, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.arrays = arrays
        if not len(rows):
            raise UserError("this split has no row to evaluate; raise its fraction under cohort.split")
        own = rows[rank::world_size]
        self.rows = own if len(own) else rows[:1]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for rows in torch.split(self.rows, self.batch_size):
            yield self.arrays.gather(rows)
