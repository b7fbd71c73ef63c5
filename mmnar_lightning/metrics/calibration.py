"""Calibration of a cell with intervals: the error without bias, observed over expected, slope and intercept."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from mmnar_lightning.metrics.functional import equal_mass_bins
from mmnar_lightning.metrics.parts import Column, Parts, design_effect, members
from mmnar_lightning.metrics.profile import TINY, has_one_maximum, maximum, penalised, profile_ends
from mmnar_lightning.metrics.slope_fit import Regression, log_likelihood
from mmnar_lightning.metrics.small_samples import NO_ENDS, Ends, ends_of

BIN_ROWS = 20
"""Rows of a bin on average, at least."""
MAX_BINS = 15

Estimate = tuple[float, Ends]
"""A value and its ends, NaN where there are none."""
UNDEFINED: Estimate = (math.nan, NO_ENDS)


@dataclass(frozen=True, kw_only=True)
class _Bins:
    """The bins of all parts.

    Attributes:
        share: (B,) of the rows, over all parts 1.
        gap: (B,) |mean probability - observed rate|.
        noise: (B,) standard deviation of the signed gap.
        effect: variance of a sum over bins, relative to that of independent bins.
    """

    share: Column
    gap: Column
    noise: Column
    effect: float


def calibration_error(parts: Parts, z: float) -> Estimate:
    """The expected calibration error over bins of equal mass without its bias by sampling noise, with its interval.

    The mean absolute gap of a perfectly calibrated model is not 0 but grows with the noise of the bins. The value is
    that of the gaps shrunk by one factor, so that the expectation of the mean absolute gap, with the noise of each
    bin, is the observed one; it is 0 if the observed one is smaller than perfect calibration leads one to expect. A bin
    has at least `BIN_ROWS` rows on average.

    The interval has all errors whose expectation, and normal variance, the observed mean absolute gap does not
    contradict: for gaps in the observed proportions, and for equal ones.

    Args:
        parts: of a cell.
        z: standard normal quantile.

    Returns:
        The error, at least 0, with its ends.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> label = torch.tensor([0.0, 1.0] * 50)
    >>> parts = parts_of(torch.linspace(0.3, 0.7, 100), label, torch.arange(100))
    >>> value, (low, high) = calibration_error(parts, 1.96)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (0.04, 0.0, 0.18)
    """
    if not parts.rows:
        return UNDEFINED
    bins = _bins(parts)
    observed = float((bins.share * bins.gap).sum())
    value, low, high = _shrunk(bins, observed, (bins.gap + TINY) / (observed + TINY), z)
    spread = z * math.sqrt(bins.effect * float(((bins.share * bins.noise) ** 2).sum()))
    low, high = max(0.0, value - spread) if low > 0 else 0.0, max(high, value + spread)
    _, other_low, other_high = _shrunk(bins, observed, np.ones_like(bins.gap), z)
    return value, (min(low, other_low), min(max(high, other_high), 1.0))


def _shrunk(bins: _Bins, observed: float, shape: Column, z: float) -> tuple[float, float, float]:
    """The error whose expectation is the observed one, for gaps in the proportions of `shape`, and its ends."""

    def moments(error: Column) -> tuple[Column, Column]:
        gap = error[:, None] * shape
        mean = _folded_mean(gap, bins.noise)
        variance = gap**2 + bins.noise**2 - mean**2
        return (bins.share * mean).sum(-1), bins.effect * (bins.share**2 * variance).sum(-1)

    def is_below(error: Column) -> NDArray[np.bool_]:
        below: NDArray[np.bool_] = moments(error)[0] <= observed
        return below

    def accepts(error: Column) -> NDArray[np.bool_]:
        mean, variance = moments(error)
        accepted: NDArray[np.bool_] = (observed - mean) ** 2 <= z**2 * variance
        return accepted

    none, value = np.zeros(1), 0.0
    if observed > moments(none)[0][0]:
        value = ends_of(is_below, 0.0, 0.0, 1.0)[1]
    elif not accepts(none)[0]:
        return 0.0, 0.0, 0.0
    return value, *ends_of(accepts, value, 0.0, 1.0)


def _folded_mean(mean: Column, deviation: Column) -> Column:
    """Mean of the absolute value of a normal variable."""
    standard = mean / deviation
    found: Column = deviation * math.sqrt(2 / math.pi) * np.exp(-(standard**2) / 2) + mean * (1 - 2 * ndtr(-standard))
    return found


def _bins(parts: Parts) -> _Bins:
    columns: list[list[Column]] = [[], [], []]
    residuals, places = [], []
    for number, part in enumerate(parts.rows):
        bins = bins_of(part.probability)
        count = np.bincount(bins, minlength=MAX_BINS)
        kept = count > 0
        model = part.probability * (1 - part.probability)
        risk, rate, variance = (
            np.bincount(bins, column, minlength=MAX_BINS) / np.maximum(count, 1)
            for column in (part.probability, part.label, model)
        )
        noise = np.maximum(variance, rate * (1 - rate)) / np.maximum(count, 1)
        share = count / len(bins) / len(parts.rows)
        for column, values in zip(columns, (share, np.abs(risk - rate), noise), strict=True):
            column.append(values[kept])
        residuals.append(part.label - part.probability - (rate - risk)[bins])
        places.append(bins + MAX_BINS * number)
    share, gap, noise = (np.concatenate(column) for column in columns)
    residual, subject = np.concatenate(residuals), parts.subject
    shared = members(subject)[0] * (MAX_BINS * len(parts.rows)) + np.concatenate(places)
    within = design_effect(residual, shared, centred=False)
    overall = design_effect(residual, subject, centred=False, num_repeats=parts.num_repeats)
    noise = np.sqrt(np.maximum(noise * within, TINY**2))
    return _Bins(share=share, gap=gap, noise=noise, effect=max(overall / within, 1.0))


def bins_of(probability: Column) -> NDArray[np.int64]:
    """The bin of each row: `BIN_ROWS` rows on average or more, at most `MAX_BINS` bins.

    Args:
        probability: (n,).

    Returns:
        (n,) in [0, `MAX_BINS`).

    >>> int(bins_of(np.linspace(0, 1, 59)).max())
    1
    """
    number = min(max(len(probability) // BIN_ROWS, 1), MAX_BINS)
    bins: NDArray[np.int64] = equal_mass_bins(torch.from_numpy(probability), number).numpy()
    return bins


def observed_expected(parts: Parts, z: float) -> Estimate:
    """Observed over expected positives, with the score interval.

    All ratios θ with (O - θE)² <= z² c (θE - θ²Q), E the sum and Q the sum of squares of the probabilities: the
    variance of the number of positives with risks θp, times `_inflation`. With small risks it is that of a Poisson
    count, as for a standardised mortality ratio (Rothman and Boice, Epidemiologic Analysis, 1979).

    Args:
        parts: of a cell; the rows of all parts count together.
        z: standard normal quantile.

    Returns:
        The ratio with its ends; NaN if no positive is expected.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> label = torch.tensor([0.0, 1.0] * 50)
    >>> parts = parts_of(torch.linspace(0.3, 0.7, 100), label, torch.arange(100))
    >>> value, (low, high) = observed_expected(parts, 1.96)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (1.0, 0.8, 1.19)
    """
    risk, label = parts.probability, parts.label
    expected, squares, observed = float(risk.sum()), float((risk**2).sum()), float(label.sum())
    if expected < TINY:
        return UNDEFINED
    value = observed / expected
    scale = z**2 * _inflation(label - value * risk, parts, value * expected - value**2 * squares)
    first, second = expected**2 + scale * squares, 2 * observed * expected + scale * expected
    root = math.sqrt(max(second**2 - 4 * first * observed**2, 0.0))
    low, high = (second - root) / (2 * first), (second + root) / (2 * first)
    return value, (min(low, value), max(high, value))


def intercept(parts: Parts, z: float) -> Estimate:
    """The calibration intercept (calibration in the large): the shift of all logits that fits best.

    Its likelihood is penalised by Jeffreys' prior, so that it is finite without positives; the interval is that of the
    profile of this likelihood. Sources: Cox, Biometrika 45, 1958; Firth, Biometrika 80, 1993; Heinze and Schemper,
    Statistics in Medicine 21, 2002.

    Args:
        parts: of a cell; the rows of all parts count together.
        z: standard normal quantile.

    Returns:
        The shift with its ends; NaN without rows.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> label = torch.tensor([0.0, 1.0] * 50)
    >>> parts = parts_of(torch.linspace(0.3, 0.7, 100), label, torch.arange(100))
    >>> value, (low, high) = intercept(parts, 1.96)
    >>> abs(round(value, 2)), round(low, 2), round(high, 2)
    (0.0, -0.42, 0.42)
    """
    if not parts.rows:
        return UNDEFINED
    logit, label = parts.logit, parts.label

    def likelihood(shift: float) -> float:
        risk = expit(logit + shift)
        return log_likelihood(logit + shift, label) + math.log(max(float((risk * (1 - risk)).sum()), TINY)) / 2

    def gradient(shift: float) -> tuple[float, float]:
        risk = expit(logit + shift)
        weight = risk * (1 - risk)
        information = float(weight.sum())
        return penalised(label - risk, weight * (1 - 2 * risk), information, shift), information

    newton = has_one_maximum(label)
    value = maximum(gradient, 0.0, newton=newton)
    risk = expit(logit + value)
    information = float((risk * (1 - risk)).sum())
    threshold = z**2 * _inflation(label - risk, parts, information)
    return value, profile_ends(likelihood, gradient, value, threshold, information, newton=newton)


def slope(parts: Parts, z: float) -> Estimate:
    """The calibration slope: the coefficient of the logit in a logistic regression with an intercept for each part.

    Penalised and profiled as `intercept`; the intercepts are those that fit best at each slope. Parts with one class
    say nothing about it.

    Args:
        parts: of a cell.
        z: standard normal quantile.

    Returns:
        The slope with its ends; NaN without a part with both classes, or without two different probabilities in it.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> label = torch.tensor([0.0, 1.0] * 50)
    >>> parts = parts_of(torch.linspace(0.3, 0.7, 100), label, torch.arange(100))
    >>> value, (low, high) = slope(parts, 1.96)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (0.07, -0.74, 0.88)
    """
    fitted = [part for part in parts.rows if part.has_both and np.ptp(part.probability) > 0]
    if not fitted:
        return UNDEFINED
    regression = Regression(fitted)

    def likelihood(value: float) -> float:
        scores = regression.at(value)
        return log_likelihood(scores.logit, regression.label) + math.log(max(scores.information, TINY)) / 2

    def gradient(value: float) -> tuple[float, float]:
        scores = regression.at(value)
        return penalised(scores.rows, scores.changes, scores.information, value), scores.information

    value = maximum(gradient, 1.0, newton=regression.is_smooth)
    scores = regression.at(value)
    used = Parts(rows=fitted, num_repeats=parts.num_repeats)
    threshold = z**2 * _inflation(scores.rows, used, scores.information)
    ends = profile_ends(likelihood, gradient, value, threshold, scores.information, newton=regression.is_smooth)
    return value, ends


def _inflation(scores: Column, parts: Parts, information: float) -> float:
    """Variance of a sum of scores, relative to that which the model implies: at least 1.

    The design effect of subjects, times the ratio of the scores' squares to the information, which exceeds 1 where
    the model does not hold. Source: White, Econometrica 50, 1982.

    Returns:
        The ratio.
    """
    dispersion = max(float((scores**2).sum()) / information, 1.0) if information > TINY else 1.0
    return design_effect(scores, parts.subject, centred=False, num_repeats=parts.num_repeats) * dispersion
