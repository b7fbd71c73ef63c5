"""Pure parts of the causal model: effects on the outcomes, patterns, intercepts (docs/simulation.md has the equations).

At the defaults of the settings the effects are those of a linear model, to the last bit.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

Array = NDArray[np.float64]

PHRASE_RATE = 0.04
"""Share of notes with the phrase, in index and later admissions."""
SEVERITY, STRUCTURED, NOTE, IMAGE = range(4)
"""Positions of the dimensions of health."""


def standardised(draws: Array) -> Array:
    """Shift and scale draws to mean 0 and standard deviation 1 along the last axis.

    Args:
        draws: (..., K).

    Returns:
        (..., K).

    >>> standardised(np.array([3.0, 5.0])).tolist()
    [-1.0, 1.0]
    """
    centred = draws - draws.mean(-1, keepdims=True)
    return np.asarray(centred / centred.std(-1, keepdims=True))


def towards_severity(coefficients: Array, shared: float) -> Array:
    """Turn coefficients of health towards severity, which every modality shows, and keep their length.

    Args:
        coefficients: (T, 4), by task.
        shared: 0 = as given, 1 = severity alone.

    Returns:
        (T, 4).

    >>> towards_severity(np.array([[0.0, 3.0, 0.0, 4.0]]), 1.0).tolist()
    [[5.0, 0.0, 0.0, 0.0]]
    """
    if shared == 0:
        return coefficients
    length = np.linalg.norm(coefficients, axis=1, keepdims=True)
    direction = (1 - shared) * coefficients / length
    direction[:, SEVERITY] += shared
    return np.asarray(length * direction / np.linalg.norm(direction, axis=1, keepdims=True))


def u_shaped(part: Array, nu: float) -> Array:
    """Replace a share of the variance of a part of health by one with risk at both ends.

    Args:
        part: (...,) standard normal.
        nu: square root of the share.

    Returns:
        (...,) with variance 1.

    >>> u_shaped(np.array([-1.0, 0.0, 1.0]), 1.0).round(2).tolist()
    [0.0, -0.71, 0.0]
    """
    return np.asarray(np.sqrt(1 - nu**2) * part + nu * (part**2 - 1) / np.sqrt(2))


def effect_of_health(health: Array, slope: Array, coefficients: Array, nu: float, kappa: float) -> Array:
    """Compute what health adds to the logit of each outcome.

    Args:
        health: (..., 4).
        slope: (...,) factor of severity and structured, by pattern.
        coefficients: (T, 4), by task.
        nu: square root of the U-shaped share of severity and structured.
        kappa: square root of the share of note and image that is their product.

    Returns:
        (..., T).

    >>> effect_of_health(np.array([1.0, 2.0, 3.0, 4.0]), np.array(1.0), np.ones((1, 4)), 0.0, 0.0).tolist()
    [10.0]
    """
    terms = health.copy()
    terms[..., :NOTE] = slope[..., None] * u_shaped(health[..., :NOTE], nu)
    terms[..., NOTE:] *= np.sqrt(1 - kappa**2)
    product = health[..., NOTE, None] * health[..., IMAGE, None]
    return np.asarray(terms @ coefficients.T + product * (kappa * np.hypot(*coefficients[:, NOTE:].T)))


def effect_of_phrase(phrase: NDArray[np.bool_] | None, phi: float) -> Array:
    """Compute what the phrase adds to the logit of every outcome, with mean zero.

    Args:
        phrase: (...,) whether the note has it; None = no note has it.
        phi: its strength.

    Returns:
        (..., 1).

    >>> effect_of_phrase(np.array([True, False]), 2.5).round(2).tolist()
    [[2.4], [-0.1]]
    """
    return np.asarray(phi * (np.asarray(0.0 if phrase is None else phrase, dtype=np.float64)[..., None] - PHRASE_RATE))


def draw_phrases(count: int, phi: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Draw whether each of `count` notes has the phrase, (count,); none has it where it has no effect."""
    return generator.random(count) < PHRASE_RATE if phi > 0 else np.zeros(count, dtype=np.bool_)


def exclusion(readings: Array, intercept: float, slope: float) -> Array:
    """Compute P(does not reach the landmark | readings), (N,)."""
    return np.asarray(expit(intercept + slope * readings[:, 0]))


def encode(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Encode presence (N, 3) as a pattern, first modality = lowest digit."""
    return np.asarray(present @ np.array([1, 2, 4]), dtype=np.int64)


def intercept(logit: Array, weight: Array, rate: float) -> float:
    """Solve for the intercept at which the weighted mean probability equals the rate."""
    low, high = -30 - logit.max(), 30 - logit.min()
    return float(brentq(lambda shift: np.average(expit(shift + logit), weights=weight) - rate, low, high, xtol=1e-6))
