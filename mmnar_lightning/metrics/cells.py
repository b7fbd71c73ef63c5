"""All metrics of a cell with intervals that hold at its size: score-type with few rows, bootstrap, analytic with many.

docs/method.md, section 5, states the rule; docs/coverage.md measures it.
"""

import math
from collections.abc import Callable, Sequence

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
from mmnar_lightning.metrics.influence import Linear, linear, logit_ends, normal_ends
from mmnar_lightning.metrics.intervals import Interval, percentile_interval
from mmnar_lightning.metrics.parts import Parts, parts_of
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends

FEW = 30
"""Effective rows of the smaller class below which no interval is that of the percentiles of the bootstrap."""
Columns = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
"""Probability, label, subject, fold and repeat of a cell."""
MANY = 200
"""Effective rows of the smaller class from which intervals are analytic, as good as the bootstrap: docs/coverage.md.

Each fold must have `FEW` of them: the metric is the mean over folds, and that of a small one is not linear."""
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

    >>> import torch
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

    >>> import torch
    >>> label, risk = torch.tensor([0.0, 1.0] * 50), torch.linspace(0.3, 0.7, 100)
    >>> found = intervals_of_each([risk, 1 - risk], label, torch.arange(100), num_replicates=50)
    >>> [round(own["auroc"].value, 2) for own in found]
    [0.51, 0.49]
    """
    assert 0 < level < 1, f"{level=} must be in (0, 1)"
    z = float(ndtri((1 + level) / 2))
    columns = [(probability, label, subject, fold, repeat) for probability in probabilities]
    each = [parts_of(*own) for own in columns]
    if has_many(each[0]):
        resampled = [_of_many(parts, linear(samples_of(*own)), level) for parts, own in zip(each, columns, strict=True)]
    else:
        resampled = _of_draws(each, columns, num_replicates, level, seed)
    found = []
    for parts, own in zip(each, resampled, strict=True):
        fitted = {name: (method, *estimate(parts, z)) for name, (method, estimate) in FITTED.items()}
        own |= {
            name: interval_of(value, ends, len(parts.rows), method, parts)
            for name, (method, value, ends) in fitted.items()
        }
        found.append({name: own[name] for name in METRICS})
    return found


def has_many(parts: Parts) -> bool:
    """Decide whether intervals of a cell are analytic.

    Args:
        parts: of the cell.

    Returns:
        Whether it has `MANY` effective rows of the smaller class, and each fold `FEW`.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> has_many(parts)
    False
    """
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
            found[name] = interval_of(value, small_ends(name, parts, value, level, z), num_parts, SMALL[name], parts)
        elif has_none(name, parts):
            found[name] = interval_of(value, NO_ENDS, num_parts, "", parts)
        else:
            found[name] = percentile_interval(value, drawn.replicates[:, column], num_parts, level)
    return found


def _of_many(parts: Parts, sample: Linear, level: float) -> dict[str, Interval]:
    """The same of a cell with at least `MANY` effective rows; where nothing varies, as with few."""
    z, found = float(ndtri((1 + level) / 2)), {}
    columns = (sample.values.tolist(), sample.error.tolist(), sample.num_parts.tolist())
    for name, value, error, num_parts in zip(LINEAR, *columns, strict=True):
        method = LINEAR[name]
        if has_none(name, parts):
            ends = NO_ENDS
        elif error == 0 or value in {0, 1}:
            ends, method = small_ends(name, parts, value, level, z), SMALL[name]
        else:
            ends = logit_ends(value, error, z) if name == "auroc" else normal_ends(value, error, z)
        found[name] = interval_of(value, ends, num_parts, method, parts)
    return found


def has_none(name: str, parts: Parts) -> bool:
    """Decide whether a metric has no interval, nor its difference, with more than few rows.

    Args:
        name: of the metric.
        parts: of the cell.

    Returns:
        Whether it is the average precision over folds of few positives.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> folds = parts_of(risk, label, torch.arange(4), torch.tensor([0, 1, 0, 1]))
    >>> has_none("average_precision", parts), has_none("average_precision", folds), has_none("auroc", folds)
    (False, True, False)
    """
    return name == "average_precision" and small_samples.has_biased_folds(parts)


def small_ends(name: str, parts: Parts, value: float, level: float, z: float) -> Ends:
    """Compute the interval of a metric with few rows.

    Args:
        name: of the metric.
        parts: of the cell.
        value: of the metric, NaN where undefined.
        level: nominal coverage.
        z: its quantile of the normal distribution.

    Returns:
        Both ends, NaN without an interval.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> [round(end, 2) for end in small_ends("auroc", parts, 1.0, 0.95, 1.96)]
    [0.39, 1.0]
    """
    if math.isnan(value):
        return NO_ENDS
    if name == "brier":
        return small_samples.brier_ends(parts, value, level, z)
    ends = small_samples.auroc_ends if name == "auroc" else small_samples.average_precision_ends
    return ends(parts, value, z)


def interval_of(value: float, ends: Ends, num_parts: int, method: str, parts: Parts) -> Interval:
    """Make an interval; a single subject has none.

    Args:
        value: of the metric.
        ends: NaN without an interval.
        num_parts: folds and repeats in which the metric is defined.
        method: name of the method, where there is an interval.
        parts: of the cell.

    Returns:
        The value with its interval.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> interval_of(1.0, (0.4, 1.0), 1, "newcombe", parts).method
    'newcombe'
    >>> interval_of(1.0, NO_ENDS, 1, "newcombe", parts).method is None
    True
    """
    low, high = ends if parts.num_subjects() >= MIN_SUBJECTS else NO_ENDS
    is_none = math.isnan(value) or math.isnan(low)
    return Interval(
        value=value, low=low, high=high, num_defined=0, num_parts=num_parts, method=None if is_none else method
    )
