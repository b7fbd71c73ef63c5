"""Test of a difference of two AUROCs on the same rows, and the correction for several tests."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from mmnar_lightning.metrics.parts import Part, parts_of


def delong(
    first: Tensor,
    second: Tensor,
    label: Tensor,
    subject: Tensor,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
) -> tuple[float, float]:
    """Difference of two AUROCs, first minus second, and its standard error.

    With folds or repeats the difference is the mean over those with both classes. Rows of a subject are not
    independent: their contributions are summed before the variance is taken.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44:837, 1988; of clustered rows: Obuchowski, Biometrics
    53:567, 1997.

    Args:
        first: (N,) in [0, 1], probabilities of one method.
        second: (N,) in [0, 1], of the other.
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, no pair of rows of two folds is ranked; None = one fold.
        repeat: (N,) int64, number of the prediction among several of the same rows; None = one.

    Returns:
        Both, NaN without a part that has both classes; the error is NaN for a single subject.

    >>> import torch
    >>> label, subject = torch.tensor([0, 1, 0, 1]), torch.arange(4)
    >>> first, second = torch.tensor([0.1, 0.9, 0.2, 0.8]), torch.tensor([0.1, 0.9, 0.8, 0.2])
    >>> difference, error = delong(first, second, label, subject)
    >>> difference, round(error, 3)
    (0.25, 0.289)
    """
    columns = label, subject, fold, repeat
    # Rows of one subject and class may stand in another order for the other method; only their sums are used.
    place = [_placements(probability, *columns) for probability in (first, second)]
    parts = [(one, other) for one, other in zip(*place, strict=True) if one is not None and other is not None]
    if not parts:
        return math.nan, math.nan
    names = np.unique(np.concatenate([one.subject for one, _ in parts]))
    total, difference = np.zeros(len(names)), 0.0
    for one, other in parts:
        own = one.value - other.value
        difference += own / len(parts)
        share = (one.placement - other.placement - own) / one.size / len(parts)
        np.add.at(total, np.searchsorted(names, one.subject), share)
    if len(names) < 2:
        return difference, math.nan
    variance = len(names) / (len(names) - 1) * float((total**2).sum())
    return difference, math.sqrt(variance)


class _Placed:
    """The rows of a part with both classes, positives first, each class by subject.

    Attributes:
        placement: (n,) share of the other class that a row is on the right side of, ties one half.
        size: (n,) rows of the row's class.
        subject: (n,) int64.
        value: the AUROC.
    """

    def __init__(self, part: Part) -> None:
        positive = part.positive
        sides = []
        for own, sign in ((positive, 1.0), (~positive, -1.0)):
            others = np.sort(sign * part.probability[~own])
            risk = sign * part.probability[own]
            beaten = np.searchsorted(others, risk, "left") + np.searchsorted(others, risk, "right")
            sides.append(beaten / 2 / len(others))
        self.placement = np.concatenate(sides)
        self.subject = np.concatenate([part.subject[positive], part.subject[~positive]])
        counts = [int(positive.sum()), int((~positive).sum())]
        self.size = np.repeat(counts, counts).astype(np.float64)
        self.value = float(sides[0].mean())


def _placements(
    probability: Tensor, label: Tensor, subject: Tensor, fold: Tensor | None, repeat: Tensor | None
) -> list[_Placed | None]:
    parts = parts_of(probability, label, subject, fold, repeat).rows
    return [_Placed(part) if part.has_both else None for part in parts]


def p_value(difference: float, error: float) -> float:
    """The two-sided p-value of a difference under a normal distribution.

    Returns:
        In [0, 1]; 1 for a difference of 0, NaN where the error is unknown.

    >>> round(p_value(0.196, 0.1), 3), p_value(0.0, 0.0)
    (0.05, 1.0)
    """
    if difference == 0:
        return 1.0
    if math.isnan(error):
        return math.nan
    return float(2 * ndtr(-abs(difference) / error)) if error > 0 else 0.0


def holm(values: Sequence[float]) -> NDArray[np.float64]:
    """Correct the p-values of a family of tests for their number.

    Source: Holm, Scandinavian Journal of Statistics 6:65, 1979.

    Args:
        values: p-values; NaN is no test.

    Returns:
        (n,) corrected p-values: a test below a level holds at that level whichever of the others do.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(values, np.float64)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    found = np.full(len(given), np.nan)
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return found
