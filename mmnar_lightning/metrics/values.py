"""Metrics of predicted numbers, with intervals by a bootstrap of whole subjects."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, Draws
from mmnar_lightning.metrics.intervals import Interval, percentile_interval

VALUE_METRICS = ("mae", "rmse", "mean_error", "r2")
"""Mean absolute error, root mean squared error, mean error (calibration in the large), share of explained variance;
in the order of the columns of `value_metrics`, R² last."""
FEW_SUBJECTS = 30
"""Subjects below which intervals of squares and of R² are too narrow."""
TINY = 1e-12


def value_metrics(predicted: Tensor, value: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the metrics of a sample, or of replicates of it.

    Args:
        predicted: (N,) float, in the units of the values.
        value: (N,) float.
        weight: (C, N) float, how often each row counts in each replicate; None = one replicate with every row once.

    Returns:
        (C, 4) float64 in the order of `VALUE_METRICS`; NaN without rows, and R² where the values do not vary.

    >>> value_metrics(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])).tolist()
    [[1.5, 1.5811388300841898, -0.5, 0.375]]
    """
    predicted, value = predicted.double(), value.double()
    weight = torch.ones((1, len(value)), dtype=torch.float64) if weight is None else weight
    count = weight.sum(1)
    error = predicted - value
    squares = weight @ error**2
    centred = value - value.mean()  # so that little is cancelled below
    spread = weight @ centred**2 - (weight @ centred) ** 2 / count
    varies = spread > TINY * (1 + weight @ centred**2)
    r2 = torch.where(varies, 1 - squares / spread, math.nan)
    return torch.stack([weight @ error.abs() / count, (squares / count).sqrt(), weight @ error / count, r2], dim=1)


def value_intervals(
    predicted: Tensor, value: Tensor, subject: Tensor, *, num_replicates: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """All metrics of a cell with their intervals, clustered by subject.

    Those of means (`mae`, `mean_error`, and the mean square of `rmse`) are of the studentised bootstrap (Hall, Annals
    of Statistics 16, 1988), because errors of lengths of stay are skewed. That of `r2` has the percentiles of the same
    replicates. With fewer than `FEW_SUBJECTS` `rmse` and `r2` have none: it would be too narrow.

    Args:
        predicted: (N,) float, in the units of the values.
        value: (N,) float.
        subject: (N,) int64.
        num_replicates: R, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `VALUE_METRICS`.

    >>> found = value_intervals(torch.zeros(40), torch.tensor([1.0, 3.0] * 20), torch.arange(40))["mae"]
    >>> found.value, found.method, found.low < 2 < found.high
    (2.0, 'studentised', True)
    """
    assert 0 < level < 1, f"{level=} must be in (0, 1)"
    values = dict(zip(VALUE_METRICS, value_metrics(predicted, value)[0].tolist(), strict=True))
    names, dense = torch.unique(subject, return_inverse=True)
    found = {name: without_interval(own) for name, own in values.items()}
    if len(names) < MIN_SUBJECTS:
        return found
    draws = Draws(num_replicates, len(names), seed)
    error = predicted.double() - value.double()
    for name, each in {"mae": error.abs(), "mean_error": error}.items():
        found[name] = studentised(each, dense, draws, level)
    if len(names) >= FEW_SUBJECTS:
        squared = studentised(error**2, dense, draws, level)
        ends = {name: getattr(squared, name) ** 0.5 for name in ("value", "low", "high")}
        found["rmse"] = replace(squared, **ends)
        replicates = torch.cat([value_metrics(predicted, value, counts[:, dense])[:, -1] for counts in draws])
        found["r2"] = percentile_interval(values["r2"], replicates, 1, level)
    return found


def without_interval(value: float) -> Interval:
    """A value alone.

    Args:
        value: of the metric.

    Returns:
        The interval without ends.

    >>> without_interval(2.0).method is None
    True
    """
    return Interval(value=value, low=math.nan, high=math.nan, num_defined=0, num_parts=1, method=None)


def studentised(each: Tensor, dense: Tensor, draws: Draws, level: float, *, signed: bool = False) -> Interval:
    """The interval of the mean of values by the studentised bootstrap, clustered by subject.

    Args:
        each: (N,) float64.
        dense: (N,) int64, subjects from 0 on.
        draws: of the S subjects.
        level: nominal coverage.
        signed: whether the mean may be negative although no value is.

    Returns:
        The interval; none where too few replicates vary.

    >>> from mmnar_lightning.metrics.bootstrap import Draws
    >>> each = torch.tensor([1.0, 2.0, 3.0, 6.0]).double().repeat(10)
    >>> found = studentised(each, torch.arange(40), Draws(200, 40, 0), 0.95)
    >>> found.value, found.low < 3 < found.high
    (3.0, True)
    """
    size = draws.num_subjects
    total, rows = _totals(each, dense, size)
    mean, deviation = (column[0] for column in _mean_of(total, rows, torch.ones((1, size), dtype=torch.float64)))
    drawn, spread = (torch.cat(own) for own in zip(*(_mean_of(total, rows, part) for part in draws), strict=True))
    usable = spread > TINY * (1 + deviation)
    if float(deviation) <= TINY or 2 * int(usable.sum()) < draws.num_replicates:
        return without_interval(float(mean))
    steps = ((drawn - mean) / spread)[usable].numpy()
    tail = (1 - level) / 2
    ends = float(mean) - float(deviation) * np.quantile(steps, [1 - tail, tail])
    low = ends[0] if signed or not bool((each >= 0).all()) else max(0.0, ends[0])
    return Interval(
        value=float(mean), low=float(low), high=float(ends[1]), num_defined=0, num_parts=1, method="studentised"
    )


def mean_and_error(each: Tensor, dense: Tensor, size: int) -> tuple[float, float]:
    """The mean of values and its standard error, clustered by subject.

    Args:
        each: (N,) float64.
        dense: (N,) int64, subjects from 0 on.
        size: S, number of subjects.

    Returns:
        Both; the error of a single subject is NaN.

    >>> mean, error = mean_and_error(torch.tensor([1.0, 2.0, 3.0, 6.0]).double(), torch.arange(4), 4)
    >>> mean, round(error, 2)
    (3.0, 1.08)
    """
    total, rows = _totals(each, dense, size)
    mean, error = _mean_of(total, rows, torch.ones((1, size), dtype=torch.float64))
    return float(mean[0]), float(error[0])


def _totals(each: Tensor, dense: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(S,) sums of the values of each subject, and numbers of its rows."""
    total = torch.zeros(size, dtype=torch.float64).index_add_(0, dense, each)
    return total, torch.bincount(dense, minlength=size).double()


def _mean_of(total: Tensor, rows: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and its standard error, (C,) each, where subjects with totals and rows (S,) count (C, S) times."""
    number = counts @ rows
    mean = counts @ total / number
    squares = counts @ total**2 - 2 * mean * (counts @ (total * rows)) + mean**2 * (counts @ rows**2)
    subjects = counts.sum(1)
    return mean, (squares.clamp(min=0) * subjects / (subjects - 1)).sqrt() / number
