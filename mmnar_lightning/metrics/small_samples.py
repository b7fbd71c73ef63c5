"""Intervals of discrimination and of the Brier score where few rows of a class are known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mmnar_lightning.metrics.parts import Column, Parts, design_effect, effective_count, members

Ends = tuple[float, float]
"""Lower and upper end of an interval; NaN if there is none."""
NO_ENDS: Ends = (math.nan, math.nan)
ROUNDS = 8
"""Rounds in the search of an end, each of which leaves a part in 32: 1e-12 of the range."""
PLACES = np.arange(33) / 32
"""What is tested in a round, as shares of what is left."""
MIN_FOLD_POSITIVES = 100
"""Positives that a fold needs on average for an interval of average precision over several folds.

The average precision of a few positives is too high on average, which cancels over folds as little as over replicates:
with 45 positives in each of five folds the mean is 0.03 too high, and intervals around it cover 83 %.
"""


def ends_of(accepts: Callable[[Column], NDArray[np.bool_]], value: float, lowest: float, highest: float) -> Ends:
    """The values around an accepted one that a test accepts.

    Args:
        accepts: whether the test accepts each of (K,) values; true at `value`, and in one interval around it.
        value: inside.
        lowest: smallest possible value.
        highest: largest possible value.

    Returns:
        Both ends.

    >>> [round(end, 6) for end in ends_of(lambda x: abs(x - 0.4) < 0.1, 0.4, 0.0, 1.0)]
    [0.3, 0.5]
    """
    found = []
    for limit in (lowest, highest):
        inside, outside = value, limit
        if limit == value or accepts(np.array([limit]))[0]:
            found.append(limit)
            continue
        for _ in range(ROUNDS):
            places = inside + (outside - inside) * PLACES
            last = int(accepts(places[1:]).argmin())  # the limit is not accepted
            inside, outside = float(places[last]), float(places[last + 1])
        found.append(inside)
    return found[0], found[1]


def newcombe_ends(
    value: float, positives: Sequence[float], negatives: Sequence[float], weights: Sequence[float], z: float
) -> Ends:
    """The score-type interval of a weighted mean of AUROCs.

    All θ with (value - θ)² <= z² V(θ), where V is the variance of Hanley and McNeil at the mean of both class sizes,
    summed over the AUROCs. Source: Newcombe, Statistics in Medicine 25, 2006, p. 559, method 5, for one AUROC.

    Args:
        value: weighted mean of the AUROCs, in [0, 1].
        positives: effective number of positives of each AUROC.
        negatives: likewise of negatives.
        weights: of each AUROC; they sum to 1, or to √R if each of R AUROCs of the same rows is among them.
        z: standard normal quantile.

    Returns:
        Both ends.

    >>> [round(end, 2) for end in newcombe_ends(1.0, [1], [20], [1.0], 1.96)]
    [0.42, 1.0]
    """
    rows, others, share = (np.asarray(column, float) for column in (positives, negatives, weights))
    excess = np.maximum((rows + others) / 2 - 1, 0)

    def accepts(places: Column) -> NDArray[np.bool_]:
        theta = places[:, None]
        terms = 1 + excess * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = (share**2 * theta * (1 - theta) * terms / (rows * others)).sum(-1)
        accepted: NDArray[np.bool_] = (value - places) ** 2 <= z**2 * variance
        return accepted

    return ends_of(accepts, value, 0.0, 1.0)


def wilson_ends(value: float, count: float, z: float) -> Ends:
    """The score interval of a proportion. Source: Wilson, Journal of the American Statistical Association 22, 1927.

    Args:
        value: in [0, 1].
        count: effective number of rows, above 0.
        z: standard normal quantile.

    Returns:
        Both ends.

    >>> [round(end, 3) for end in wilson_ends(0.0, 10, 1.96)]
    [0.0, 0.278]
    """
    scale = z**2 / count
    centre, half = value + scale / 2, math.sqrt(scale * (value * (1 - value) + scale / 4))
    return max((centre - half) / (1 + scale), 0.0), min((centre + half) / (1 + scale), 1.0)


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Discrimination of one part: counts by class, divided by their design effects."""

    positives: float
    negatives: float
    precise: float


def auroc_ends(parts: Parts, value: float, z: float, *, by_pairs: bool = False) -> Ends:
    """The interval of the mean AUROC over parts: Newcombe's, with class sizes divided by their design effects.

    Args:
        parts: of a cell.
        value: mean of the AUROCs of the parts with both classes.
        z: standard normal quantile.
        by_pairs: whether the mean is weighted by the parts' numbers of pairs.

    Returns:
        Both ends; NaN without a part with both classes.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> [round(end, 2) for end in auroc_ends(parts, 1.0, 1.96)]
    [0.39, 1.0]
    """
    ranked = [_ranked(parts, place) for place, part in enumerate(parts.rows) if part.has_both]
    if not ranked:
        return NO_ENDS
    pairs = [float(part.label.sum() * (1 - part.label).sum()) for part in parts.rows if part.has_both]
    share = [weight / sum(pairs) for weight in pairs] if by_pairs else [1 / len(ranked)] * len(ranked)
    share = [weight * math.sqrt(parts.num_repeats) for weight in share]
    return newcombe_ends(value, [one.positives for one in ranked], [one.negatives for one in ranked], share, z)


def average_precision_ends(parts: Parts, value: float, z: float) -> Ends:
    """The interval of the mean average precision: that of a proportion of the positives, one precision at each.

    Source: the binomial interval of Boyd, Eng and Page, ECML PKDD 2013, in Wilson's form, which has a width at 1.

    Args:
        parts: of a cell.
        value: mean of the average precisions of the parts with positives.
        z: standard normal quantile.

    Returns:
        Both ends; NaN without positives, and over several folds with fewer than `MIN_FOLD_POSITIVES` in a fold.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> [round(end, 2) for end in average_precision_ends(parts, 1.0, 1.96)]
    [0.34, 1.0]
    """
    places = [place for place, part in enumerate(parts.rows) if part.positive.any()]
    if not places or has_biased_folds(parts):
        return NO_ENDS
    count = len(places) ** 2 / sum(1 / _ranked(parts, place).precise for place in places)
    return wilson_ends(value, count / parts.num_repeats, z)


def has_biased_folds(parts: Parts) -> bool:
    """Whether the mean average precision is over several folds with fewer than `MIN_FOLD_POSITIVES` on average.

    Args:
        parts: of the cell.

    Returns:
        False for a single fold.

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> one, two = (parts_of(risk, label, torch.arange(4), fold) for fold in (None, torch.tensor([0, 1, 0, 1])))
    >>> has_biased_folds(one), has_biased_folds(two)
    (False, True)
    """
    positives = [float(part.label.sum()) for part in parts.rows if part.positive.any()]
    return len(parts.rows) > parts.num_repeats and sum(positives) < MIN_FOLD_POSITIVES * len(positives)


def _ranked(parts: Parts, place: int) -> _Ranked:
    part = parts.rows[place]
    positive, risk = part.positive, part.probability
    own, other = np.sort(risk[positive]), np.sort(risk[~positive])
    sides = []
    for scores, against, people in ((risk[positive], other, positive), (risk[~positive], own, ~positive)):
        placement = (np.searchsorted(against, scores, "left") + np.searchsorted(against, scores, "right")) / 2
        sides.append(len(scores) / design_effect(placement, part.subject[people]) if len(scores) else 0.0)
    above = len(own) - np.searchsorted(own, risk[positive], "left")
    precision = above / (above + len(other) - np.searchsorted(other, risk[positive], "left"))
    effect = design_effect(precision, part.subject[positive])
    return _Ranked(
        positives=sides[0],
        negatives=sides[1],
        precise=len(own) / effect,
    )


def brier_ends(parts: Parts, value: float, level: float, z: float) -> Ends:
    """The interval of the mean Brier score, from those of the share of positives and of each class's squared error.

    The score is π E₁ + (1 - π) E₀. The interval of π is Wilson's, those of the mean squared errors E₁ and E₀ are
    Student's with the effective number of subjects; a class with one subject has [0, 1], and one without rows has the
    mean that the probabilities predict. Their distances to the ends are added as squares. Source of the last step:
    Zou and Donner, Statistics in Medicine 27, 2008 (method of variance estimates recovery).

    Args:
        parts: of a cell.
        value: mean of the Brier scores of the parts.
        level: nominal coverage, in (0, 1).
        z: its standard normal quantile.

    Returns:
        Both ends, in [0, 1].

    >>> import torch
    >>> from mmnar_lightning.metrics.parts import parts_of
    >>> risk, label = torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> parts = parts_of(risk, label, torch.arange(4))
    >>> [round(end, 2) for end in brier_ends(parts, 0.1, 0.95, 1.96)]
    [0.0, 0.49]
    """
    below = above = 0.0
    for part in parts.rows:
        squares = _brier_distances(part.probability, part.label, part.subject, level, z)
        below, above = below + squares[0], above + squares[1]
    scale = math.sqrt(parts.num_repeats) / len(parts.rows)
    return max(value - scale * math.sqrt(below), 0.0), min(value + scale * math.sqrt(above), 1.0)


def _brier_distances(risk: Column, label: Column, subject: NDArray[np.int64], level: float, z: float) -> Ends:
    """Squared distances from the Brier score of a part to its lower and upper end."""
    positive, rate = label > 0, float(label.mean())
    predicted = (risk, (1 - risk) ** 2), (1 - risk, risk**2)
    means, ends = [], []
    for rows, (weight, error) in zip((positive, ~positive), predicted, strict=True):
        expected = float((weight * error).sum() / weight.sum()) if weight.sum() > 0 else 1.0
        means.append(float(error[rows].mean()) if rows.any() else expected)
        ends.append(_student_ends(error[rows], subject[rows], level))
    share = wilson_ends(rate, len(label) / design_effect(label, subject), z)
    slope = means[0] - means[1]
    shifts = [slope * (end - rate) for end in share]
    below, above = min(shifts) ** 2, max(shifts) ** 2
    for portion, mean, (low, high) in zip((rate, 1 - rate), means, ends, strict=True):
        below += (portion * (mean - low)) ** 2
        above += (portion * (high - mean)) ** 2
    return below, above


def _student_ends(values: Column, subject: NDArray[np.int64], level: float) -> Ends:
    """Student's interval of a mean in [0, 1] over rows of subjects; [0, 1] with fewer than two subjects."""
    member, people = members(subject)
    if len(people) < 2:
        return 0.0, 1.0
    mean = float(values.mean())
    squares = float((np.bincount(member, values - mean) ** 2).sum()) * len(people) / (len(people) - 1)
    freedom = max(effective_count(subject) - 1, 0.5)
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(squares) / len(values)
    return max(mean - half, 0.0), min(mean + half, 1.0)
