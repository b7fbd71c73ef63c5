"""The largest differences of discrimination, error and calibration between the levels of an attribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from mmnar_lightning.metrics import calibration, functional
from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, draw_weights
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.metrics.parts import MAX_LOGIT, Part, parts_of
from mmnar_lightning.metrics.weighted import WeightedRows

COMPARED = ("auroc", "brier", "observed_expected", "calibration_intercept")
"""Metrics whose gap is given: those whose replicates are ranks, ratios of sums or one Newton step.

Not average precision: it grows with prevalence, and with few positives it is too high on average and skewed. Not the
calibration error: that of a replicate is larger than that of the sample. Not the slope: its likelihood can have two
maxima with few positives, so one step does not lead to that of a replicate."""
MIN_CLASS = 10
"""Positives, and negatives, from which a level is compared: with fewer the spread of the bootstrap is not reliable."""

Column = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LargestGap:
    """The levels with the largest and the smallest value of a metric.

    Attributes:
        higher: number of the level with the largest value.
        lower: with the smallest.
        difference: of both.
        num_levels: compared.
    """

    higher: int
    lower: int
    difference: Interval
    num_levels: int


def largest_gaps(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    level: Tensor,
    *,
    compared: Sequence[int],
    fold: Tensor | None = None,
    num_replicates: int = 1000,
    coverage: float = 0.95,
    seed: int = 0,
) -> dict[str, LargestGap]:
    """Largest difference of a metric between two of several levels, with an interval that allows for the choice.

    The pair is chosen because its difference is the largest, so the interval of one pair alone would be too narrow, and
    never hold 0. This one holds for the differences of all pairs at once: difference ± q · s, s the standard deviation
    of the pair's replicates and q the quantile, over replicates, of the largest |replicate - difference| / s of all
    pairs. A replicate draws whole subjects, the same for all levels: a subject may have rows in several.

    Values are those of `metric_intervals`: AUROC is the mean over the folds in which a level has both classes, the
    Brier score that over all folds, the others are over the rows of all folds. The replicates of the calibration
    intercept are one Newton step from that of the sample. A Brier score is smaller where an outcome is rare, so its gap
    holds the difference of prevalence too.

    Source: Westfall and Young, Resampling-Based Multiple Testing, 1993, chapter 2 (single-step maxT).

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        level: (N,) int64.
        compared: L levels; those with fewer than `MIN_CLASS` positives or negatives are left out.
        fold: (N,) int64, fold in which a row was tested; None = one fold.
        num_replicates: R, number of bootstrap replicates.
        coverage: nominal, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `COMPARED` that are defined in at least two levels.

    >>> label, level = torch.tensor([0.0, 1.0]).repeat(40), torch.arange(2).repeat_interleave(40)
    >>> probability = torch.where(level == 0, 0.2 + label / 2, 0.5)
    >>> found = largest_gaps(probability, label, torch.arange(80), level, compared=[0, 1])["auroc"]
    >>> found.higher, found.lower, found.difference.value
    (0, 1, 0.5)
    """
    probability, label = functional.as_columns(probability, label)
    names, dense = np.unique(subject.cpu().numpy(), return_inverse=True)
    members = {number: level == number for number in compared}
    large = [number for number, own in members.items() if _smaller_class(label[own]) >= MIN_CLASS]
    if len(large) < 2 or len(names) < MIN_SUBJECTS:
        return {}
    levels = [
        _Level.of(probability[own], label[own], torch.from_numpy(dense)[own], None if fold is None else fold[own])
        for own in (members[number] for number in large)
    ]
    values = np.stack([one.values(len(names)) for one in levels])
    weights = draw_weights(np.random.default_rng(seed), num_replicates, np.arange(len(names)), len(names))
    drawn = np.concatenate([np.stack([one.replicates(weight.numpy()) for one in levels], axis=1) for weight in weights])
    found = {}
    for column, name in enumerate(COMPARED):
        defined = ~np.isnan(values[:, column])
        if defined.sum() >= 2:
            numbers = [number for number, is_defined in zip(large, defined, strict=True) if is_defined]
            found[name] = largest(numbers, values[defined, column], drawn[:, defined, column], coverage)
    return found


def _smaller_class(label: Tensor) -> int:
    return int(min(label.sum(), len(label) - label.sum()))


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The rows of a level, ready for many weights of all subjects.

    Attributes:
        shift: its calibration intercept.
        folds: (rows, columns of their subjects) of each fold.
        observed: (s,) positives of each of its subjects.
        expected: (s,) sum of probability, likewise.
        lacking: (s,) sum of label - probability, likewise, at the fitted intercept.
        information: (s,) sum of probability * (1 - probability), likewise.
        subject: (s,) columns of its subjects.
    """

    shift: float
    folds: list[tuple[WeightedRows, NDArray[np.int64]]]
    observed: Column
    expected: Column
    lacking: Column
    information: Column
    subject: NDArray[np.int64]

    @classmethod
    def of(cls, probability: Tensor, label: Tensor, subject: Tensor, fold: Tensor | None) -> "_Level":
        parts = parts_of(probability, label, subject, fold)
        shift = calibration.intercept(parts, 1.0)[0]
        risk = expit(np.clip(parts.logit, -MAX_LOGIT, MAX_LOGIT) + shift)
        own, place = np.unique(parts.subject, return_inverse=True)
        observed, expected, lacking, information = (
            np.bincount(place, column).astype(np.float64)
            for column in (parts.label, parts.probability, parts.label - risk, risk * (1 - risk))
        )
        return cls(
            shift=shift,
            folds=[_weighted(part) for part in parts.rows],
            observed=observed,
            expected=expected,
            lacking=lacking,
            information=information,
            subject=own,
        )

    def values(self, num_subjects: int) -> Column:
        """(4,) values of `COMPARED` in the sample, which has so many subjects, NaN where undefined."""
        return np.append(self.replicates(np.ones((1, num_subjects)))[0, :-1], self.shift)

    def replicates(self, weight: Column) -> Column:
        """(C, 4) values of `COMPARED` under (C, S) weights of all subjects, NaN where undefined."""
        own, aurocs, errors = weight[:, self.subject], [], []
        with np.errstate(invalid="ignore", divide="ignore"):
            for rows, names in self.folds:
                drawn = weight[:, names]
                aurocs.append(rows.auroc(drawn))
                errors.append(drawn @ rows.squared_error / (drawn @ rows.rows))
            ratio = own @ self.observed / (own @ self.expected)
            shift = self.shift + own @ self.lacking / (own @ self.information)
        return np.stack([_mean_defined(np.stack(aurocs)), _mean_defined(np.stack(errors)), ratio, shift], axis=1)


def _weighted(part: Part) -> tuple[WeightedRows, NDArray[np.int64]]:
    columns = (torch.from_numpy(column) for column in (part.probability, part.label, part.subject))
    rows = WeightedRows.of(*columns)
    return rows, rows.names


def _mean_defined(values: Column) -> Column:
    """Mean over the first axis of what is not NaN."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        found: Column = np.where(defined, values, 0).sum(0) / defined.sum(0)
    return found


def largest(numbers: Sequence[int], values: Column, drawn: Column, coverage: float) -> LargestGap:
    """The largest difference of the values of levels, with an interval for the differences of all pairs at once.

    Args:
        numbers: of L levels.
        values: (L,) of them.
        drawn: (R, L) replicates; those with a NaN are left out.
        coverage: nominal.

    Returns:
        The gap.

    >>> drawn = np.array([[0.1, 0.5, 0.3], [0.2, 0.4, 0.3], [0.0, 0.6, 0.3]])
    >>> found = largest([4, 7, 9], np.array([0.1, 0.5, 0.3]), drawn, 0.95)
    >>> found.higher, found.lower, found.difference.value, found.difference.method
    (7, 4, 0.4, 'simultaneous')
    """
    higher, lower = int(values.argmax()), int(values.argmin())
    kept = drawn[~np.isnan(drawn).any(1)]
    most, own = np.zeros(len(kept)), 0.0
    for place in range(len(values) - 1):
        difference = kept[:, [place]] - kept[:, place + 1 :]
        spread = difference.std(0)
        error = np.abs(difference - (values[place] - values[place + 1 :]))
        most = np.maximum(most, (error / np.where(spread > 0, spread, np.inf)).max(1))
    value = float(values[higher] - values[lower])
    own = float((kept[:, higher] - kept[:, lower]).std()) if len(kept) else 0.0
    enough = 2 * len(kept) >= len(drawn) and own > 0
    half = float(np.quantile(most, coverage)) * own if enough else float("nan")
    interval = Interval(
        value=value,
        low=value - half,
        high=value + half,
        num_defined=len(kept),
        num_parts=1,
        method="simultaneous" if enough else None,
    )
    return LargestGap(higher=numbers[higher], lower=numbers[lower], difference=interval, num_levels=len(numbers))
