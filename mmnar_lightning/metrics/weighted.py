"""Metrics of rows whose subjects count several times, for many replicates at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.parts import members

NUM_BINS = 15
Column = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class WeightedRows:
    """N rows of S subjects by descending probability, with all quantities that replicates share.

    A replicate is a weight of every subject. Ranks are sums over pairs of a positive and a negative, so only the
    negatives are cumulated; what is a sum over rows is summed within subjects first.

    Attributes:
        names: (S,) int64, the subject_id of each, ascending.
        positive: (P,) int64 in [0, S), subjects of the positives.
        negative: (N - P,) int64, subjects of the negatives.
        above: (P,) int64, number of negatives with a larger probability than each positive.
        reached: (P,) int64, likewise, those with an equal one included.
        ends: (G,) int64, last positive of each distinct probability of a positive.
        negatives_at: (G,) int64, number of negatives with at least that probability.
        subject: (N,) int64 in [0, S).
        residual: (N,) float64, probability - label.
        bins: (K,) int64, first row of each calibration bin.
        rows: (S,) float64, rows of each subject.
        squared_error: (S,) float64, sum over the rows of each subject.
    """

    names: Places
    positive: Places
    negative: Places
    above: Places
    reached: Places
    ends: Places
    negatives_at: Places
    subject: Places
    residual: Column
    bins: Places
    rows: Column
    squared_error: Column

    @classmethod
    def of(cls, probability: Tensor, label: Tensor, subject: Tensor) -> "WeightedRows":
        """Validate and sort the rows; rows equal in all three columns are interchangeable.

        Args:
            probability: (N,) in [0, 1].
            label: (N,) 0 or 1.
            subject: (N,) int64.

        Returns:
            The rows.
        """
        risk, truth = (column.numpy() for column in functional.as_columns(probability, label))
        people = subject.cpu().numpy()
        dense, rows = members(people)
        names = np.zeros(len(rows), np.int64)
        names[dense] = people
        order = _sorted(risk, truth, dense)
        risk, truth, dense = risk[order], truth[order], dense[order]
        is_positive = truth > 0
        seen = np.concatenate([[0], np.cumsum(~is_positive)])
        first, last = functional.runs(risk)
        residual = risk - truth
        ends = functional.runs(risk[is_positive], once=True)[1]
        bins = functional.equal_mass_bins(torch.from_numpy(risk), NUM_BINS).numpy()
        return cls(
            names=names,
            positive=dense[is_positive],
            negative=dense[~is_positive],
            above=seen[first[is_positive]],
            reached=seen[last[is_positive] + 1],
            ends=ends,
            negatives_at=seen[last[is_positive] + 1][ends],
            subject=dense,
            residual=residual,
            bins=functional.runs(bins, once=True)[0],
            rows=rows.astype(np.float64),
            squared_error=np.bincount(dense, residual**2, minlength=len(names)).astype(np.float64),
        )

    def metrics(self, weight: Column, *, calibrated: bool = True) -> Column:
        """Score the rows under weights of their subjects.

        Args:
            weight: (C, S) float64, whole numbers.
            calibrated: whether to compute the calibration error, an eighth of the time.

        Returns:
            (C, 4) float64 in the order of `bootstrap.RESAMPLED`, NaN where undefined.
        """
        counts = _narrow(weight)
        positive, negatives = self._taken(counts)
        steps, found = positive, np.cumsum(positive, axis=1)
        if len(self.ends) < len(self.positive):
            found = np.take(found, self.ends, axis=1)
            steps = np.diff(found, axis=1, prepend=0)
        predicted = np.maximum(found + np.take(negatives, self.negatives_at, axis=1), 1)
        precise = (steps * found / predicted).sum(1)
        error = self._error(counts) if calibrated else np.full(len(weight), np.nan)
        total = weight @ self.rows
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, brier, gaps = precise / positive.sum(1), weight @ self.squared_error / total, error / total
        return np.stack([self._ranked(positive, negatives), precision, brier, gaps], axis=1)

    def _error(self, counts: NDArray[np.unsignedinteger]) -> Column:
        """The calibration error times the weight of all rows, (C,)."""
        if not len(self.bins):
            return np.zeros(len(counts))
        gap = np.take(counts, self.subject, axis=1) * self.residual
        found: Column = np.abs(np.add.reduceat(gap, self.bins, axis=1)).sum(1)
        return found

    def auroc(self, weight: Column) -> Column:
        """The first of `metrics` alone, (C,), under (C, S) weights."""
        return self._ranked(*self._taken(_narrow(weight)))

    def _taken(self, counts: NDArray[np.unsignedinteger]) -> tuple[Places, Places]:
        """Weights of the positives, (C, P), and cumulated weights of the negatives from 0, (C, N - P + 1)."""
        is_large = len(self.negative) * int(counts.max(initial=0)) >= 2**31
        negatives = np.zeros((len(counts), len(self.negative) + 1), np.int64 if is_large else np.int32)
        np.cumsum(np.take(counts, self.negative, axis=1), axis=1, out=negatives[:, 1:])
        return np.take(counts, self.positive, axis=1).astype(np.int64), negatives

    def _ranked(self, positive: Places, negatives: Places) -> Column:
        """AUROC, (C,), from what `_taken` gives; NaN without both classes."""
        lost = (positive * np.take(negatives, self.above, axis=1)).sum(1)
        more = (positive * np.take(negatives, self.reached, axis=1)).sum(1) if self.has_ties else lost
        pairs = (positive.sum(1) * negatives[:, -1]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            ranked: Column = (pairs - (lost + more) / 2) / pairs
        return ranked

    @cached_property
    def has_ties(self) -> bool:
        """Whether a positive and a negative have the same probability."""
        return not np.array_equal(self.above, self.reached)


def _narrow(weight: Column) -> NDArray[np.unsignedinteger]:
    """Whole numbers in a type of which all subjects' stay in the cache."""
    return weight.astype(np.min_scalar_type(int(weight.max(initial=0))))


def _sorted(risk: Column, truth: Column, dense: Places) -> Places:
    """(N,) order of rows by descending probability, then by label and subject; only ties are sorted by all three."""
    order: Places = np.argsort(-risk)
    first, last = functional.runs(risk[order])
    tied = np.flatnonzero(first < last)
    own = order[tied]
    order[tied] = own[np.lexsort((dense[own], truth[own], first[tied]))]
    return order
