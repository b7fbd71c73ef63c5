"""Scores of a task that is a number, as results.json holds them: over all rows, by pattern, and by subgroup."""

from dataclasses import dataclass

from mmnar_lightning.evaluation.breakdown import POOLED, Gap
from mmnar_lightning.evaluation.cell import Score


@dataclass(frozen=True, kw_only=True)
class ValueCell:
    """Scores of the test rows of a task that is a number, in its units; all None if masked.

    Attributes:
        count: rows with a known value.
        subjects: of these.
        mae: mean absolute error.
        rmse: root mean squared error.
        mean_error: mean of prediction minus value: calibration in the large.
        r2: share of the variance that is explained.
    """

    count: int | None
    subjects: int | None
    mae: Score | None
    rmse: Score | None
    mean_error: Score | None
    r2: Score | None

    def score(self, metric: str) -> Score | None:
        """The score of a metric, by its name in `VALUE_METRICS`."""
        found: Score | None = getattr(self, metric)
        return found


MASKED_VALUES = ValueCell(count=None, subjects=None, mae=None, rmse=None, mean_error=None, r2=None)
"""A cell that is hidden."""


@dataclass(frozen=True, kw_only=True)
class ValueScores:
    """Scores of a task that is a number over all test rows and by pattern label, the most frequent first."""

    all: ValueCell
    patterns: dict[str, ValueCell]

    @property
    def cells(self) -> dict[str, ValueCell]:
        """`all`, then the patterns."""
        return {"all": self.all, **self.patterns}


@dataclass(frozen=True, kw_only=True)
class ValueLevels:
    """Scores of a task that is a number by the levels of an attribute.

    Attributes:
        levels: large levels, the largest first.
        pooled: the small levels together; None without any.
        gaps: metric -> its largest gap; a metric without two levels to compare is absent.
    """

    levels: dict[str, ValueCell]
    pooled: ValueCell | None
    gaps: dict[str, Gap]

    @property
    def cells(self) -> dict[str, ValueCell]:
        """The levels, then `pooled`."""
        return {**self.levels, **({POOLED: self.pooled} if self.pooled is not None else {})}


@dataclass(frozen=True, kw_only=True)
class ValueSubgroups:
    """Scores of tasks that are numbers by the levels of an attribute.

    Attributes:
        min_rows: levels with fewer rows are pooled.
        tasks: task -> scores.
    """

    min_rows: int
    tasks: dict[str, ValueLevels]
