"""Batches from memory-mapped arrays: a batch is one indexed read per modality, never a loop over rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch, Items
from data_modules.cohorts.columns import LABEL, PRESENT
from data_modules.features.store import BoolArray, FloatArray, Statistics, open_present, open_values

CLIP = 10.0
"""Standardised values are cut at so many standard deviations; one wild value must not own a batch."""
PART_ROWS = 4096
"""Rows that are read at once where all are needed."""
TINY = 1e-12
"""A variance below it is none."""


@dataclass(kw_only=True)
class LoaderConfig:
    """How rows become batches."""

    batch_size: int = 128
    """Rows of a training step over all devices."""
    eval_batch_size: int = 1024
    """Rows of an evaluation step on each device."""
    held_pattern: list[str] | None = None
    """Rows with exactly these modalities are left out of train, calibration and val, so that the model meets their
    pattern at test for the first time; null leaves none out. `evaluation.protocol=leave_pattern_out` takes each in
    turn."""

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        for key in ("batch_size", "eval_batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"loader.{key}={getattr(self, key)} must be at least 1")


def standardise(values: FloatArray, statistics: Statistics) -> Tensor:
    """Values (n, width) float32, which are overwritten, in standard deviations from the train mean; NaN becomes 0."""
    mean, scale = torch.from_numpy(statistics.mean), torch.from_numpy(statistics.scale)
    return torch.from_numpy(values).sub_(mean).div_(scale).clamp_(-CLIP, CLIP).nan_to_num_(0.0)


@dataclass(frozen=True)
class ModalityArray:
    """Values of a modality and how they are scaled.

    Attributes:
        values: (N, width) float32, mapped from disk.
        statistics: of the train rows.
        present: (N,) bool, the rows that have a vector; None where the cohort's own presence tells.
    """

    values: FloatArray
    statistics: Statistics
    present: BoolArray | None = None

    @classmethod
    def open(cls, folder: Path) -> "ModalityArray":
        """Map the array of a modality's folder."""
        return cls(open_values(folder), Statistics.load(folder), open_present(folder))

    @property
    def width(self) -> int:
        """Floats a row."""
        return int(self.values.shape[1])

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        """Standardised values of rows, (B, width) float32; what was not measured is 0, the train mean."""
        return standardise(self.values[rows], self.statistics)


class Store(Protocol):
    """What a modality is read from: arrays, or items of rows."""

    @property
    def width(self) -> int:
        """Floats a row, or an item, once it is a vector."""

    @property
    def present(self) -> BoolArray | None:
        """(N,) bool, the rows that have something; None where the cohort's own presence tells."""

    def gather(self, rows: NDArray[np.int64]) -> Tensor | Items:
        """The values of rows."""


def principal_axes(array: Store, rows: NDArray[np.int64], count: int) -> Tensor:
    """The axes along which some rows of a modality vary most (Pearson, 1901), the widest with a spread of one.

    Args:
        array: of the modality.
        rows: (N,) row ids that have it; read in parts, so that memory does not grow with them.
        count: K, axes to keep.

    Returns:
        (width, K) float32; the sign of each axis is that of its largest entry.
    """
    total = torch.zeros(array.width, dtype=torch.float64)
    square = torch.zeros(array.width, array.width, dtype=torch.float64)
    for part in np.array_split(rows, max(1, math.ceil(len(rows) / PART_ROWS))):
        values = array.gather(part)
        assert isinstance(values, Tensor)
        total += values.double().sum(0)
        square += values.double().T @ values.double()
    mean = total / max(len(rows), 1)
    variance, vectors = torch.linalg.eigh(square / max(len(rows), 1) - torch.outer(mean, mean))
    leading: Tensor = vectors.flip(1)[:, :count]
    signed = leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()
    spread: Tensor = variance[-1].clamp(min=TINY).sqrt()
    return (signed / spread).float()


class CohortArrays:
    """A cohort as arrays, read by row ids.

    Args:
        cohort: the rows of `cohort.parquet`, sorted by `row_id`.
        tasks: T tasks.
        arrays: modality name -> array or items, in the order of the pattern's bits.
    """

    def __init__(self, cohort: pl.DataFrame, tasks: Sequence[str], arrays: Mapping[str, Store]) -> None:
        labels = cohort.select(LABEL + task for task in tasks)
        present = cohort.select(PRESENT + name for name in arrays)
        self.arrays = dict(arrays)
        self.subject = torch.from_numpy(cohort["subject"].cast(pl.Int64).to_numpy(writable=True))
        self.present = torch.from_numpy(present.to_numpy(writable=True))
        self.label = torch.from_numpy(labels.select(pl.all().cast(pl.Float32).fill_null(0.0)).to_numpy(writable=True))
        self.label_mask = torch.from_numpy(labels.select(pl.all().is_not_null()).to_numpy(writable=True))

    def gather(self, rows: Tensor) -> Batch:
        """The batch of rows, (B,) int64."""
        index = rows.numpy()
        return Batch(
            row_id=rows,
            subject=self.subject[rows],
            present=self.present[rows],
            inputs={name: array.gather(index) for name, array in self.arrays.items()},
            label=self.label[rows],
            label_mask=self.label_mask[rows],
        )


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
        ValueError: without a row, or with a batch smaller than the number of processes.
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
            raise ValueError("the train split has no row; raise cohort.split.train, or use a larger cohort")
        if batch_size < world_size * accumulate:
            parts = f" in {accumulate} parts (trainer.accumulate)" if accumulate > 1 else ""
            raise ValueError(
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
            ValueError: inside of an epoch whose batches came in another number of parts.
        """
        then = state["accumulate"]
        if state["num_served"] and then != self.accumulate:
            raise ValueError(
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
            raise ValueError("this split has no row to evaluate; raise its fraction under cohort.split")
        own = rows[rank::world_size]
        self.rows = own if len(own) else rows[:1]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for rows in torch.split(self.rows, self.batch_size):
            yield self.arrays.gather(rows)
