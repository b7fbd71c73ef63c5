"""Diagnostics of a score: prediction of presence, overlap, and tipping points of a conclusion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.metrics.prediction_powered import Z, clustered_mean

OVERLAP = (0.02, 0.98)
"""Propensities outside of it mean that presence is nearly certain, or absence."""
MAX_SHIFT = 5.0
"""Largest shift searched for a tipping point, on the logit scale."""
SHIFT_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Quality of the prediction of one modality's presence from the others.

    Attributes:
        count: number of rows.
        present: number of rows with the modality.
        auroc: with its interval; NaN if the modality is present in all rows or in none.
        calibration_error: over bins of equal mass, without its bias, with its interval.
        outside_overlap: share of rows with a propensity outside of `OVERLAP`: value, low and high of a normal interval.
    """

    count: int
    present: int
    auroc: Interval
    calibration_error: Interval
    outside_overlap: tuple[float, float, float]


def assignment(
    propensity: Tensor, present: Tensor, subject: Tensor, *, num_replicates: int = 1000, seed: int = 0
) -> Assignment:
    """Score π_m = P(present_m = 1 | the rest) of one modality, with 95 % intervals clustered by subject.

    Args:
        propensity: (N,) in [0, 1].
        present: (N,) bool.
        subject: (N,) int64.
        num_replicates: number of bootstrap replicates.
        seed: of the bootstrap.

    Returns:
        The scores with their intervals.

    >>> import torch
    >>> propensity, present = torch.tensor([0.1, 0.6, 0.99, 0.3]), torch.tensor([False, True, True, False])
    >>> found = assignment(propensity, present, torch.arange(4))
    >>> found.auroc.value, found.outside_overlap[0], found.present
    (1.0, 0.25, 2)
    """
    low, high = OVERLAP
    found = metric_intervals(propensity, present.double(), subject, num_replicates=num_replicates, seed=seed)
    share, variance = clustered_mean(((propensity < low) | (propensity > high)).double(), subject)
    half_width = Z * variance**0.5
    return Assignment(
        count=len(present),
        present=int(present.sum()),
        auroc=found["auroc"],
        calibration_error=found["calibration_error"],
        outside_overlap=(share, max(share - half_width, 0.0), min(share + half_width, 1.0)),
    )


def order_tipping_point(
    first: Tensor, second: Tensor, label: Tensor, shifted: Tensor, max_shift: float = MAX_SHIFT
) -> float | None:
    """The smallest shift of some rows' logits that equals or reverses the order of two methods by AUROC.

    It answers how wrong the offset of one pattern would have to be for the other method to be as good or better.
    Shifts of both signs are tried in steps of `SHIFT_STEP`.

    Args:
        first: (N,) logits of the method that is shifted.
        second: (N,) logits, or any ranking, of the other method.
        label: (N,) 0 or 1.
        shifted: (N,) bool, the rows of one pattern.
        max_shift: largest shift tried.

    Returns:
        The signed shift; None if no shift tried changes the order, or AUROC is undefined.

    >>> import torch
    >>> label, rows = torch.tensor([0.0, 1, 0, 1]), torch.tensor([False, False, False, True])
    >>> order_tipping_point(torch.tensor([-1.0, 1, -2, 2]), torch.tensor([0.0, 1, 1, 2]), label, rows)
    -3.0
    """
    positive = label.cpu().numpy() > 0
    logits, other, rows = first.double().cpu().numpy(), second.double().cpu().numpy(), shifted.cpu().numpy()
    if positive.all() or not positive.any():
        return None
    baseline, before = _area(other, positive), _area(logits, positive)
    if before == baseline:
        return 0.0
    for step in range(1, round(max_shift / SHIFT_STEP) + 1):
        for shift in (step * SHIFT_STEP, -step * SHIFT_STEP):
            after = _area(logits + shift * rows, positive)
            if (after - baseline) * (before - baseline) <= 0:
                return float(round(shift, 6))
    return None


def decision_tipping_point(
    logits: Tensor, shifted: Tensor, threshold: float, max_shift: float = MAX_SHIFT
) -> float | None:
    """The shift of some rows' logits at which their mean risk equals a threshold.

    Args:
        logits: (N,).
        shifted: (N,) bool, the rows of one pattern.
        threshold: in (0, 1), for example the mean risk from which all subjects of a pattern are followed up.
        max_shift: largest shift searched.

    Returns:
        The signed shift; None without rows, or if it is larger than `max_shift`.

    >>> import torch
    >>> decision_tipping_point(torch.zeros(3), torch.tensor([True, True, False]), 0.2)
    -1.386294
    """
    assert 0 < threshold < 1, f"{threshold=} must be in (0, 1)"
    own: NDArray[np.float64] = logits[shifted].double().cpu().numpy()

    def excess(shift: float) -> float:
        return float(expit(own + shift).mean()) - threshold

    if not len(own) or excess(-max_shift) > 0 or excess(max_shift) < 0:
        return None
    from scipy.optimize import brentq

    return round(float(brentq(excess, -max_shift, max_shift)), 6)


def _area(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """AUROC of any score, ties counting one half."""
    negatives = np.sort(score[~positive])
    below = np.searchsorted(negatives, score[positive], "left") + np.searchsorted(negatives, score[positive], "right")
    return float(below.sum() / (2 * len(negatives) * positive.sum()))
