"""All metrics of a cell with intervals that hold at its size: score-type with few rows, bootstrap, analytic with many.

docs/method.md, section 5, states the rule; docs/coverage.md measures it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from mmnar_lightning.metrics import calibration, small_samples
from mmnar_lightning.metrics.bootstrap import (
    ERROR,
    METRICS,
    MIN_SUBJECTS,
    RESAMPLED,
    Drawn,
    draw_each,
    samples_of,
)
from mmnar_lightning.metrics.differences import recovered_ends, student_ends
from mmnar_lightning.metrics.influence import Linear, drawn_errors, linear, logit_ends, normal_ends
from mmnar_lightning.metrics.intervals import Interval, percentile_interval
from mmnar_lightning.metrics.parts import Parts, parts_of
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends

FEW = 30
"""Effective rows of the smaller class below which no interval is that of the percentiles of the bootstrap."""
VERY_FEW = 8
"""Effective rows below which that of a difference does not depend on the spread of the bootstrap either."""
Columns = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
"""Probability, label, subject, fold and repeat of a cell."""
MANY = 200
"""Effective rows of the smaller class from which intervals are analytic, as good as the bootstrap: docs/coverage.md.

Each fold must have `FEW` of them: the metric is the mean over folds, and that of a small one is not linear."""
ORDERED_ROWS = 10
"""Rows per part from which two methods that order all rows alike are taken to do so elsewhere: a few do by chance."""
RANKED = ("auroc", "average_precision")
"""Metrics of the order of the rows alone."""
SMALL = {"auroc": "newcombe", "average_precision": "wilson", "brier": "classes"}
"""Metric -> method of its interval with few rows."""
LINEAR = {"auroc": "delong", "average_precision": "influence", "brier": "influence"}
"""Metric -> method of its interval, and of that of a difference, with many rows."""
FITTED: dict[str, tuple[str, Callable[[Parts, float], calibration.Estimate]]] = {
    "calibration_error": ("shrinkage", calibration.calibration_error),
    "observed_expected": ("score", calibration.observed_expected),
    "calibration_slope": ("profile", calibration.slope),
    "calibration_intercept": ("profile", calibration.intercept),
}
"""Metric -> method and estimate of those that are not resampled at any size."""


def metric_intervals(
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
    """All metrics of a cell with their intervals.

    With fewer than `FEW` effective rows of the smaller class the intervals of AUROC, average precision and Brier score
    are those of `small_samples`, from `MANY` on (and `FEW` in each fold) those of `influence`, which need no
    replicates, and otherwise the percentiles of a bootstrap over subjects (`bootstrap_intervals`). Those of calibration
    are of `calibration` at every size. A single subject has none.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, as of `bootstrap_intervals`: metrics are means over folds, and no pair of rows of two folds is
            ranked. Observed over expected and the intercept are over the rows of all folds.
        repeat: (N,) int64, likewise.
        num_replicates: R, number of bootstrap replicates, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `METRICS`, with `Interval.method`.

    >>> label = torch.tensor([0.0] * 20 + [1.0])
    >>> found = metric_intervals((label + 0.1) / 2, label, torch.arange(21))["auroc"]
    >>> found.value, round(found.low, 2), found.high, found.method
    (1.0, 0.42, 1.0, 'newcombe')
    """
    (found,) = intervals_of_each(
        [probability],
        label,
        subject,
        fold=fold,
        repeat=repeat,
        num_replicates=num_replicates,
        level=level,
        seed=seed,
    )
    return found


def intervals_of_each(
    probabilities: Sequence[Tensor],
    label: Tensor,
    subject: Tensor,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Interval]]:
    """As `metric_intervals` of several predictions of the same rows, on replicates that are drawn once.

    Args:
        probabilities: of each prediction, (N,) in [0, 1].
        label: as of `metric_intervals`.
        subject: likewise.
        fold: likewise.
        repeat: likewise.
        num_replicates: likewise.
        level: likewise.
        seed: likewise.

    Returns:
        One entry per prediction.
    """
    assert 0 < level < 1, f"{level=} must be in (0, 1)"
    z = float(ndtri((1 + level) / 2))
    columns = [(probability, label, subject, fold, repeat) for probability in probabilities]
    each = [parts_of(*own) for own in columns]
    if _has_many(each[0]):
        resampled = [_of_many(parts, linear(samples_of(*own)), level) for parts, own in zip(each, columns, strict=True)]
    else:
        resampled = _of_draws(each, columns, num_replicates, level, seed)
    found = []
    for parts, own in zip(each, resampled, strict=True):
        fitted = {name: (method, *estimate(parts, z)) for name, (method, estimate) in FITTED.items()}
        own |= {
            name: _interval(value, ends, len(parts.rows), method, parts)
            for name, (method, value, ends) in fitted.items()
        }
        found.append({name: own[name] for name in METRICS})
    return found


def _has_many(parts: Parts) -> bool:
    """Whether intervals are analytic."""
    return parts.few() >= MANY and parts.fewest() >= FEW


def _of_draws(
    each: Sequence[Parts], columns: Sequence[Columns], num_replicates: int, level: float, seed: int
) -> list[dict[str, Interval]]:
    """Discrimination and Brier score of the predictions of a cell with fewer than `MANY` effective rows."""
    num_drawn = 1 if each[0].few() < FEW else num_replicates
    drawn = draw_each([samples_of(*own) for own in columns], num_replicates=num_drawn, seed=seed, calibrated=False)
    return [_of_drawn(*own, level) for own in zip(each, drawn, strict=True)]


def _of_drawn(parts: Parts, drawn: Drawn, level: float) -> dict[str, Interval]:
    z, is_few, found = float(ndtri((1 + level) / 2)), parts.few() < FEW, {}
    for column, name in enumerate(RESAMPLED[:ERROR]):
        value, num_parts = float(drawn.values[column]), int(drawn.num_parts[column])
        if is_few:
            found[name] = _interval(value, _small_ends(name, parts, value, level, z), num_parts, SMALL[name], parts)
        elif _has_none(name, parts):
            found[name] = _interval(value, NO_ENDS, num_parts, "", parts)
        else:
            found[name] = percentile_interval(value, drawn.replicates[:, column], num_parts, level)
    return found


def _of_many(parts: Parts, sample: Linear, level: float) -> dict[str, Interval]:
    """The same of a cell with at least `MANY` effective rows; where nothing varies, as with few."""
    z, found = float(ndtri((1 + level) / 2)), {}
    columns = (sample.values.tolist(), sample.error.tolist(), sample.num_parts.tolist())
    for name, value, error, num_parts in zip(LINEAR, *columns, strict=True):
        method = LINEAR[name]
        if _has_none(name, parts):
            ends = NO_ENDS
        elif error == 0 or value in {0, 1}:
            ends, method = _small_ends(name, parts, value, level, z), SMALL[name]
        else:
            ends = logit_ends(value, error, z) if name == "auroc" else normal_ends(value, error, z)
        found[name] = _interval(value, ends, num_parts, method, parts)
    return found


def _has_none(name: str, parts: Parts) -> bool:
    """Whether a metric has no interval, nor its difference, with more than few rows."""
    return name == "average_precision" and small_samples.has_biased_folds(parts)


def _small_ends(name: str, parts: Parts, value: float, level: float, z: float) -> Ends:
    if math.isnan(value):
        return NO_ENDS
    if name == "brier":
        return small_samples.brier_ends(parts, value, level, z)
    ends = small_samples.auroc_ends if name == "auroc" else small_samples.average_precision_ends
    return ends(parts, value, z)


def _interval(value: float, ends: Ends, num_parts: int, method: str, parts: Parts) -> Interval:
    low, high = ends if parts.num_subjects() >= MIN_SUBJECTS else NO_ENDS
    is_none = math.isnan(value) or math.isnan(low)
    return Interval(
        value=value, low=low, high=high, num_defined=0, num_parts=num_parts, method=None if is_none else method
    )


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
    Student's quantile (`student_ends`), with fewer than `VERY_FEW` it comes from the intervals of both methods and the
    correlation of their replicates (`recovered_ends`), and so does that of calibration errors at every size and that of
    two methods that do not vary. There is none where a method has none. From `MANY` on it is that of a normal
    difference of influences, and the replicates of calibration errors are those of normal sums over bins
    (`drawn_errors`).

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
    if _has_many(parts[0]):
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
        if few >= FEW and column != ERROR and _has_none(name, parts[0]):
            found[name] = _interval(plain.value, NO_ENDS, plain.num_parts, "", parts[0])
        elif not is_same and (few < FEW or column == ERROR or plain.low == plain.high):
            alone = [_alone(name, own, float(value), level) for own, value in zip(parts, pair.values, strict=True)]
            is_small = few < FEW and column != ERROR
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
    for (name, method), value, error, num_parts in zip(LINEAR.items(), *columns, strict=True):
        found[name] = _interval(value, normal_ends(value, error, z, lowest=-1.0), num_parts, method, parts)
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
    return _small_ends(name, parts, value, level, z)


def _widened(plain: Interval, pair: Drawn, alone: list[Ends], few: float, level: float, parts: Parts) -> Interval:
    """The interval of a difference of `few` effective rows, which holds that of the percentiles."""
    if math.isnan(plain.value) or any(math.isnan(end) for ends in alone for end in ends):
        return _interval(plain.value, NO_ENDS, plain.num_parts, "", parts)
    replicates = pair.replicates.numpy()
    defined = replicates[~np.isnan(replicates).any(1)]
    if few < VERY_FEW or 2 * len(defined) < len(replicates):
        values = float(pair.values[0]), float(pair.values[1])
        ends, method = recovered_ends(values, alone, defined), "recovered"
    else:
        ends, method = student_ends(plain.value, defined[:, 0] - defined[:, 1], few, level), "student"
    low, high = float(np.fmin(ends[0], plain.low)), float(np.fmax(ends[1], plain.high))
    return _interval(plain.value, (max(low, -1.0), min(high, 1.0)), plain.num_parts, method, parts)


def _same(first: Tensor, second: Tensor, fold: Tensor | None, repeat: Tensor | None) -> dict[str, bool]:
    """Whether two methods are equal, and whether they order the rows of every part alike."""

    def order(probability: Tensor) -> NDArray[np.int64]:
        columns = [probability.double(), *(column.double() for column in (fold, repeat) if column is not None)]
        keys = np.stack([column.cpu().numpy() for column in reversed(columns)])
        return np.unique(keys, axis=1, return_inverse=True)[1].ravel()

    parts = np.unique(order(torch.zeros_like(first)))
    alike = len(first) >= ORDERED_ROWS * len(parts) and np.array_equal(order(first), order(second))
    return {"equal": torch.equal(first, second), "order": bool(alike)}
