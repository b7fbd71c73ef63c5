"""Confidence intervals of metrics from a bootstrap over subjects."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from mmnar_lightning.metrics import functional

METRICS = ("auroc", "average_precision", "brier", "calibration_error")
ERROR = METRICS.index("calibration_error")
NUM_BINS = 15
MIN_SUBJECTS = 2
"""With one subject every replicate equals the sample, and an interval of zero width would be wrong."""
CHUNK_ELEMENTS = 1_000_000
"""Replicates times rows in memory at once: 8 MB per float64 array, with about eight arrays alive."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric with its percentile interval.

    Attributes:
        value: the metric of the sample; NaN where undefined.
        low: lower end; NaN if the value or more than half of the replicates are undefined.
        high: upper end, likewise.
        num_defined: number of replicates in which the metric is defined.
        num_parts: number of parts (folds, repeats) in which the sample's metric is defined; `value` is their mean.
    """

    value: float
    low: float
    high: float
    num_defined: int
    num_parts: int


def bootstrap_intervals(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of all metrics from a bootstrap over subjects.

    A replicate draws as many subjects as the sample has, with replacement; a row counts as often as its subject is
    drawn. Replicates in which a metric is undefined are left out of its interval. The calibration error keeps the
    sample's bins (15, `equal_mass_bins`) in every replicate; as a mean of absolute values it grows with sampling noise,
    so its replicates are shifted by their mean excess over the sample's value. A single subject has no interval.

    With folds or repeats, a metric is the mean over the parts (one repeat of one fold) in which it is defined, in the
    sample and in each replicate. Subjects are drawn within their fold, the same in all of its repeats, which must hold
    the same subjects. There is no interval if a part with the metric has a single subject.

    The result depends on the set of rows and the seed, not on the order of the rows, and on the subject numbers only
    through their order. Cost: O(N log N + num_replicates * N) time, about ten passes over the rows per replicate, and a
    few times max(CHUNK_ELEMENTS, N) doubles of memory.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; resampling of clusters: Davison
    and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, fold of the row's subject; None = one fold.
        repeat: (N,) int64, number of the prediction among several of the same subjects; None = one repeat.
        num_replicates: R, number of bootstrap replicates, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        "auroc", "average_precision", "brier" and "calibration_error" with their intervals.

    >>> intervals = bootstrap_intervals(
    ...     torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4), torch.tensor([7, 7, 8, 9])
    ... )
    >>> round(intervals["brier"].value, 3), intervals["brier"].num_defined
    (0.075, 1000)
    >>> intervals["auroc"]
    Interval(value=nan, low=nan, high=nan, num_defined=0, num_parts=0)
    """
    drawn = _draw(probability, label, subject, fold, repeat, num_replicates=num_replicates, seed=seed)
    drawn.replicates[:, ERROR].clamp_(0, 1)
    return drawn.intervals(level)


def paired_difference(
    first: Tensor,
    second: Tensor,
    label: Tensor,
    subject: Tensor,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Differences of all metrics, first minus second, of two methods on the same rows.

    Both methods are scored on the same replicates, so their common variation cancels: the more their errors correlate,
    the narrower the interval is than that of two independent samples.

    Args:
        first: (N,) in [0, 1], probabilities of one method.
        second: (N,) in [0, 1], of the other.
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, as of `bootstrap_intervals`.
        repeat: (N,) int64, as of `bootstrap_intervals`.
        num_replicates: R, number of bootstrap replicates, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `bootstrap_intervals`; the difference of calibration errors is shifted by the difference of their
        mean excesses.

    >>> label, subject = torch.tensor([0, 1, 0, 1]), torch.arange(4)
    >>> first, second = torch.tensor([0.1, 0.9, 0.2, 0.8]), torch.tensor([0.1, 0.9, 0.8, 0.2])
    >>> paired_difference(first, second, label, subject)["auroc"].value
    0.25
    >>> paired_difference(first, first, label, subject)["brier"]
    Interval(value=0.0, low=0.0, high=0.0, num_defined=1000, num_parts=1)
    """
    one, other = (
        _draw(probability, label, subject, fold, repeat, num_replicates=num_replicates, seed=seed)
        for probability in (first, second)
    )
    difference = _Drawn(
        values=one.values - other.values,
        replicates=one.replicates - other.replicates,
        num_parts=torch.minimum(one.num_parts, other.num_parts),
    )
    return difference.intervals(level)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Metrics of a sample and of its replicates, in the order of METRICS.

    Attributes:
        values: (4,) float64, NaN where undefined.
        replicates: (R, 4) float64, likewise; the calibration error minus its mean excess.
        num_parts: (4,) int64, number of parts in which a metric is defined.
    """

    values: Tensor
    replicates: Tensor
    num_parts: Tensor

    def intervals(self, level: float) -> dict[str, Interval]:
        """The percentile interval of each metric."""
        assert 0 < level < 1, f"{level=} must be in (0, 1)"
        return {
            name: percentile_interval(float(value), column, int(parts), level)
            for name, value, column, parts in zip(METRICS, self.values, self.replicates.T, self.num_parts, strict=True)
        }


def _draw(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    fold: Tensor | None,
    repeat: Tensor | None,
    *,
    num_replicates: int,
    seed: int,
) -> _Drawn:
    """Score a sample and its replicates; the subjects drawn depend on subjects, folds and seed alone."""
    assert num_replicates >= 1, f"{num_replicates=} must be at least 1"
    scored = [
        _score(samples, num_replicates, np.random.default_rng(seed))
        for samples in _parts(probability, label, subject, fold, repeat)
    ]
    parts, drawn = (torch.cat(pieces) for pieces in zip(*scored, strict=True))
    values, replicates = parts.nanmean(0), drawn.nanmean(0)
    replicates[:, ERROR] -= replicates[:, ERROR].nanmean() - values[ERROR]
    # A part with one subject does not vary over replicates, so the uncertainty of the mean is unknown.
    replicates[:, (drawn.isnan().all(1) & ~parts.isnan()).any(0)] = math.nan
    return _Drawn(values=values, replicates=replicates, num_parts=(~parts.isnan()).sum(0))


def _parts(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    fold: Tensor | None,
    repeat: Tensor | None,
) -> list[list["_Sample"]]:
    """The rows as one list of folds per repeat."""
    columns = [subject if column is None else column for column in (subject, fold, repeat)]
    for name, column in zip(("subject", "fold", "repeat"), columns, strict=True):
        assert column.shape == label.shape, f"{name} has the shape {tuple(column.shape)}, label {tuple(label.shape)}"
    nothing = torch.zeros_like(subject)
    fold, repeat = (nothing if column is None else column.to(subject) for column in (fold, repeat))
    samples: list[list[_Sample]] = []
    for number in torch.unique(repeat) if len(repeat) else [0]:
        again = [fold_rows & (repeat == number) for fold_rows in _members(fold)]
        samples.append([_Sample.of(probability[rows], label[rows], subject[rows]) for rows in again])
    subjects = [[sample.names.tolist() for sample in folds] for folds in samples]
    assert all(names == subjects[0] for names in subjects), (
        "the repeats of a fold hold different subjects, so the same ones cannot be drawn in all"
    )
    return samples


def _members(fold: Tensor) -> list[Tensor]:
    """(N,) bool of each fold; one empty fold without rows."""
    return [fold == number for number in torch.unique(fold)] or [fold == 0]


def _score(folds: list["_Sample"], num_replicates: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Metrics of K folds, (K, 4), and of their R replicates, (K, R, 4), NaN for folds of one subject."""
    values, replicates = [], []
    for sample in folds:
        values.append(sample.metrics(torch.ones(1, len(sample.label), dtype=torch.float64))[0])
        drawn = torch.cat([sample.metrics(weight) for weight in sample.draw(num_replicates, generator)])
        replicates.append(drawn if len(sample.names) >= MIN_SUBJECTS else torch.full_like(drawn, math.nan))
    return torch.stack(values), torch.stack(replicates)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The rows by descending probability, with all quantities that replicates share.

    Attributes:
        label: (N,) float64, 0 or 1.
        ends: (G,) int64, last row of each distinct probability.
        squared_error: (N,) float64.
        gap: (N, K) float64, probability - label in the column of the row's calibration bin, 0 elsewhere.
        subject: (N,) int64 in [0, S).
        names: (S,) int64, the subject_id of each, ascending.
    """

    label: Tensor
    ends: Tensor
    squared_error: Tensor
    gap: Tensor
    subject: Tensor
    names: Tensor

    @classmethod
    def of(cls, probability: Tensor, label: Tensor, subject: Tensor) -> "_Sample":
        """Validate and sort the rows; rows equal in all three columns are interchangeable."""
        probability, label = functional.as_columns(probability, label)
        names, dense = np.unique(subject.cpu().numpy(), return_inverse=True)
        order = torch.from_numpy(np.lexsort((dense, label.numpy(), -probability.numpy())))
        probability, label = probability[order], label[order]
        residual = probability - label
        bins = functional.equal_mass_bins(probability, NUM_BINS)
        return cls(
            label=label,
            ends=functional.threshold_ends(probability),
            squared_error=residual.square(),
            gap=one_hot(bins, NUM_BINS) * residual.unsqueeze(-1),
            subject=torch.from_numpy(dense)[order],
            names=torch.from_numpy(names),
        )

    def draw(self, num_replicates: int, generator: np.random.Generator) -> Iterator[Tensor]:
        """The (C, N) float64 weights of all replicates, C at a time."""
        chunk = max(1, CHUNK_ELEMENTS // max(len(self.label), 1))
        for start in range(0, num_replicates, chunk):
            num_drawn = min(chunk, num_replicates - start)
            yield draw_counts(generator, num_drawn, len(self.names))[:, self.subject]

    def metrics(self, weight: Tensor) -> Tensor:
        """The metrics under (C, N) integer weights of the rows: (C, 4), in the order of METRICS."""
        total = weight.sum(-1)
        positive = (weight * self.label).cumsum(-1)[:, self.ends]
        negative = weight.cumsum(-1)[:, self.ends] - positive
        counts = pad(positive, (1, 0)), pad(negative, (1, 0))
        return torch.stack(
            [
                functional.area_under_roc(*counts),
                functional.area_under_steps(*counts),
                (weight @ self.squared_error) / total,
                (weight @ self.gap).abs().sum(-1) / total,
            ],
            dim=-1,
        )


def draw_counts(generator: np.random.Generator, num_replicates: int, num_subjects: int) -> Tensor:
    """Number of times that each of S subjects is drawn in S draws with replacement.

    Args:
        generator: source of randomness.
        num_replicates: C.
        num_subjects: S.

    Returns:
        (C, S) float64; each row sums to S.

    >>> draw_counts(np.random.default_rng(0), 2, 3).sum(-1).tolist()
    [3.0, 3.0]
    """
    shape = (num_replicates, num_subjects)
    drawn = torch.from_numpy(generator.integers(max(num_subjects, 1), size=shape))
    return torch.zeros(shape, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(shape, dtype=torch.float64))


def percentile_interval(value: float, replicates: Tensor, num_parts: int, level: float) -> Interval:
    """The percentile interval of a metric.

    Args:
        value: the metric of the sample.
        replicates: (R,) float64, NaN where undefined.
        num_parts: number of parts in which the sample's metric is defined.
        level: nominal coverage, in (0, 1).

    Returns:
        The interval; its ends are NaN if the value or more than half of the replicates are undefined.

    >>> interval = percentile_interval(0.5, torch.tensor([0.4, 0.5, 0.6, torch.nan]), 1, level=0.5)
    >>> round(interval.low, 2), round(interval.high, 2), interval.num_defined
    (0.45, 0.55, 3)
    """
    defined = replicates[~replicates.isnan()]
    low = high = float("nan")
    if not math.isnan(value) and 2 * len(defined) >= len(replicates):
        tail = (1 - level) / 2
        low, high = np.quantile(defined.numpy(), [tail, 1 - tail]).tolist()
    return Interval(value=value, low=low, high=high, num_defined=len(defined), num_parts=num_parts)
