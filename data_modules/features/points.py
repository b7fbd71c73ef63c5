"""Points of a published score: a value is in one of several steps, each of which has points."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def graded(values: Array, edges: Sequence[float], points: Sequence[float]) -> Array:
    """Return the points of the step of each value.

    Args:
        values: (N,) float64, NaN = unknown.
        edges: where the second and later steps begin, ascending.
        points: of the steps, one more than edges.

    Returns:
        (N,) float64, NaN where unknown.

    >>> graded(np.array([39.0, 40.0, 160.0, np.nan]), (40, 70, 120, 160), (11, 2, 0, 4, 7)).tolist()
    [11.0, 2.0, 7.0, nan]
    """
    assert len(points) == len(edges) + 1
    step = np.searchsorted(np.asarray(edges, np.float64), values, side="right")
    return np.where(np.isnan(values), np.nan, np.asarray(points, np.float64)[step])


def worst(lowest: Array, highest: Array, edges: Sequence[float], points: Sequence[float]) -> Array:
    """Return the larger number of points of a lowest and a highest value.

    Args:
        lowest: (N,) NaN = unknown.
        highest: likewise.
        edges: as of `graded`.
        points: likewise.

    Returns:
        (N,) points; NaN where both values are unknown.

    >>> worst(np.array([35.0, 80.0]), np.array([90.0, np.nan]), (40, 120), (11, 0, 4)).tolist()
    [11.0, 0.0]
    """
    return np.fmax(graded(lowest, edges, points), graded(highest, edges, points))


def total(parts: Sequence[Array]) -> Array:
    """Return the sum of the points of N rows; an unknown part is normal, which has none.

    >>> total([np.array([3.0, np.nan]), np.array([4.0, np.nan])]).tolist()
    [7.0, 0.0]
    """
    summed: Array = np.nansum(np.stack(parts), axis=0)
    return summed
