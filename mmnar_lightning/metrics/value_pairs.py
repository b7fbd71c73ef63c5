"""Paired differences of the metrics of two methods that predict the same numbers."""

import torch
from scipy.stats import t
from torch import Tensor

from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, Draws
from mmnar_lightning.metrics.intervals import Interval, percentile_interval
from mmnar_lightning.metrics.values import (
    FEW_SUBJECTS,
    TINY,
    VALUE_METRICS,
    mean_and_error,
    studentised,
    value_metrics,
    without_interval,
)

OF_SQUARES = ("rmse", "r2")
"""Metrics whose differences have percentiles of the bootstrap, and none with few subjects."""


def paired_value_differences(
    first: Tensor,
    second: Tensor,
    value: Tensor,
    subject: Tensor,
    *,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metrics of one method minus those of another on the same rows, with intervals clustered by subject.

    Differences of `mae` and `mean_error` are means over rows, whose interval is of the studentised bootstrap. Those of
    `rmse` and `r2` have percentiles of replicates that draw the same subjects for both methods.

    Args:
        first: (N,) float, predictions of one method.
        second: (N,) float, of the other.
        value: (N,) float.
        subject: (N,) int64.
        num_replicates: R, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `VALUE_METRICS`.

    >>> value = torch.tensor([1.0, 3.0] * 20)
    >>> found = paired_value_differences(value + 0.5, value + 2, value, torch.arange(40))
    >>> found["mae"].value, found["rmse"].value
    (-1.5, -1.5)
    """
    first, second, value = first.double(), second.double(), value.double()
    one, other = (value_metrics(predicted, value)[0] for predicted in (first, second))
    values = dict(zip(VALUE_METRICS, (one - other).tolist(), strict=True))
    found = {name: without_interval(own) for name, own in values.items()}
    names, dense = torch.unique(subject, return_inverse=True)
    if len(names) < MIN_SUBJECTS:
        return found
    draws = Draws(num_replicates, len(names), seed)
    each = {"mae": (first - value).abs() - (second - value).abs(), "mean_error": first - second}
    found |= {name: studentised(own, dense, draws, level, signed=True) for name, own in each.items()}
    if len(names) >= FEW_SUBJECTS:
        drawn = torch.cat([_differences(first, second, value, counts[:, dense]) for counts in draws])
        for name in OF_SQUARES:
            replicates = drawn[:, VALUE_METRICS.index(name)]
            found[name] = percentile_interval(values[name], replicates, 1, level)
    return found


def _differences(first: Tensor, second: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """(C, 4) differences of the metrics in each replicate."""
    return value_metrics(first, value, weight) - value_metrics(second, value, weight)


def paired_error_test(first: Tensor, second: Tensor, value: Tensor, subject: Tensor) -> float:
    """The two-sided p-value of a difference of mean absolute errors: a paired t-test of the totals of subjects.

    The mean over rows is a ratio of totals of subjects, whose error is that of a linear approximation (Cochran,
    Sampling Techniques, 1977, chapter 6).

    Args:
        first: (N,) float, predictions of one method.
        second: (N,) float, of the other.
        value: (N,) float.
        subject: (N,) int64.

    Returns:
        In [0, 1]; 1 for a difference of 0, NaN for a single subject.

    >>> value = torch.zeros(9)
    >>> paired_error_test(value + 1, value + 1, value, torch.arange(9))
    1.0
    """
    each = (first.double() - value.double()).abs() - (second.double() - value.double()).abs()
    names, dense = torch.unique(subject, return_inverse=True)
    difference, error = mean_and_error(each, dense, len(names))
    if difference == 0:
        return 1.0
    if len(names) < 2:
        return float("nan")
    return float(2 * t.sf(abs(difference) / error, len(names) - 1)) if error > TINY else 0.0
