"""The logistic regression of a calibration slope: one slope, and an intercept for each part."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mmnar_lightning.metrics.parts import MAX_LOGIT, Column, Part
from mmnar_lightning.metrics.profile import PRECISION, TINY, has_one_maximum

MAX_NEWTON = 100
"""Largest number of steps for an intercept."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The score of a slope.

    Attributes:
        logit: (n,) of each row, with the intercepts that fit best.
        rows: (n,) contribution of each row.
        changes: (n,) its change of the information.
        information: of the slope.
    """

    logit: Column
    rows: Column
    changes: Column
    information: float


class Regression:
    """The regression of the labels on the logits with an intercept for each part.

    Args:
        parts: with both classes.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.logit = np.concatenate([part.logit - part.logit.mean() for part in parts])
        self.label = np.concatenate([part.label for part in parts])
        self.sizes = np.array([len(part.label) for part in parts])
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.total, self.is_smooth = self._sums(self.label), has_one_maximum(self.label)
        self.slope, self.intercept, self.centre = 0.0, np.zeros(len(parts)), np.zeros(len(parts))
        self.last: Scores | None = None

    def at(self, slope: float) -> Scores:
        """The score of a slope, with the intercepts that fit best at it.

        Args:
            slope: of all parts.

        Returns:
            The score.
        """
        if self.last is not None and slope == self.slope:
            return self.last
        logit = slope * self.logit + self._rows(self._fitted(slope))
        risk = expit(logit)
        weight = risk * (1 - risk)
        self.slope, self.centre = slope, self._sums(weight * self.logit) / np.maximum(self._sums(weight), TINY)
        centred = self.logit - self._rows(self.centre)
        pulled = weight * centred**2
        self.last = Scores(
            logit=logit,
            rows=(self.label - risk) * centred,
            changes=pulled * centred * (1 - 2 * risk),
            information=float(pulled.sum()),
        )
        return self.last

    def _fitted(self, slope: float) -> Column:
        """The intercepts, by Newton's method from those of the slope before; by bisection where it leaves the range."""
        reach = abs(slope) * float(np.abs(self.logit).max()) + MAX_LOGIT
        if self.is_smooth:
            self.intercept = np.clip(self.intercept - (slope - self.slope) * self.centre, -reach, reach)
        low, high = np.full_like(self.intercept, -reach), np.full_like(self.intercept, reach)
        for _ in range(MAX_NEWTON):
            risk = expit(slope * self.logit + self._rows(self.intercept))
            lacking = self.total - self._sums(risk)
            low, high = np.where(lacking > 0, self.intercept, low), np.where(lacking > 0, high, self.intercept)
            there = self.intercept + lacking / np.maximum(self._sums(risk * (1 - risk)), TINY)
            there = np.where((there >= low) & (there <= high), there, (low + high) / 2)
            step, self.intercept = float(np.abs(there - self.intercept).max()), there
            if step < PRECISION:
                break
        return self.intercept

    def _sums(self, values: Column) -> Column:
        found: Column = np.add.reduceat(values, self.starts)
        return found

    def _rows(self, values: Column) -> Column:
        """Of each part to each of its rows."""
        return np.repeat(values, self.sizes)


def log_likelihood(logit: Column, label: Column) -> float:
    """The log-likelihood of labels.

    Args:
        logit: (n,) of each row.
        label: (n,) 0 or 1.

    Returns:
        At most 0.

    >>> round(log_likelihood(np.array([0.0, 0.0]), np.array([0.0, 1.0])), 3)
    -1.386
    """
    return -float(np.logaddexp(0, (1 - 2 * label) * logit).sum())
