"""A cohort's arrays: memory-mapped inputs, labels and presence, gathered by row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
