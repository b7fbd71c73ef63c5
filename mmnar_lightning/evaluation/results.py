"""The content of results.json and results.public.json as dataclasses; results_json.py writes and reads them."""

from dataclasses import dataclass, field
from typing import Any

from mmnar_lightning.evaluation.breakdown import DecisionCurve, LabelAvailability, Subgroups
from mmnar_lightning.evaluation.cell import MASKED, OPTIONAL, Cell, Gain, Reliability, Score, TaskScores
from mmnar_lightning.evaluation.value_cell import MASKED_VALUES, ValueCell, ValueScores, ValueSubgroups

__all__ = [
    "MASKED",
    "MASKED_VALUES",
    "SCHEMA_VERSION",
    "BlendScores",
    "Cell",
    "DecisionCurve",
    "Gain",
    "GroupScores",
    "Groups",
    "Intervals",
    "LabelAvailability",
    "Offset",
    "OffsetTable",
    "Reliability",
    "Results",
    "Risk",
    "Score",
    "SplitCounts",
    "Subgroups",
    "TaskRisks",
    "TaskScores",
    "ValueCell",
    "ValueScores",
    "ValueSubgroups",
    "Within",
]  # fmt: skip

SCHEMA_VERSION = 5
"""Incremented when the format changes incompatibly."""


@dataclass(frozen=True, kw_only=True)
class BlendScores:
    """Scores of the mean logit of the network and boosted trees, beside those of each alone.

    The network is as it is reported in the end: after the rectifier, if it has one.

    Attributes:
        tasks: scores of the blend.
        trees: task -> scores of the trees alone, over all test rows.
        blend_minus_network: task -> paired differences.
        network_minus_trees: likewise.
        iterations: task -> number of trees; None for several runs.
    """

    tasks: dict[str, TaskScores]
    trees: dict[str, Cell]
    blend_minus_network: dict[str, Gain]
    network_minus_trees: dict[str, Gain]
    iterations: dict[str, int] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Offset:
    """The rectifier's offset to the logits of a pattern; all None if masked.

    Attributes:
        tau: the offset.
        low: lower end of its 95 % interval.
        high: upper end.
        raw: before shrinkage; None if the pattern itself has too few rows.
        inherited: whether it is that of a parent pattern.
        count: calibration rows.
        positives: of these.
        subjects: of these rows.
        strength: of the runs that hold out the pattern; None otherwise.
    """

    tau: float | None
    low: float | None
    high: float | None
    raw: float | None
    inherited: bool | None
    count: int | None
    positives: int | None
    subjects: int | None
    strength: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class OffsetTable:
    """The rectifier of a task: the scale and strength of its offsets, and the offset of every pattern."""

    scale: str
    strength: float
    patterns: dict[str, Offset]


@dataclass(frozen=True, kw_only=True)
class Risk:
    """A prediction-powered mean risk with its 95 % interval; None with too few labelled rows.

    Attributes:
        value: the mean risk.
        low: lower end.
        high: upper end.
        count: rows whose labels are not used; None if masked.
        labelled: rows whose labels correct the predictions; None if masked.
        runs: number of runs of a protocol that have an estimate; None for a single run.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int | None
    labelled: int | None
    runs: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class TaskRisks:
    """Mean risks of a task over all test rows and by pattern label."""

    all: Risk
    patterns: dict[str, Risk]


@dataclass(frozen=True, kw_only=True)
class Within:
    """AUROC over pairs of rows within the same group.

    Attributes:
        groups: number of groups with both classes.
        count: rows of these; None if masked.
        auroc: over their pairs.
    """

    groups: int
    count: int | None
    auroc: Score


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Scores of a task by group of rows: the large groups, the small ones pooled into one cell, and within groups."""

    groups: dict[str, Cell]
    pooled: Cell | None
    within: Within


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Scores by group.

    Attributes:
        by: `hospital` or `year group`.
        min_rows: groups with fewer rows are pooled.
        tasks: task -> scores.
    """

    by: str
    min_rows: int
    tasks: dict[str, GroupScores]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How intervals are computed; the method of each is beside its ends.

    Attributes:
        level: nominal coverage.
        num_replicates: of the bootstrap.
        clusters: what is drawn.
        few: effective rows of the smaller class below which percentiles of the bootstrap are not used; None in a file
            of schema 2, where they always were.
        many: effective rows of the smaller class from which intervals are analytic; None in an older file, where none
            were.
    """

    level: float
    num_replicates: int
    clusters: str
    few: int | None
    many: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """The scored split, and its numbers of rows and subjects; None if masked."""

    name: str
    rows: int | None
    subjects: int | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """results.json or results.public.json of a run, of a transfer target, or of all runs of a protocol together.

    Attributes:
        schema_version: `SCHEMA_VERSION` of the program that wrote it.
        masked_below: `privacy.min_count` of results.public.json; None in results.json, which masks nothing.
        experiment: name of the experiment.
        run_id: name of the run's folder.
        seed: of the run, or the first of several.
        protocol: of several runs; None for a single run.
        dataset: origin of the cohort.
        simulated: whether its data are simulated.
        cohort: fingerprint; None for several runs.
        versions: project -> version of the raw release.
        environment: commit, packages and hardware; None in a file of an earlier version.
        modalities: names, in the order of the pattern's bits.
        dropped: lines for the user on missing data.
        checkpoint: origin of the predictions; None for several runs.
        children: of several runs; None for a single run.
        intervals: how they were computed.
        split: the scored split.
        unseen_pattern_rows: rows with a pattern that no train row has; None for several runs.
        unseen_patterns: labels of these patterns; None for several runs.
        diagnostics: tipping points and, with an assignment head, how well presence is predicted.
        tasks: scores before the rectifier; empty where the tasks are numbers.
        values: likewise of tasks that are numbers; None where they are yes or no.
        rectified_values: after the rectifier; None without one.
        rectified: scores after it; None without one.
        rectified_gain: `rectified` minus `tasks`; None unless the rectifier is used away from its source.
        recalibrated_gain: one offset for all patterns, the root of the same rectifier, minus `tasks`.
        carried: scores of a target after the source's rectifier, where `rectified` is after the target's own.
        carried_gain: `carried` minus `tasks`.
        blend: scores of network and boosted trees together; None without evaluation.blend.
        groups: scores by hospital or year group; None if the cohort has neither.
        subgroups: attribute -> scores of the final prediction by its levels; None without `evaluation.subgroups`.
        value_subgroups: likewise of tasks that are numbers.
        net_benefit: task -> decision curve of the final prediction; None in a file of an earlier schema.
        label_availability: task -> rows with a known label, overall and by pattern; None likewise.
        rectifier: its offsets; None without one.
        mean_risk: prediction-powered mean risks; None without a rectifier.
        target: results on the cohort of transfer.target; None without one.
    """

    schema_version: int = SCHEMA_VERSION
    masked_below: int | None = field(default=None, metadata=OPTIONAL)
    experiment: str
    run_id: str
    seed: int
    protocol: str | None = field(default=None, metadata=OPTIONAL)
    dataset: str
    simulated: bool
    cohort: str | None = field(default=None, metadata=OPTIONAL)
    versions: dict[str, str]
    environment: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    modalities: list[str]
    dropped: list[str]
    checkpoint: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    children: list[dict[str, Any]] | None = field(default=None, metadata=OPTIONAL)
    intervals: Intervals
    split: SplitCounts
    unseen_pattern_rows: int | None = field(default=None, metadata=OPTIONAL)
    unseen_patterns: list[str] | None = field(default=None, metadata=OPTIONAL)
    diagnostics: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    tasks: dict[str, TaskScores]
    values: dict[str, ValueScores] | None = field(default=None, metadata=OPTIONAL)
    rectified_values: dict[str, ValueScores] | None = field(default=None, metadata=OPTIONAL)
    rectified: dict[str, TaskScores] | None = field(default=None, metadata=OPTIONAL)
    rectified_gain: dict[str, Gain] | None = field(default=None, metadata=OPTIONAL)
    recalibrated_gain: dict[str, Gain] | None = field(default=None, metadata=OPTIONAL)
    carried: dict[str, TaskScores] | None = field(default=None, metadata=OPTIONAL)
    carried_gain: dict[str, Gain] | None = field(default=None, metadata=OPTIONAL)
    blend: BlendScores | None = field(default=None, metadata=OPTIONAL)
    groups: Groups | None = field(default=None, metadata=OPTIONAL)
    subgroups: dict[str, Subgroups] | None = field(default=None, metadata=OPTIONAL)
    value_subgroups: dict[str, ValueSubgroups] | None = field(default=None, metadata=OPTIONAL)
    net_benefit: dict[str, DecisionCurve] | None = field(default=None, metadata=OPTIONAL)
    label_availability: dict[str, LabelAvailability] | None = field(default=None, metadata=OPTIONAL)
    rectifier: dict[str, OffsetTable] | None = field(default=None, metadata=OPTIONAL)
    mean_risk: dict[str, TaskRisks] | None = field(default=None, metadata=OPTIONAL)
    target: "Results | None" = field(default=None, metadata=OPTIONAL)

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, of either kind."""
        return [*self.tasks, *(self.values or {})]

    @property
    def scores(self) -> dict[str, dict[str, TaskScores]]:
        """`tasks` and, with a rectifier, `rectified`."""
        return {"tasks": self.tasks, **({"rectified": self.rectified} if self.rectified is not None else {})}
