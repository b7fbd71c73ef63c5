"""The rows of a cell as parts, one per fold and repeat, and what the rows of one subject share."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor

from mmnar_lightning.metrics import functional

Column = NDArray[np.float64]
MAX_LOGIT = 40.0
"""Logits are clipped: a probability of exactly 0 or 1 has none."""
PRIOR_SUBJECTS = 5
"""Subjects that an intraclass correlation of 1 counts as, beside those of the sample."""
DENSE = 8
"""Ids of subjects whose range is at most so many times the number of rows are counted in an array of that range."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The n rows of one fold and repeat.

    Attributes:
        probability: (n,) in [0, 1].
        label: (n,) 0 or 1.
        subject: (n,) int64.
    """

    probability: Column
    label: Column
    subject: NDArray[np.int64]

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) whether the label is 1."""
        return self.label > 0

    @property
    def logit(self) -> Column:
        """(n,) float64, clipped to `MAX_LOGIT`."""
        found: Column = np.clip(logit(self.probability), -MAX_LOGIT, MAX_LOGIT)
        return found

    @property
    def has_both(self) -> bool:
        """Whether both classes occur."""
        return bool(0 < self.label.sum() < len(self.label))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All parts of a cell.

    Attributes:
        rows: the parts that have rows, repeat by repeat.
        num_repeats: predictions of the same rows by several models; they say nothing more about other subjects.
    """

    rows: list[Part]
    num_repeats: int

    @property
    def probability(self) -> Column:
        """Of all rows."""
        return self._of("probability")

    @property
    def label(self) -> Column:
        """Of all rows."""
        return self._of("label")

    @property
    def logit(self) -> Column:
        """Of all rows."""
        return self._of("logit")

    @property
    def subject(self) -> NDArray[np.int64]:
        """Of all rows."""
        return self._of("subject").astype(np.int64)

    def _of(self, name: str) -> Column:
        return np.concatenate([np.zeros(0), *(getattr(part, name) for part in self.rows)])

    def few(self) -> float:
        """Effective number of rows of the smaller class in one repeat: (sum of c)² / sum of c², c rows per subject."""
        totals = [sum(effective_count(part.subject[part.label == side]) for part in self.rows) for side in (0, 1)]
        return min(totals) / self.num_repeats

    def fewest(self) -> float:
        """Effective rows of the smaller class in the part that has the fewest, of those with both; inf without one."""
        both = [part for part in self.rows if part.has_both]
        sides = [effective_count(part.subject[part.label == side]) for part in both for side in (0, 1)]
        return min(sides, default=math.inf)

    def num_subjects(self) -> int:
        """Number of different subjects."""
        return len(members(self.subject)[1])


def parts_of(
    probability: Tensor, label: Tensor, subject: Tensor, fold: Tensor | None = None, repeat: Tensor | None = None
) -> Parts:
    """Split rows by fold and repeat, in an order that does not depend on that of the rows.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64.
        fold: (N,) int64; None = one fold.
        repeat: (N,) int64; None = one repeat.

    Returns:
        The parts.

    >>> import torch
    >>> probability, label, fold = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    >>> parts = parts_of(probability, label, torch.arange(3), fold)
    >>> [part.label.tolist() for part in parts.rows], parts.few()
    ([[0.0, 1.0], [1.0]], 1.0)
    """
    probability, label = functional.as_columns(probability, label)
    numbers = [np.zeros(len(label), int) if column is None else column.cpu().numpy() for column in (repeat, fold)]
    people = subject.cpu().numpy().astype(np.int64)
    order = np.lexsort((label.numpy(), probability.numpy(), people, numbers[1], numbers[0]))
    keys = np.stack([column[order] for column in numbers])
    starts = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(0)) + 1
    columns = [np.split(column[order], starts) for column in (probability.numpy(), label.numpy(), people)]
    rows = [
        Part(probability=risk, label=truth, subject=who) for risk, truth, who in zip(*columns, strict=True) if len(who)
    ]
    return Parts(rows=rows, num_repeats=max(len(np.unique(numbers[0])), 1))


def members(subject: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number subjects in ascending order; in linear time where their rows are sorted or their ids are dense.

    Args:
        subject: (n,) int64.

    Returns:
        (n,) number of each row's subject in [0, S), and (S,) rows of each.

    >>> [column.tolist() for column in members(np.array([4, 4, 7]))]
    [[0, 0, 1], [2, 1]]
    """
    if not (subject[1:] < subject[:-1]).any():
        member = np.zeros(len(subject), np.int64)
        np.cumsum(subject[1:] != subject[:-1], out=member[1:])
        return member, np.bincount(member).astype(np.int64)
    lowest = int(subject.min())
    if int(subject.max()) - lowest < DENSE * len(subject):
        count = np.bincount(subject - lowest)
        place = np.cumsum(count > 0) - 1
        return place[subject - lowest], count[count > 0]
    _, member, count = np.unique(subject, return_inverse=True, return_counts=True)
    return member, count


def effective_count(subject: NDArray[np.int64]) -> float:
    """Number of rows that is left if those of one subject are copies: (sum of c)² / sum of c², c rows per subject.

    Source: Kish, Survey Sampling, 1965, section 8.2.

    Args:
        subject: (n,) int64.

    Returns:
        At most n; 0 without rows.

    >>> effective_count(np.array([4, 4, 4, 7]))
    1.6
    """
    count = members(subject)[1].astype(float)
    return float(count.sum() ** 2 / (count**2).sum()) if len(count) else 0.0


def design_effect(values: Column, subject: NDArray[np.int64], *, centred: bool = True, num_repeats: int = 1) -> float:
    """Variance of a sum over rows of subjects, relative to that of as many independent rows.

    1 + (c - 1) * r with c the mean size of a row's subject (Kish, Survey Sampling, 1965) and r the intraclass
    correlation: its estimate, averaged with 1 as if `PRIOR_SUBJECTS` more subjects had shown that, because a few
    subjects do not show their correlation.

    Args:
        values: (n,) what is summed.
        subject: (n,) int64.
        centred: subtract the mean; False if the expectation is 0.
        num_repeats: predictions of the same rows among the values, which are worth no more than one.

    Returns:
        At least `num_repeats`; 1 where every subject has one row.

    >>> design_effect(np.array([0.1, 0.5, 0.9]), np.arange(3))
    1.0
    >>> round(design_effect(np.tile([0.0, 1.0], 50).repeat(4), np.arange(100).repeat(4)), 2)
    4.0
    """
    member, count = members(subject)
    size = float((count.astype(float) ** 2).sum() / max(len(subject), 1))
    if size <= 1:
        return 1.0
    error = values - values.mean() if centred else values
    squares = float((error**2).sum())
    correlation = 1.0
    if squares > 0 and len(count) > 1:
        between = float((np.bincount(member, error) ** 2).sum())
        correction = len(count) / (len(count) - 1) * (len(values) - 1) / len(values) if centred else 1.0
        correlation = min(max((correction * between / squares - 1) / (size - 1), 0.0), 1.0)
    correlation = (len(count) * correlation + PRIOR_SUBJECTS) / (len(count) + PRIOR_SUBJECTS)
    return max(1 + (size - 1) * correlation, float(num_repeats))
