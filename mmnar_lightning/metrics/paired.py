"""Differences of two methods on the same rows, with intervals that hold at the size of the cell (`cells`)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from mmnar_lightning.metrics import calibration, cells
from mmnar_lightning.metrics.bootstrap import ERROR, RESAMPLED, Drawn, draw_each, samples_of
from mmnar_lightning.metrics.differences import recovered_ends, student_ends
from mmnar_lightning.metrics.influence import Linear, drawn_errors, linear, normal_ends
from mmnar_lightning.metrics.intervals import Interval, percentile_interval
from mmnar_lightning.metrics.parts import Parts, parts_of
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends

VERY_FEW = 8
"""Effective rows below which that of a difference does not depend on the spread of the bootstrap either."""
FEW_IN_PART = 3
"""Effective rows of a part, on average, below which it does not either: the differences of such parts are steps."""
ORDERED_ROWS = 10
"""Rows per part from which two methods that order all rows alike are taken to do so elsewhere: a few do by chance."""
RANKED = ("auroc", "average_precision")
"""Metrics of the order of the rows alone."""


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
    """Differences of the resampled metrics, first minus second, of two methods on the same rows.

    Both methods are scored on the same replicates, so their common variation cancels: the more their errors correlate,
    the narrower the interval is than that of two independent samples. With few effective rows of the smaller class the
    interval is never narrower than the percentiles: with fewer than `FEW` it has the spread of the replicates and
    Student's quantile (`student_ends`), with fewer than `VERY_FEW`, or `FEW_IN_PART` in a part, it comes from the
    intervals of both methods and the correlation of their replicates (`recovered_ends`), and so does that of
    calibration errors at every size and that of two methods that do not vary. There is none where a method has none.
    From `MANY` on it is that of a normal difference of influences, and the replicates of calibration errors are those
    of normal sums over bins (`drawn_errors`).

    Args:
        first: (N,) in [0, 1], probabilities of one method.
        second: (N,) in [0, 1], of the other.
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, as of `metric_intervals`.
        repeat: (N,) int64, as of `metric_intervals`.
        num_replicates: R, number of bootstrap replicates, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `RESAMPLED`. The calibration errors are those without bias; their replicates are shifted so that
        their mean is the difference. A difference of metrics of order is 0 with ends of 0 if both methods order the
        rows alike (at least `ORDERED_ROWS` in a part), and every difference if they are equal.

    >>> label, subject = torch.tensor([0, 1, 0, 1]), torch.arange(4)
    >>> first, second = torch.tensor([0.1, 0.9, 0.2, 0.8]), torch.tensor([0.1, 0.9, 0.8, 0.2])
    >>> paired_difference(first, second, label, subject)["auroc"].value
    0.25
    >>> paired_difference(first, first, label, subject)["brier"].high
    0.0
    """
    assert 0 < level < 1, f"{level=} must be in (0, 1)"
    columns = [(probability, label, subject, fold, repeat) for probability in (first, second)]
    samples, parts = [samples_of(*own) for own in columns], [parts_of(*own) for own in columns]
    few, same = parts[0].few(), _same(first, second, fold, repeat)
    if cells.has_many(parts[0]):
        linearised = [linear(own) for own in samples]
        errors = drawn_errors(samples, num_replicates, seed).T
        drawn = [_of_errors(*both, len(parts[0].rows)) for both in zip(linearised, errors, strict=True)]
        found = _difference_of_many(linearised[0].minus(linearised[1]), level, parts[0])
    else:
        drawn, found = draw_each(samples, num_replicates=num_replicates, seed=seed), {}
    for own, one in zip(parts, drawn, strict=True):
        one.values[ERROR] = calibration.calibration_error(own, 1.0)[0]
    for column, name in enumerate(RESAMPLED):
        pair = _column(drawn, column)
        plain = found.get(name) or _of_replicates(pair, level, equal=same["equal"], shifted=column == ERROR)
        found[name] = plain
        is_same = same["equal"] or (same["order"] and name in RANKED)
        if few >= cells.FEW and column != ERROR and cells.has_none(name, parts[0]):
            found[name] = cells.interval_of(plain.value, NO_ENDS, plain.num_parts, "", parts[0])
        elif not is_same and (few < cells.FEW or column == ERROR or plain.low == plain.high):
            alone = [_alone(name, own, float(value), level) for own, value in zip(parts, pair.values, strict=True)]
            is_small = few < cells.FEW and column != ERROR
            found[name] = _widened(plain, pair, alone, few if is_small else 0.0, level, parts[0])
    return found


def _of_replicates(pair: Drawn, level: float, *, equal: bool, shifted: bool) -> Interval:
    """The percentiles of a difference; shifted so that the mean of the replicates is the difference."""
    difference = float(pair.values[0] - pair.values[1])
    replicates = (pair.replicates[:, 0] - pair.replicates[:, 1]) * (not equal)
    if shifted:
        replicates = replicates - replicates.nanmean() + difference
    return percentile_interval(difference, replicates, int(pair.num_parts.min()), level)


def _of_errors(linearised: Linear, errors: NDArray[np.float64], num_parts: int) -> Drawn:
    """Replicates of the calibration error, (R,); the other metrics have values alone."""
    replicates = torch.full((len(errors), len(RESAMPLED)), math.nan, dtype=torch.float64)
    replicates[:, ERROR] = torch.from_numpy(errors)
    values = torch.full((len(RESAMPLED),), math.nan, dtype=torch.float64)
    values[: len(linearised.values)] = torch.from_numpy(linearised.values)
    return Drawn(values=values, replicates=replicates, num_parts=torch.full((len(RESAMPLED),), num_parts))


def _difference_of_many(difference: Linear, level: float, parts: Parts) -> dict[str, Interval]:
    """Differences of discrimination and of Brier scores with at least `MANY` effective rows."""
    z, found = float(ndtri((1 + level) / 2)), {}
    columns = (difference.values.tolist(), difference.error.tolist(), difference.num_parts.tolist())
    for (name, method), value, error, num_parts in zip(cells.LINEAR.items(), *columns, strict=True):
        found[name] = cells.interval_of(value, normal_ends(value, error, z, lowest=-1.0), num_parts, method, parts)
    return found


def _column(drawn: list[Drawn], column: int) -> Drawn:
    """One metric of both methods: (2,) values, (R, 2) replicates, (2,) parts."""
    return Drawn(
        values=torch.stack([one.values[column] for one in drawn]),
        replicates=torch.stack([one.replicates[:, column] for one in drawn], dim=-1),
        num_parts=torch.stack([one.num_parts[column] for one in drawn]),
    )


def _alone(name: str, parts: Parts, value: float, level: float) -> Ends:
    """The interval of a resampled metric of one method with few rows."""
    z = float(ndtri((1 + level) / 2))
    if name == "calibration_error":
        return calibration.calibration_error(parts, z)[1]
    return cells.small_ends(name, parts, value, level, z)


def _widened(plain: Interval, pair: Drawn, alone: list[Ends], few: float, level: float, parts: Parts) -> Interval:
    """The interval of a difference of `few` effective rows, which holds that of the percentiles."""
    if math.isnan(plain.value) or any(math.isnan(end) for ends in alone for end in ends):
        return cells.interval_of(plain.value, NO_ENDS, plain.num_parts, "", parts)
    replicates = pair.replicates.numpy()
    defined = replicates[~np.isnan(replicates).any(1)]
    is_very_few = few < max(VERY_FEW, FEW_IN_PART * len(parts.rows))
    if is_very_few or 2 * len(defined) < len(replicates):
        values = float(pair.values[0]), float(pair.values[1])
        ends, method = recovered_ends(values, alone, defined), "recovered"
    else:
        ends, method = student_ends(plain.value, defined[:, 0] - defined[:, 1], few, level), "student"
    low, high = float(np.fmin(ends[0], plain.low)), float(np.fmax(ends[1], plain.high))
    return cells.interval_of(plain.value, (max(low, -1.0), min(high, 1.0)), plain.num_parts, method, parts)


def _same(first: Tensor, second: Tensor, fold: Tensor | None, repeat: Tensor | None) -> dict[str, bool]:
    """Whether two methods are equal, and whether they order the rows of every part alike."""

    def order(probability: Tensor) -> NDArray[np.int64]:
        columns = [probability.double(), *(column.double() for column in (fold, repeat) if column is not None)]
        keys = np.stack([column.cpu().numpy() for column in columns])
        ranked = np.lexsort(keys)  # np.unique of the columns would compare them one by one
        place = np.zeros(len(ranked), dtype=np.int64)
        place[ranked[1:]] = (keys[:, ranked[1:]] != keys[:, ranked[:-1]]).any(0).cumsum()
        return place

    parts = np.unique(order(torch.zeros_like(first)))
    alike = len(first) >= ORDERED_ROWS * len(parts) and np.array_equal(order(first), order(second))
    return {"equal": torch.equal(first, second), "order": bool(alike)}
