"""A metric with its interval, the scores of a cell and of a task, and the difference of two predictions."""

from dataclasses import dataclass, field, fields

from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED

OPTIONAL = {"optional": True}
"""Metadata of a field that is omitted from the file if None."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric with its 95 % interval.

    Attributes:
        value: None if undefined.
        low: lower end; None if there is no interval.
        high: upper end; likewise.
        method: of the interval, as of `metrics.intervals.Interval`; None if there is none.
        num_defined: bootstrap replicates in which it is defined; 0 if the interval is of another method.
        num_parts: folds and repeats in which a mean over them is defined; None for a single test set.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str | None
    num_defined: int
    num_parts: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins of a reliability curve."""

    mean_probability: list[float]
    observed_rate: list[float]
    count: list[float]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Scores of the test rows of a task and pattern with a known label; all None if masked.

    Attributes:
        count: rows of one repeat.
        positives: of these.
        subjects: of all repeats.
        auroc: area under the receiver operating characteristic.
        average_precision: area under the precision-recall curve, as steps.
        brier: Brier score.
        calibration_error: expected calibration error over bins of equal mass, without its bias by sampling noise.
        observed_expected: positives over the sum of the probabilities.
        calibration_slope: coefficient of the logit in a logistic regression.
        calibration_intercept: shift of the logits that fits best (calibration in the large).
        reliability: the bins of the reliability curve of one repeat.
        groups: number of hospitals or year groups pooled into the cell; None for other cells.
    """

    count: int | None
    positives: int | None
    subjects: int | None
    auroc: Score | None
    average_precision: Score | None
    brier: Score | None
    calibration_error: Score | None
    observed_expected: Score | None
    calibration_slope: Score | None
    calibration_intercept: Score | None
    reliability: Reliability | None
    groups: int | None = field(default=None, metadata=OPTIONAL)

    def score(self, metric: str) -> Score | None:
        """The score of a metric, by its name in `METRICS`."""
        assert metric in METRICS, metric
        found: Score | None = getattr(self, metric)
        return found


MASKED = Cell(**dict.fromkeys((entry.name for entry in fields(Cell)), None))
"""A cell that is hidden."""


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """Scores of a task over all test rows and by pattern label, the most frequent first.

    Attributes:
        all: over all test rows.
        patterns: by pattern label.
        without_interval: metric -> share of the cells with a value that have no interval, above 0.
    """

    all: Cell
    patterns: dict[str, Cell]
    without_interval: dict[str, float] = field(default_factory=dict)

    @property
    def cells(self) -> dict[str, Cell]:
        """`all`, then the patterns."""
        return {"all": self.all, **self.patterns}


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Metrics of a task of one prediction minus those of another of the same rows, those with a known label.

    Attributes:
        count: rows of one repeat.
        positives: of these.
        subjects: of all repeats.
        auroc: difference, as all others paired: both are scored on the same draws of subjects.
        average_precision: likewise.
        brier: likewise; below 0 the first prediction is better.
        calibration_error: likewise.
    """

    count: int
    positives: int
    subjects: int
    auroc: Score
    average_precision: Score
    brier: Score
    calibration_error: Score

    def score(self, metric: str) -> Score:
        """The difference of a metric, by its name in `RESAMPLED`."""
        assert metric in RESAMPLED, metric
        found: Score = getattr(self, metric)
        return found
