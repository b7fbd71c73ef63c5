"""Scores by subgroup, decision curves and the availability of labels, as results.json holds them."""

from dataclasses import dataclass, field

from mmnar_lightning.evaluation.cell import OPTIONAL, Cell, Score


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest difference of a metric between two levels of an attribute.

    Attributes:
        higher: level with the largest value.
        lower: level with the smallest value.
        difference: of both; its interval holds for the differences of all pairs of levels at once.
        num_levels: number of levels that were compared.
    """

    higher: str
    lower: str
    difference: Score
    num_levels: int


@dataclass(frozen=True, kw_only=True)
class SubgroupScores:
    """Scores of a task by the levels of an attribute.

    Attributes:
        levels: large levels, the largest first.
        pooled: the small levels together; None without any.
        gaps: metric -> its largest gap; a metric without two levels to compare is absent.
    """

    levels: dict[str, Cell]
    pooled: Cell | None
    gaps: dict[str, Gap]

    @property
    def cells(self) -> dict[str, Cell]:
        """The levels, then `pooled`."""
        return {**self.levels, **({POOLED: self.pooled} if self.pooled is not None else {})}


POOLED = "pooled"
"""Name of the small levels or groups together."""


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """Scores by the levels of an attribute.

    Attributes:
        min_rows: levels with fewer rows are pooled.
        tasks: task -> scores.
    """

    min_rows: int
    tasks: dict[str, SubgroupScores]


@dataclass(frozen=True, kw_only=True)
class NetBenefit:
    """The net benefit at a threshold: true positives per row, less false positives per row at the threshold's odds.

    Attributes:
        threshold: probability from which a row is treated.
        model: of treating by the prediction.
        treat_all: of treating every row; treating none has 0.
        true_positives: rows of one repeat; None in results.public.json.
        false_positives: likewise.
    """

    threshold: float
    model: Score
    treat_all: Score
    true_positives: int | None = field(default=None, metadata=OPTIONAL)
    false_positives: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """The net benefit of a task over all test rows with a known label.

    Attributes:
        count: rows of one repeat.
        positives: of these.
        points: by ascending threshold.
    """

    count: int
    positives: int
    points: list[NetBenefit]


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Rows of a cell, and those of them whose label is known; all None if masked.

    Attributes:
        rows: of one repeat.
        known: of these.
        share: of known labels; None without rows.
    """

    rows: int | None
    known: int | None
    share: float | None


MASKED_LABELS = LabelCounts(rows=None, known=None, share=None)
"""A cell that is hidden."""


@dataclass(frozen=True, kw_only=True)
class LabelAvailability:
    """How many labels of a task are known, over all test rows and by pattern label, the most frequent first."""

    all: LabelCounts
    patterns: dict[str, LabelCounts]

    @property
    def cells(self) -> dict[str, LabelCounts]:
        """`all`, then the patterns."""
        return {"all": self.all, **self.patterns}
