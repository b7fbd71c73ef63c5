"""Prediction-powered inference of the mean risk of rows without labels, corrected on labelled rows."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Z = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""
MIN_LABELLED = 30
"""Minimum number of labelled rows for an estimate."""
MIN_SUBJECTS = 2
"""Minimum number of subjects on either side: a variance between subjects needs two."""


@dataclass(frozen=True, kw_only=True)
class MeanRisk:
    """A prediction-powered mean with its 95 % interval.

    Attributes:
        value, low, high: in [0, 1]; None with fewer than `MIN_LABELLED` labelled rows or `MIN_SUBJECTS` subjects.
        count: number of rows whose labels are not used.
        labelled: number of rows whose labels correct the predictions.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    labelled: int


def mean_risk(
    probability: Tensor,
    subject: Tensor,
    labelled_probability: Tensor,
    label: Tensor,
    labelled_subject: Tensor,
) -> MeanRisk:
    """Mean probability of some rows minus the mean error of the probabilities of labelled rows.

    Variances are clustered by subject. Source: Angelopoulos et al., Science 382, 2023.

    Args:
        probability: (N,) in [0, 1].
        subject: (N,) int64.
        labelled_probability: (L,) in [0, 1], of the same model.
        label: (L,) 0 or 1, known.
        labelled_subject: (L,) int64, other subjects.

    Returns:
        The mean with its 95 % interval, clipped to [0, 1].

    >>> import torch
    >>> rows, subject = torch.full((50,), 0.5), torch.arange(50)
    >>> found = mean_risk(rows, subject, rows, (subject < 20).float(), subject)
    >>> round(found.value, 3), found.count, found.labelled
    (0.4, 50, 50)
    """
    count, labelled = len(probability), len(label)
    if labelled < MIN_LABELLED or min(_distinct(subject), _distinct(labelled_subject)) < MIN_SUBJECTS:
        return no_mean_risk(count, labelled)
    mean, variance = clustered_mean(probability, subject)
    error, error_variance = clustered_mean(labelled_probability.double() - label.double(), labelled_subject)
    value, half_width = mean - error, Z * math.sqrt(variance + error_variance)
    ends = (value, value - half_width, value + half_width)
    clamped = [min(max(end, 0.0), 1.0) for end in ends]
    return MeanRisk(value=clamped[0], low=clamped[1], high=clamped[2], count=count, labelled=labelled)


def _distinct(subject: Tensor) -> int:
    return len(np.unique(subject.cpu().numpy()))


def no_mean_risk(count: int, labelled: int) -> MeanRisk:
    """The result without an estimate.

    Args:
        count: number of rows whose labels are not used.
        labelled: number of labelled rows.

    Returns:
        The counts alone.

    >>> no_mean_risk(7, 2)
    MeanRisk(value=None, low=None, high=None, count=7, labelled=2)
    """
    return MeanRisk(value=None, low=None, high=None, count=count, labelled=labelled)


def clustered_mean(values: Tensor, subject: Tensor) -> tuple[float, float]:
    """Mean over rows and its variance clustered by subject.

    Args:
        values: (N,) float.
        subject: (N,) int64.

    Returns:
        Mean and variance of the mean.

    >>> import torch
    >>> clustered_mean(torch.tensor([0.0, 1.0]), torch.tensor([4, 7]))
    (0.5, 0.25)
    """
    numbers = values.double().cpu().numpy()
    _, member = np.unique(subject.cpu().numpy(), return_inverse=True)
    mean = float(numbers.mean())
    by_subject = np.bincount(member, numbers - mean)
    clusters = len(by_subject)
    correction = clusters / max(clusters - 1, 1)
    return mean, float(correction * (by_subject**2).sum() / len(numbers) ** 2)
