"""Batches from memory-mapped arrays: one indexed read per modality, no loop over rows."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.loading.placed import RowSource, beside

PRETRAINING = 1
"""Added to the seed of the order of pre-training, whose cycles are numbered as epochs are."""


class TrainLoader:
    """Shuffled batches of a split; the order is a function of (seed, epoch).

    All ranks iterate over the same global batches, and each takes every world_size-th row, so that together they see
    the batches of a single process. `accumulate` splits a global batch into consecutive parts. If the last batch has
    fewer rows than ranks, some ranks have no row; if it has fewer rows than parts, it is dropped.

    In the first `pretrain_epochs` the rows are drawn from the split and `more` together. An epoch keeps its number of
    batches: each takes the next rows of a permutation of all of them, and a new permutation begins after the last.

    Args:
        arrays: the cohort.
        rows: (N,) int64 row ids of the split.
        batch_size: rows of a global batch.
        seed: seed of the order.
        accumulate: parts of a global batch.
        rank: rank of this process.
        world_size: number of processes.
        more: (E,) int64 row ids that only the first epochs read; None = none.
        pretrain_epochs: number of these epochs.

    Raises:
        UserError: if the split has no rows, or a part of a global batch has fewer rows than there are processes.
    """

    def __init__(
        self,
        arrays: RowSource,
        rows: Tensor,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        more: Tensor | None = None,
        pretrain_epochs: int = 0,
    ) -> None:
        if not len(rows):
            raise UserError("the train split has no rows; raise cohort.split.train, or use a larger cohort")
        if batch_size < world_size * accumulate:
            parts = f" in {accumulate} parts (trainer.accumulate)" if accumulate > 1 else ""
            raise UserError(
                f"loader.batch_size={batch_size} counts the rows of all devices{parts}, so it must be at least "
                f"{world_size * accumulate}"
            )
        self.arrays = arrays
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.rank = rank
        self.world_size = world_size
        self.more = rows[:0] if more is None else more
        self.pretrain_epochs = pretrain_epochs
        self.epoch = 0
        self.num_served = 0

    @property
    def sampler(self) -> "TrainLoader":
        """This loader: Lightning calls `set_epoch` on the sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """The batches served in this epoch, and the parts per global batch."""
        return {"num_served": self.num_served % len(self), "accumulate": self.accumulate}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume after the served batches.

        Raises:
            UserError: within an epoch whose batches had another number of parts.
        """
        previous = state["accumulate"]
        if state["num_served"] and previous != self.accumulate:
            raise UserError(
                f"trainer.accumulate was {previous} and is {self.accumulate}, but the run stopped within an epoch; "
                f"resume with trainer.accumulate={previous} (and resume_with=[trainer.accumulate]) and change it after "
                "that epoch"
            )
        self.num_served = state["num_served"]

    def __len__(self) -> int:
        full, rest = divmod(len(self.rows), self.batch_size)
        return (full + (rest >= self.accumulate)) * self.accumulate

    def order(self) -> Tensor:
        """(N,) int64 row ids in the order of this epoch."""
        if self.epoch < self.pretrain_epochs and len(self.more):
            return self._pretraining_order()
        permutation = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))
        return self.rows[torch.from_numpy(permutation)]

    def _pretraining_order(self) -> Tensor:
        """The rows of this epoch in the endless sequence of permutations of the split and `more`."""
        pool = torch.cat([self.rows, self.more])
        served = min(len(self.rows), len(self) // self.accumulate * self.batch_size)
        cycle, place = np.divmod(np.arange(self.epoch * served, (self.epoch + 1) * served), len(pool))
        chosen = [
            np.random.default_rng([self.seed, number, PRETRAINING]).permutation(len(pool))[place[cycle == number]]
            for number in np.unique(cycle)
        ]
        return pool[torch.from_numpy(np.concatenate(chosen))]

    def __iter__(self) -> Iterator[Batch]:
        order = self.order()
        start, self.num_served = self.num_served % len(self), 0
        parts = (self._part(order, step)[0] for step in range(start, len(self)))
        own = (rows[self.rank :: self.world_size] for rows in parts)
        for step, batch in enumerate(self.arrays.stream(own), start):
            self.num_served = step + 1
            rows, window = self._part(order, step)
            shares = [len(rows[rank :: self.world_size]) for rank in range(self.world_size)]
            share = None if self.accumulate == 1 else beside(self._label_share(rows, window), batch.label)
            yield replace(batch, label_share=share, rank_rows=tuple(shares))

    def _part(self, order: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Row ids of all ranks in a step, and those of the global batch that it is a part of."""
        number, part = divmod(step, self.accumulate)
        window = order[number * self.batch_size : (number + 1) * self.batch_size]
        return window[part :: self.accumulate], window

    def _label_share(self, rows: Tensor, window: Tensor) -> Tensor:
        known, weight = self.arrays.label_mask, self.arrays.weight
        if weight is None:
            return self.accumulate * known[rows].sum(0) / known[window].sum(0).clamp(min=1)
        part, whole = (torch.where(known[own], weight[own, None], 0.0).sum(0) for own in (rows, window))
        return self.accumulate * part / torch.where(whole > 0, whole, 1.0)


class EvalLoader:
    """Batches of a split in row order; each row is on one rank, without padding.

    A rank without rows repeats the first row, because collectives need every rank; metrics drop the duplicate by its
    row id.

    Args:
        arrays: the cohort.
        rows: (N,) int64 row ids of the split.
        batch_size: rows of a batch on this rank.
        rank: rank of this process.
        world_size: number of processes.

    Raises:
        UserError: if the split has no rows.
    """

    def __init__(self, arrays: RowSource, rows: Tensor, *, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.arrays = arrays
        if not len(rows):
            raise UserError("this split has no rows to evaluate; raise its fraction under cohort.split")
        own = rows[rank::world_size]
        self.rows = own if len(own) else rows[:1]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.arrays.stream(torch.split(self.rows, self.batch_size))
