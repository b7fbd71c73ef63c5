"""Metrics of binary predictions as pure functions, without state or communication between ranks.

Each function takes one probability and one label per row, computes in float64 on the CPU, does not depend on the order
of the rows, and returns NaN where the metric is undefined. Invalid probabilities and labels raise a UserError, see
`as_columns`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.errors import UserError


def auroc(probability: Tensor, label: Tensor) -> float:
    """The area under the ROC curve: the probability that a positive outranks a negative, ties counting one half.

    Source: Hanley and McNeil, Radiology 143, 1982. Equals `sklearn.metrics.roc_auc_score`.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.

    Returns:
        In [0, 1]; NaN without positives or without negatives.

    >>> auroc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1]))
    0.875
    """
    probability, label = as_columns(probability, label)
    return float(area_under_roc(*_confusion(probability, label)))


def average_precision(probability: Tensor, label: Tensor) -> float:
    """The area under the precision-recall step function; equal probabilities form one step.

    Equals `sklearn.metrics.average_precision_score`.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.

    Returns:
        In [0, 1]; NaN without positives.

    >>> average_precision(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([1, 0, 1, 0]))
    0.8333333333333333
    """
    probability, label = as_columns(probability, label)
    return float(area_under_steps(*_confusion(probability, label)))


def log_loss(logits: Tensor, label: Tensor) -> float:
    """The mean cross-entropy of predictions, in nats.

    Args:
        logits: (N,) float; infinite where a probability is 0 or 1.
        label: (N,) 0 or 1.

    Returns:
        At least 0; NaN without rows.

    >>> round(log_loss(torch.tensor([0.0, 2.0]), torch.tensor([0, 1])), 4)
    0.41
    """
    sign = 1 - 2 * label.double()
    return float(torch.nn.functional.softplus(sign * logits.double()).mean())


def brier_score(probability: Tensor, label: Tensor) -> float:
    """The mean squared difference between probability and label.

    Source: Brier, Monthly Weather Review 78, 1950. Equals `sklearn.metrics.brier_score_loss`.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.

    Returns:
        In [0, 1]; NaN without rows.

    >>> brier_score(torch.tensor([0.5, 1.0]), torch.tensor([1, 1]))
    0.125
    """
    probability, label = as_columns(probability, label)
    return float((probability - label).square().mean())


def calibration_error(probability: Tensor, label: Tensor, num_bins: int = 15) -> float:
    """The expected calibration error over bins of equal mass.

    The mean over rows of |mean probability - observed rate| in the row's bin; see `equal_mass_bins`.
    Source: Naeini et al., AAAI 2015, with the equal-mass bins of Nixon et al., CVPR Workshops 2019.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        num_bins: maximum number of bins; ties can leave some empty.

    Returns:
        In [0, 1]; NaN without rows.

    >>> calibration_error(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 0, 1, 1]), num_bins=2)
    0.25
    """
    mean_probability, observed_rate, count = reliability_curve(probability, label, num_bins)
    return float((count * (mean_probability - observed_rate).abs()).sum() / count.sum())


def reliability_curve(probability: Tensor, label: Tensor, num_bins: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Mean probability, observed rate and count of each nonempty bin of equal mass, in ascending order.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        num_bins: maximum number of bins; see `equal_mass_bins`.

    Returns:
        (K,) float64 mean probability, (K,) float64 observed rate and (K,) int64 count, K <= num_bins.

    >>> curve = reliability_curve(torch.tensor([0.2, 0.2, 0.9]), torch.tensor([0, 1, 1]), num_bins=2)
    >>> [column.tolist() for column in curve]
    [[0.2..., 0.8...], [0.5, 1.0], [2, 1]]
    """
    probability, label = as_columns(probability, label)
    bins = equal_mass_bins(probability, num_bins)
    count = bins.bincount(minlength=num_bins)
    sums = [bins.bincount(column, minlength=num_bins).double() for column in (probability, label)]
    kept = count > 0
    return sums[0][kept] / count[kept], sums[1][kept] / count[kept], count[kept]


def equal_mass_bins(probability: Tensor, num_bins: int) -> Tensor:
    """Assign rows to bins of about equal size; equal probabilities share a bin.

    A value with b rows below and c rows equal to it has the position (b + c / 2) / N, in (0, 1), and the bin
    floor(num_bins * position). Ties are never split, so the order of the rows does not matter; a value with many rows
    can leave adjacent bins empty.

    Args:
        probability: (N,).
        num_bins: number of bins, at least 1.

    Returns:
        (N,) int64 in [0, num_bins).

    >>> equal_mass_bins(torch.tensor([0.1, 0.9, 0.3, 0.3, 0.3, 0.7]), 3).tolist()
    [0, 2, 1, 1, 1, 2]
    """
    assert num_bins >= 1, f"num_bins={num_bins} must be at least 1"
    values = probability.detach().cpu().numpy()
    ascending = np.sort(values)
    first, last = runs(ascending)
    bins = (first + last + 1) * num_bins // (2 * max(len(values), 1))
    starts = runs(bins, once=True)[0]
    return torch.from_numpy(bins[starts][np.searchsorted(ascending[starts[1:]], values, side="right")])


def runs(values: NDArray[np.generic], *, once: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last position of each run of equal values.

    Args:
        values: (N,).
        once: give each run once, not for each value.

    Returns:
        Two times (N,), or (number of runs,).

    >>> [column.tolist() for column in runs(np.array([0.3, 0.3, 0.1]))]
    [[0, 0, 2], [1, 1, 2]]
    """
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.zeros(0, int)
    sizes = np.diff(np.append(starts, len(values)))
    ends = starts + sizes - 1
    return (starts, ends) if once else (np.repeat(starts, sizes), np.repeat(ends, sizes))


def area_under_roc(true_positive: Tensor, false_positive: Tensor) -> Tensor:
    """The area under the ROC curve from cumulative counts.

    Args:
        true_positive: (..., G + 1) positives at or above each of G descending thresholds, after a leading 0.
        false_positive: (..., G + 1) negatives, likewise.

    Returns:
        (...) float, NaN without positives or without negatives.

    >>> area_under_roc(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.0, 2.0])).item()
    0.75
    """
    area = torch.trapezoid(true_positive, false_positive)
    return area / (true_positive[..., -1] * false_positive[..., -1])


def area_under_steps(true_positive: Tensor, false_positive: Tensor) -> Tensor:
    """The average precision from cumulative counts.

    Args:
        true_positive: as of `area_under_roc`.
        false_positive: as of `area_under_roc`.

    Returns:
        (...) float, NaN without positives.

    >>> area_under_steps(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.0, 2.0])).item()
    0.75
    """
    predicted = (true_positive + false_positive)[..., 1:].clamp(min=1)
    steps = true_positive.diff() * true_positive[..., 1:] / predicted
    return steps.sum(-1) / true_positive[..., -1]


def as_columns(probability: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Validate probabilities and labels and convert both to float64 on the CPU.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.

    Returns:
        (N,) float64 and (N,) float64.

    Raises:
        UserError: if a probability is not in [0, 1] or a label is neither 0 nor 1.

    >>> [column.tolist() for column in as_columns(torch.tensor([0.5]), torch.tensor([True]))]
    [[0.5], [1.0]]
    """
    shapes = f"{tuple(probability.shape)} and {tuple(label.shape)}"
    assert probability.shape == label.shape == label.flatten().shape, (
        f"probability and label have the shapes {shapes}; both must be (N,)"
    )
    probability, label = (column.detach().to("cpu", torch.float64) for column in (probability, label))
    outside = int((~((probability >= 0) & (probability <= 1))).sum())
    if outside:
        raise UserError(f"{outside} of {len(probability)} probabilities are NaN or not in [0, 1]")
    unknown = int(((label != 0) & (label != 1)).sum())
    if unknown:
        raise UserError(f"{unknown} of {len(label)} labels are neither 0 nor 1; leave out unknown labels")
    return probability, label


def threshold_ends(descending: Tensor) -> Tensor:
    """Index of the last row of each distinct value in a sorted column.

    Args:
        descending: (N,) in descending order.

    Returns:
        (G,) int64.

    >>> threshold_ends(torch.tensor([0.9, 0.5, 0.5, 0.1])).tolist()
    [0, 2, 3]
    """
    changes = descending.diff(append=descending.new_full((1,), torch.nan))
    return changes.ne(0).nonzero().squeeze(-1)


def _confusion(probability: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative true and false positives, (G + 1,) each, at the distinct probabilities in descending order."""
    probability, order = probability.sort(descending=True)
    ends = threshold_ends(probability)
    true_positive = label[order].cumsum(0)[ends]
    false_positive = ends + 1 - true_positive
    pad = torch.nn.functional.pad
    return pad(true_positive, (1, 0)), pad(false_positive, (1, 0))
