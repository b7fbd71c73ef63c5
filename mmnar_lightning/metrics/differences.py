"""Intervals of the difference of two methods with few rows."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mmnar_lightning.metrics.small_samples import Ends


def recovered_ends(values: tuple[float, float], alone: Sequence[Ends], replicates: NDArray[np.float64]) -> Ends:
    """The interval of a difference from those of both methods and the correlation of their replicates.

    Source: Zou and Donner, Statistics in Medicine 27, 2008 (method of variance estimates recovery, for dependent
    estimates). Where the replicates of a method do not vary, the correlation is taken as 0.

    Args:
        values: of both methods.
        alone: lower and upper end of each method.
        replicates: (R, 2) of both, defined.

    Returns:
        Both ends.

    >>> drawn = np.array([[0.6, 0.7], [0.8, 0.7], [0.7, 0.6], [0.7, 0.8]])
    >>> ends = recovered_ends((0.7, 0.6), [(0.6, 0.8), (0.5, 0.7)], drawn)
    >>> [round(end, 3) for end in ends]
    [-0.041, 0.241]
    """
    correlation = 0.0
    first, second = replicates.T
    if len(replicates) > 1 and first.std() > 0 and second.std() > 0:
        correlation = float(np.corrcoef(first, second)[0, 1])
    (low, high), (other_low, other_high) = alone

    def half(own: float, other: float) -> float:
        return math.sqrt(max(own**2 - 2 * correlation * own * other + other**2, 0.0))

    difference = values[0] - values[1]
    return (
        difference - half(values[0] - low, other_high - values[1]),
        difference + half(high - values[0], values[1] - other_low),
    )


def student_ends(value: float, replicates: NDArray[np.float64], count: float, level: float) -> Ends:
    """Student's interval of a difference with the standard deviation of its replicates.

    The bootstrap's variance of c rows is too small by (c - 1) / c. Source: Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 12.

    Args:
        value: of the sample.
        replicates: (R,) defined.
        count: c, effective rows of the smaller class, above 1.
        level: nominal coverage, in (0, 1).

    Returns:
        Both ends.

    >>> [round(end, 2) for end in student_ends(0.5, np.array([0.4, 0.5, 0.6]), 9, 0.95)]
    [0.3, 0.7]
    """
    half = float(stdtrit(count - 1, (1 + level) / 2)) * float(replicates.std()) * math.sqrt(count / (count - 1))
    return value - half, value + half
