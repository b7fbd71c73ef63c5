"""The maximum of a penalised likelihood of one coefficient, and where its profile ends an interval."""

import math
from collections.abc import Callable, Iterator

from mmnar_lightning.metrics.parts import Column
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends

MAX_COEFFICIENT = 50.0
"""Largest coefficient searched for, of both signs."""
MAX_STEPS, PRECISION = 12, 1e-8
"""Largest number of Newton's steps before a search by bisection, and the step at which a search ends."""
NEWTON_ROWS = 100
"""Rows of the smaller class from which Newton's method searches: of a few, the likelihood can have two maxima."""
TINY = 1e-12

Gradient = Callable[[float], tuple[float, float]]
"""Of a coefficient: the derivative of the likelihood, and the information, minus about its second derivative."""


def penalised(scores: Column, changes: Column, information: float, place: float) -> float:
    """The derivative of a likelihood with Jeffreys' penalty; where there is no information, towards 0.

    Args:
        scores: (n,) derivative of the likelihood of each row.
        changes: (n,) derivative of the information by the coefficient.
        information: their variance under the model.
        place: the coefficient.

    Returns:
        The derivative.

    >>> import numpy as np
    >>> penalised(np.array([0.5, 0.5]), np.array([0.0, 0.0]), 2.0, 1.0)
    1.0
    """
    if information < TINY:
        return -math.copysign(1.0, place)
    return float(scores.sum() + changes.sum() / information / 2)


def has_one_maximum(label: Column) -> bool:
    """Whether enough rows of both classes are known for Newton's method.

    Args:
        label: (n,) 0 or 1.

    Returns:
        Whether each class has `NEWTON_ROWS` rows.

    >>> import numpy as np
    >>> has_one_maximum(np.arange(200) % 2)
    True
    """
    return bool(NEWTON_ROWS <= label.sum() <= len(label) - NEWTON_ROWS)


def maximum(gradient: Gradient, start: float, *, newton: bool) -> float:
    """Where a function with one maximum has it, within `MAX_COEFFICIENT` of 0, by its derivative.

    Args:
        gradient: of the function.
        start: of Newton's method.
        newton: whether to try it before a search of the whole range.

    Returns:
        The place, within `PRECISION`.

    >>> maximum(lambda place: (2 * (0.5 - place), 2.0), 0.0, newton=True)
    0.5
    """
    found = _newton(gradient, start) if newton else None
    if found is not None:
        return found
    if gradient(-MAX_COEFFICIENT)[0] <= 0:
        return -MAX_COEFFICIENT
    if gradient(MAX_COEFFICIENT)[0] >= 0:
        return MAX_COEFFICIENT
    from scipy.optimize import brentq  # 0.3 CPU seconds that a process without scores does not need

    return float(brentq(lambda place: gradient(place)[0], -MAX_COEFFICIENT, MAX_COEFFICIENT, xtol=PRECISION))


def profile_ends(
    likelihood: Callable[[float], float],
    gradient: Gradient,
    value: float,
    threshold: float,
    information: float,
    *,
    newton: bool,
) -> Ends:
    """Where twice the likelihood has fallen by the threshold; NaN if it has not within `MAX_COEFFICIENT` of 0.

    The search begins at the ends of a parabola with the information.

    Args:
        likelihood: with its maximum at `value`.
        gradient: of the likelihood.
        value: inside.
        threshold: above 0.
        information: at the value.
        newton: as of `maximum`.

    Returns:
        Both ends, each within `PRECISION`.

    >>> profile_ends(lambda place: -(place**2), lambda place: (-2 * place, 2.0), 0.0, 2.0, 2.0, newton=True)
    (-1.0, 1.0)
    """
    top = likelihood(value)

    def excess(place: float) -> float:
        return threshold - 2 * (top - likelihood(place))

    def falling(place: float) -> tuple[float, float]:
        """The excess, and minus its derivative."""
        return excess(place), -2 * gradient(place)[0]

    distance, found = math.sqrt(threshold / max(information, TINY)), []
    for side in (-1, 1):
        end = _newton(falling, value + side * distance, limit=value) if newton else None
        end = _bisected(excess, value, side, distance) if end is None else end
        if end is None:
            return NO_ENDS
        found.append(end)
    return found[0], found[1]


def _newton(function: Gradient, start: float, limit: float | None = None) -> float | None:
    """A root on the start's side of the limit by Newton's method; None where it does not arrive.

    Args:
        function: gives its value, and minus its derivative.
        start: of the search.
        limit: a place that is not passed.

    Returns:
        The root, within `PRECISION`.
    """
    place = start
    for _ in range(MAX_STEPS):
        is_outside = abs(place) >= MAX_COEFFICIENT
        if is_outside or (limit is not None and (place - limit) * (start - limit) <= 0):
            return None
        value, slope = function(place)
        if abs(slope) < TINY:
            return None
        step = value / slope
        place += step
        if abs(step) < PRECISION:
            return place
    return None


def _bisected(excess: Callable[[float], float], value: float, side: int, distance: float) -> float | None:
    """The end on one side; None within the range. The distance grows twofold until the end is passed."""
    inside = value
    for outside in _further(value, side, distance):
        if excess(outside) <= 0:
            from scipy.optimize import brentq

            low, high = min(inside, outside), max(inside, outside)
            return float(brentq(excess, low, high, xtol=PRECISION))
        inside = outside
    return None


def _further(value: float, side: int, distance: float) -> Iterator[float]:
    """Places at growing distances from a value, up to `MAX_COEFFICIENT` from 0."""
    place = value
    while side * place < MAX_COEFFICIENT:
        place = side * min(side * place + distance, MAX_COEFFICIENT)
        yield place
        distance *= 2
