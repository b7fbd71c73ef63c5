"""Net benefit of treating the rows whose prediction reaches a threshold: decision curves."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.metrics.parts import Column, design_effect
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends, wilson_ends

METHOD = "recovered"

LIMIT = 0.01
"""The lowest threshold; 1 less this is the highest."""
NUM_THRESHOLDS = 37
THRESHOLDS = torch.linspace(-1, 1, NUM_THRESHOLDS, dtype=torch.float64).mul(np.log(1 / LIMIT - 1)).sigmoid()
"""(G,) float64, equal steps on the logit scale; the middle one is 0.5."""


@dataclass(frozen=True, kw_only=True)
class Benefit:
    """The net benefit at one threshold.

    Attributes:
        threshold: in (0, 1).
        model: of treating the rows whose probability reaches it.
        treat_all: of treating all rows.
        true_positives: rows of all repeats that are treated and positive.
        false_positives: treated and negative.
    """

    threshold: float
    model: Interval
    treat_all: Interval
    true_positives: int
    false_positives: int


def net_benefits(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    *,
    thresholds: Tensor = THRESHOLDS,
    level: float = 0.95,
) -> list[Benefit]:
    """Net benefit of a prediction at each threshold, beside that of treating all; treating none has 0.

    With t the threshold, (true positives - false positives * t / (1 - t)) / rows: a false positive costs what the odds
    of the threshold say. It is a mean over rows, so the rows of all folds and repeats count together. A single subject
    has no interval.

    Source: Vickers and Elkin, Medical Decision Making 26, 2006; of the intervals: `benefit_ends`.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        thresholds: (G,) float64 in (0, 1), ascending.
        level: nominal coverage, in (0, 1).

    Returns:
        One for each threshold; NaN without rows.

    >>> found = net_benefits(torch.tensor([0.1, 0.6, 0.9]), torch.tensor([0, 0, 1]), torch.arange(3),
    ...                      thresholds=torch.tensor([0.25, 0.75], dtype=torch.float64))
    >>> [round(one.model.value, 3) for one in found], [round(one.treat_all.value, 3) for one in found]
    ([0.222, 0.333], [0.111, -1.667])
    """
    risk, truth = (column.numpy() for column in functional.as_columns(probability, label))
    people, z = subject.cpu().numpy(), float(ndtri((1 + level) / 2))
    return [_at(risk, truth > 0, people, float(threshold), z) for threshold in thresholds]


def benefit_ends(benefits: float, harms: float, odds: float, count: float, z: float) -> Ends:
    """The interval of the share of true positives less that of false positives at the odds.

    Those of both shares (Wilson's) are combined by the method of variance estimates recovery, with the correlation of
    two shares of the same rows, -√(p q / ((1 - p) (1 - q))). Source: Zou and Donner, Statistics in Medicine 27, 2008.

    Args:
        benefits: p, share of true positives among all rows.
        harms: q, share of false positives.
        odds: of the threshold.
        count: effective number of rows, above 0.
        z: standard normal quantile.

    Returns:
        Both ends.

    >>> [round(end, 3) for end in benefit_ends(0.0, 0.0, 0.25, 20, 1.96)]
    [-0.04, 0.161]
    """
    (low, high), (least, most) = (wilson_ends(share, count, z) for share in (benefits, harms))
    rest = max(count * (1 - benefits - harms), 0.0)
    own, other = count * benefits + 1, count * harms + 1
    correlation = -math.sqrt(own * other / ((other + rest) * (own + rest)))

    def half(own: float, other: float) -> float:
        return math.sqrt(max(own**2 + other**2 - 2 * correlation * own * other, 0.0))

    value = benefits - odds * harms
    below = half(benefits - low, odds * (most - harms))
    return value - below, value + half(high - benefits, odds * (harms - least))


def _at(risk: Column, positive: NDArray[np.bool_], people: NDArray[np.int64], threshold: float, z: float) -> Benefit:
    """The net benefit at one threshold of rows that are positive or not."""
    treated = risk >= threshold
    return Benefit(
        threshold=threshold,
        model=_interval(treated & positive, treated & ~positive, people, threshold / (1 - threshold), z),
        treat_all=_interval(positive, ~positive, people, threshold / (1 - threshold), z),
        true_positives=int((treated & positive).sum()),
        false_positives=int((treated & ~positive).sum()),
    )


def _interval(
    benefit: NDArray[np.bool_], harm: NDArray[np.bool_], people: NDArray[np.int64], odds: float, z: float
) -> Interval:
    """The net benefit of rows that are benefits or harms, and its interval."""
    if not len(people):
        return Interval(value=math.nan, low=math.nan, high=math.nan, num_defined=0, num_parts=0, method=None)
    shares = float(benefit.mean()), float(harm.mean())
    ends, value = NO_ENDS, shares[0] - odds * shares[1]
    if len(np.unique(people)) >= MIN_SUBJECTS:
        count = len(people) / design_effect(benefit - odds * harm, people)
        ends = benefit_ends(*shares, odds, count, z)
    low, high = ends
    method = None if math.isnan(low) else METHOD
    return Interval(value=value, low=low, high=high, num_defined=0, num_parts=1, method=method)
