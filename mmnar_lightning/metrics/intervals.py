"""Confidence intervals of metrics from a bootstrap over subjects."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mmnar_lightning.metrics.bootstrap import ERROR, RESAMPLED, Drawn, draw


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric with its interval.

    Attributes:
        value: the metric of the sample; NaN where undefined.
        low: lower end; NaN if there is no interval.
        high: upper end, likewise.
        num_defined: number of replicates in which the metric is defined; 0 if the interval is of another method.
        num_parts: number of parts (folds, repeats) in which the sample's metric is defined; `value` is their mean.
        method: of the interval; None if there is none. `bootstrap`: percentiles of replicates; `newcombe`, `wilson`,
            `classes`: of AUROC, average precision and Brier score with few rows (small_samples.py); `delong`,
            `influence`: of AUROC and of both others with many, and of differences (influence.py); `shrinkage`, `score`,
            `profile`: of calibration (calibration.py); `student`, `recovered`: of a difference with few rows;
            `simultaneous`: of the largest of many differences (gaps.py).
    """

    value: float
    low: float
    high: float
    num_defined: int
    num_parts: int
    method: str | None = "bootstrap"


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
    """Percentile intervals of the resampled metrics from a bootstrap over subjects, at any size.

    `cells.metric_intervals` uses them where enough rows of both classes are known.

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

    >>> import torch
    >>> intervals = bootstrap_intervals(
    ...     torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4), torch.tensor([7, 7, 8, 9])
    ... )
    >>> round(intervals["brier"].value, 3), intervals["brier"].num_defined
    (0.075, 1000)
    >>> intervals["auroc"]
    Interval(value=nan, low=nan, high=nan, num_defined=0, num_parts=0, method=None)
    """
    drawn = draw(probability, label, subject, fold, repeat, num_replicates=num_replicates, seed=seed)
    drawn.replicates[:, ERROR].clamp_(0, 1)
    return _intervals(drawn, level)


def _intervals(drawn: Drawn, level: float) -> dict[str, Interval]:
    """The percentile interval of each metric."""
    assert 0 < level < 1, f"{level=} must be in (0, 1)"
    return {
        name: percentile_interval(float(value), column, int(parts), level)
        for name, value, column, parts in zip(RESAMPLED, drawn.values, drawn.replicates.T, drawn.num_parts, strict=True)
    }


def percentile_interval(value: float, replicates: Tensor, num_parts: int, level: float) -> Interval:
    """The percentile interval of a metric.

    Args:
        value: the metric of the sample.
        replicates: (R,) float64, NaN where undefined.
        num_parts: number of parts in which the sample's metric is defined.
        level: nominal coverage, in (0, 1).

    Returns:
        The interval; its ends are NaN if the value or more than half of the replicates are undefined.

    >>> import torch
    >>> interval = percentile_interval(0.5, torch.tensor([0.4, 0.5, 0.6, torch.nan]), 1, level=0.5)
    >>> round(interval.low, 2), round(interval.high, 2), interval.num_defined
    (0.45, 0.55, 3)
    """
    defined = replicates[~replicates.isnan()]
    low = high = float("nan")
    if not math.isnan(value) and 2 * len(defined) >= len(replicates):
        tail = (1 - level) / 2
        low, high = np.quantile(defined.numpy(), [tail, 1 - tail]).tolist()
    method = None if math.isnan(low) else "bootstrap"
    return Interval(value=value, low=low, high=high, num_defined=len(defined), num_parts=num_parts, method=method)
