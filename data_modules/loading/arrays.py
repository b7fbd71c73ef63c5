"""Arrays of a cohort: memory-mapped inputs, labels and presence, gathered by row."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch, Items
from data_modules.cohorts.columns import PRESENT, kind_of, task_column
from data_modules.features.store import BoolArray, FloatArray, Statistics, open_present, open_values

CLIP = 10.0
"""Standardised values are clipped at this many standard deviations, so that no outlier dominates a batch."""

PART_ROWS = 4096
"""Rows read at once when all are needed."""

EDGE_SUBJECTS = 10
"""Fewest subjects on either side of an edge of a bin, which is stored with a trained model."""

TINY = 1e-12
"""Smallest variance."""


def standardise(values: FloatArray, statistics: Statistics) -> Tensor:
    """Standardise (n, width) float32 values in place, in standard deviations from the train mean; NaN becomes 0."""
    mean, scale = torch.from_numpy(statistics.mean), torch.from_numpy(statistics.scale)
    return torch.from_numpy(values).sub_(mean).div_(scale).clamp_(-CLIP, CLIP).nan_to_num_(0.0)


@dataclass(frozen=True)
class ModalityArray:
    """Values of a modality and their scale.

    Attributes:
        values: (N, width) float32, memory-mapped.
        statistics: mean and scale over the train rows.
        present: (N,) bool, True = the row has a vector; None if the presence of the cohort holds.
        raw: gather values as they are stored, NaN where not measured, for models that encode them themselves.
    """

    values: FloatArray
    statistics: Statistics
    present: BoolArray | None = None
    raw: bool = False

    @classmethod
    def open(cls, folder: Path) -> "ModalityArray":
        """Map the array in a modality's folder."""
        return cls(open_values(folder), Statistics.load(folder), open_present(folder))

    @property
    def width(self) -> int:
        """Floats per row."""
        return int(self.values.shape[1])

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        """Values of rows, (B, width) float32; unless `raw`, standardised, and 0 (the train mean) if not measured."""
        values = self.values[rows]
        return torch.from_numpy(values) if self.raw else standardise(values, self.statistics)


class Store(Protocol):
    """The stored inputs of a modality: an array, or items of rows."""

    @property
    def width(self) -> int:
        """Width of the vector of a row or an item."""

    @property
    def present(self) -> BoolArray | None:
        """(N,) bool, True = the row has data; None if the presence of the cohort holds."""

    def gather(self, rows: NDArray[np.int64]) -> Tensor | Items:
        """The inputs of rows."""


def principal_axes(array: Store, rows: NDArray[np.int64], count: int) -> Tensor:
    """Compute the leading principal axes of a modality (Pearson, 1901), scaled to unit standard deviation on the first.

    Args:
        array: the modality.
        rows: (N,) row ids with the modality, read in parts of bounded memory.
        count: K, number of axes.

    Returns:
        (width, K) float32; the entry of largest magnitude of each axis is positive.
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


def quantile_edges(
    values: FloatArray, rows: NDArray[np.int64], subject: NDArray[np.int64], bins: int
) -> tuple[list[Tensor], Tensor]:
    """Compute edges of bins of equal mass of each column over some rows.

    At least `EDGE_SUBJECTS` subjects have a value at or below, and at least as many one at or above, every edge: none
    is the extreme value of a few.

    Args:
        values: (N, C) float32, NaN = not measured.
        rows: (n,) row ids.
        subject: (n,) int64, their subjects.
        bins: most bins of a column; ties give fewer.

    Returns:
        The distinct edges of each column, ascending float32, empty for a column that too few subjects have; and (C,)
        bool, columns that are not always measured.

    >>> values = np.repeat(np.array([[0], [1], [np.nan]], np.float32), 20, axis=0)
    >>> edges, missing = quantile_edges(values, np.arange(60), np.arange(60), 4)
    >>> edges[0].tolist(), missing.tolist()
    ([0.0, 1.0], [True])
    """
    seen = values[rows]
    measured = np.isfinite(seen)
    levels = np.linspace(0, 1, bins + 1)
    edges = [_edges(seen[known, place], subject[known], levels) for place, known in enumerate(measured.T)]
    return edges, torch.from_numpy(~measured.all(0))


def _edges(values: FloatArray, subject: NDArray[np.int64], levels: NDArray[np.float64]) -> Tensor:
    """Quantiles of (n,) values within the range that enough subjects reach on either side."""
    order = np.argsort(values, kind="stable")
    ascending, owner = values[order], subject[order]
    smallest, largest = (np.unique(own, return_index=True)[1] for own in (owner, owner[::-1]))
    if len(smallest) < EDGE_SUBJECTS:
        return torch.zeros(0)
    low = np.sort(ascending[smallest])[EDGE_SUBJECTS - 1]
    high = np.sort(ascending[::-1][largest])[-EDGE_SUBJECTS]
    if low > high:
        return torch.zeros(0)
    found = np.quantile(ascending, levels, method="inverted_cdf").clip(low, high)
    return torch.from_numpy(np.unique(found.astype(np.float32)))


@dataclass(frozen=True)
class ValueScale:
    """How values to predict are standardised: by mean and standard deviation of their train rows.

    Attributes:
        mean: (T,) float64, in the units of the values.
        deviation: (T,) float64, above 0.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, cohort: pl.DataFrame, values: pl.DataFrame) -> "ValueScale":
        """The scale of the train rows; where their values do not vary, the deviation is 1."""
        train = values.filter(cohort["split"] == "train") if "split" in cohort.columns else values.head(0)
        mean, deviation = ([column or 0.0 for column in row] for row in (train.mean().row(0), train.std(ddof=0).row(0)))
        return cls(torch.tensor(mean).double(), torch.tensor([own or 1.0 for own in deviation]).double())

    def standardised(self, values: pl.DataFrame) -> pl.DataFrame:
        """The values in standard deviations from the mean; null stays null."""
        pairs = zip(values.columns, self.mean.tolist(), self.deviation.tolist(), strict=True)
        return values.select((pl.col(name) - mean) / deviation for name, mean, deviation in pairs)

    def restored(self, standardised: Tensor) -> Tensor:
        """Values in their units, from (..., T) standardised ones."""
        return standardised.double() * self.deviation + self.mean


class CohortArrays:
    """A cohort as arrays, read by row id.

    Args:
        cohort: the rows of `cohort.parquet`, sorted by `row_id`.
        tasks: T tasks.
        arrays: modality name -> array or items, in the order of the pattern's bits.
        fold: (N, R) int64, the inner fold of each row in each repeat, -1 outside of them; None without inner folds.
        site: (N,) bool, True = a row of the target; None = no row is.
        scale: of values to predict; None = that of the train rows, and of outcomes that are yes or no there is none.
    """

    def __init__(
        self,
        cohort: pl.DataFrame,
        tasks: Sequence[str],
        arrays: Mapping[str, Store],
        fold: Tensor | None = None,
        site: Tensor | None = None,
        scale: "ValueScale | None" = None,
    ) -> None:
        labels = cohort.select(pl.col(task_column(cohort, task)).alias(task) for task in tasks)
        present = cohort.select(PRESENT + name for name in arrays)
        self.arrays = dict(arrays)
        self.fold = fold
        self.site = site
        self.weight: Tensor | None = None
        self.subject = torch.from_numpy(cohort["subject"].cast(pl.Int64).to_numpy(writable=True))
        self.present = torch.from_numpy(present.to_numpy(writable=True))
        self.scale = scale if scale is not None or kind_of(cohort) == "binary" else ValueScale.of(cohort, labels)
        if self.scale is not None:
            labels = self.scale.standardised(labels)
        self.label = torch.from_numpy(labels.select(pl.all().cast(pl.Float32).fill_null(0.0)).to_numpy(writable=True))
        self.label_mask = torch.from_numpy(labels.select(pl.all().is_not_null()).to_numpy(writable=True))

    def with_stores(self, arrays: Mapping[str, Store]) -> "CohortArrays":
        """The same rows, labels and folds with other stores of the same modalities."""
        other = copy(self)
        other.arrays = dict(arrays)
        return other

    def with_weight(self, weight: Tensor) -> "CohortArrays":
        """The same rows, each with a weight in the fit of the tasks, (N,) float32."""
        other = copy(self)
        other.weight = weight
        return other

    def gather(self, rows: Tensor) -> Batch:
        """The batch of row ids, (B,) int64."""
        index = rows.numpy()
        return Batch(
            row_id=rows,
            subject=self.subject[rows],
            present=self.present[rows],
            inputs={name: array.gather(index) for name, array in self.arrays.items()},
            label=self.label[rows],
            label_mask=self.label_mask[rows],
            fold=None if self.fold is None else self.fold[rows],
            site=None if self.site is None else self.site[rows],
            weight=None if self.weight is None else self.weight[rows],
        )

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of several windows of row ids, in their order."""
        return map(self.gather, windows)
