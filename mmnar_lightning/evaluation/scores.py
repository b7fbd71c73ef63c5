"""Scores test rows; computes the cells of results.json."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from mmnar_lightning.evaluation.results import Cell, GroupScores, Reliability, Score, TaskScores, Within
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.metrics.cells import intervals_of_each
from mmnar_lightning.metrics.functional import reliability_curve
from mmnar_lightning.metrics.groups import cells_of, within_groups_auroc
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.outputs import ScoredRows

UNKNOWN = "unknown"
"""Level of rows without one."""
BIN_ROWS = 10
"""Minimum average number of rows per bin of a reliability curve."""
MAX_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Settings of scores and their intervals.

    Attributes:
        num_replicates: of the bootstrap.
        seed: of the bootstrap.
        min_count: minimum rows; smaller groups are pooled, and smaller cells masked when shown.
    """

    num_replicates: int
    seed: int
    min_count: int


def score(
    rows: ScoredRows,
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, TaskScores]:
    """Score every task over all test rows and per pattern, with 95 % subject-clustered intervals.

    Args:
        rows: N test rows; with repeats, each row once per repeat.
        tasks: T task names.
        pattern_ids: the cohort's patterns that have a cell, the most frequent first.
        scoring: replicates and seed.
        fold: (N,) int64, fold in which a row was tested; metrics are averaged over folds.
        repeat: (N,) int64, repeat in which a row was predicted; metrics are averaged over repeats.
        advance: is called with the number of rows of every cell that was scored.

    Returns:
        task -> scores. With folds or repeats, scores also include the number of these in which the metric is defined;
        counts and reliability are those of one repeat.
    """
    (found,) = score_each([rows], tasks, pattern_ids, scoring, fold=fold, repeat=repeat, advance=advance)
    return found


def score_each(
    versions: Sequence[ScoredRows],
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> list[dict[str, TaskScores]]:
    """As `score` of several predictions of the same rows, on replicates that are drawn once.

    Args:
        versions: of each, the N test rows with its logits.
        tasks: as of `score`.
        pattern_ids: likewise.
        scoring: likewise.
        fold: likewise.
        repeat: likewise.
        advance: is called with the number of rows of every cell that was scored, counted once per version.

    Returns:
        Task -> scores, of each version.
    """
    rows = versions[0]
    assert all(torch.equal(other.row_id, rows.row_id) for other in versions), "versions have different rows"
    own = patterns.members(rows.pattern, pattern_ids, rows.present.shape[1])
    found: list[dict[str, TaskScores]] = [{} for _ in versions]
    for column, task in enumerate(tasks):
        known = rows.label_mask[:, column]
        cells: dict[str, list[Cell]] = {}
        for name, member in {"all": known, **{name: known & member for name, member in own.items()}}.items():
            columns = [_of_task(version, column, member) for version in versions]
            cells[name] = _cells(columns, scoring, _at(fold, member), _at(repeat, member))
            advance(int(member.sum()) * len(versions))
        for place, scores in enumerate(found):
            scores[task] = _task_scores({name: each[place] for name, each in cells.items()})
    return found


def _task_scores(cells: dict[str, Cell]) -> TaskScores:
    without = without_interval(list(cells.values()))
    return TaskScores(all=cells.pop("all"), patterns=cells, without_interval=without)


def without_interval(cells: Sequence[Cell]) -> dict[str, float]:
    """Share of the cells with a value that have no interval.

    Args:
        cells: of a task.

    Returns:
        metric -> share, of the metrics where it is above 0.
    """
    found = {}
    for name in METRICS:
        scores = [score for cell in cells if (score := cell.score(name)) is not None and score.value is not None]
        lacking = sum(score.low is None for score in scores)
        if lacking:
            found[name] = lacking / len(scores)
    return found


def score_groups(
    rows: ScoredRows, group: pl.Series, tasks: Sequence[str], scoring: Scoring, fold: Tensor | None = None
) -> dict[str, GroupScores]:
    """Score every task by group of rows: hospital or year group.

    Args:
        rows: N test rows.
        group: (N,) text; null forms its own group, `unknown`.
        tasks: T task names.
        scoring: replicates, seed, and the minimum number of rows with a known label below which groups are pooled.
        fold: (N,) int64, fold in which a row was tested; metrics are averaged over folds, and rows of two folds, which
            two models predict, are never ranked together.

    Returns:
        task -> scores, the largest group first.
    """
    number, names = numbered(group)
    return {task: _by_group(rows, column, number, names, scoring, fold) for column, task in enumerate(tasks)}


def numbered(level: pl.Series) -> tuple[Tensor, list[str]]:
    """Number the levels of rows.

    Args:
        level: (N,) text; null forms its own level, `UNKNOWN`.

    Returns:
        (N,) int64, and the name of each number.

    >>> number, names = numbered(pl.Series(["b", None, "a"]))
    >>> number.tolist(), names
    ([1, 2, 0], ['a', 'b', 'unknown'])
    """
    named = level.fill_null(UNKNOWN)
    names = named.unique().sort()
    number = named.replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    return torch.from_numpy(number.to_numpy(writable=True)), names.to_list()


def score_levels(
    rows: ScoredRows, column: int, number: Tensor, names: Sequence[str], scoring: Scoring, fold: Tensor | None = None
) -> tuple[dict[str, Cell], Cell | None]:
    """Score a task in each level with at least `scoring.min_count` rows with a known label, and in all others pooled.

    Args:
        rows: N test rows.
        column: of the task.
        number: (N,) int64, as of `numbered`.
        names: likewise.
        scoring: replicates, seed, and the minimum number of rows.
        fold: (N,) int64, fold in which a row was tested.

    Returns:
        Name -> scores, the largest level first; and those of the small levels, None without any.
    """
    known = rows.label_mask[:, column]
    large, small, num_pooled = sizes_of(number, known, len(names), scoring.min_count)

    def cell(member: Tensor) -> Cell:
        return _cell(_of_task(rows, column, member), scoring, _at(fold, member))

    found = {names[place]: cell(known & (number == place)) for place in large}
    return found, replace(cell(small), groups=num_pooled) if num_pooled else None


def sizes_of(number: Tensor, known: Tensor, num_levels: int, min_count: int) -> tuple[list[int], Tensor, int]:
    """Which levels are scored on their own, and which rows are pooled.

    Args:
        number: (N,) int64, level of each row.
        known: (N,) bool, rows that are scored.
        num_levels: number of levels.
        min_count: least number of rows of a level of its own.

    Returns:
        The large levels, the largest first; (N,) bool, the rows of the small ones; the number of these.

    >>> sizes_of(torch.tensor([0, 1, 1, 2]), torch.tensor([True, True, True, False]), 3, 2)
    ([1], tensor([ True, False, False, False]), 1)
    """
    count = torch.bincount(number[known], minlength=num_levels)
    large = [
        place for place in count.argsort(descending=True, stable=True).tolist() if count[place] >= max(1, min_count)
    ]
    small = known & (count < max(min_count, 1))[number]
    return large, small, int(((count > 0) & (count < min_count)).sum())


def _by_group(
    rows: ScoredRows, column: int, number: Tensor, names: Sequence[str], scoring: Scoring, fold: Tensor | None
) -> GroupScores:
    known = rows.label_mask[:, column]
    within = within_groups_auroc(
        *_of_task(rows, column, known),
        number[known],
        fold=_at(fold, known),
        num_replicates=scoring.num_replicates,
        seed=scoring.seed,
    )
    compared = known & _has_both(cells_of(number, fold), rows.label[:, column], known)
    groups, pooled = score_levels(rows, column, number, names, scoring, fold)
    return GroupScores(
        groups=groups,
        pooled=pooled,
        within=Within(groups=len(torch.unique(number[compared])), count=int(compared.sum()), auroc=plain(within)),
    )


def _has_both(cell: Tensor, label: Tensor, known: Tensor) -> Tensor:
    """(N,) bool, whether both classes are known in a row's cell."""
    positives = torch.bincount(cell[known & (label > 0)], minlength=int(cell.max()) + 1 if len(cell) else 0)
    count = torch.bincount(cell[known], minlength=len(positives))
    return ((positives > 0) & (positives < count))[cell]


Columns = tuple[Tensor, Tensor, Tensor]
"""Probability, label and subject of a cell's n rows, each (n,)."""


def _of_task(rows: ScoredRows, column: int, member: Tensor) -> Columns:
    return rows.probability[member, column], rows.label[member, column], rows.subject[member]


def _at(column: Tensor | None, member: Tensor) -> Tensor | None:
    return None if column is None else column[member]


def plain(interval: Interval) -> Score:
    """The score of one test set."""
    return replace(averaged(interval), num_parts=None)


def averaged(interval: Interval) -> Score:
    """The score as a mean over folds and repeats."""
    ends = {name: number_or_none(getattr(interval, name)) for name in ("value", "low", "high")}
    return Score(**ends, method=interval.method, num_defined=interval.num_defined, num_parts=interval.num_parts)


def _cell(columns: Columns, scoring: Scoring, fold: Tensor | None = None, repeat: Tensor | None = None) -> Cell:
    (cell,) = _cells([columns], scoring, fold, repeat)
    return cell


def _cells(
    versions: Sequence[Columns], scoring: Scoring, fold: Tensor | None = None, repeat: Tensor | None = None
) -> list[Cell]:
    """The scores of several predictions of a cell's rows."""
    _, label, subject = versions[0]
    probabilities = [probability for probability, _, _ in versions]
    once = slice(None) if repeat is None or not len(repeat) else repeat == repeat.min()
    each = intervals_of_each(
        probabilities,
        label,
        subject,
        fold=fold,
        repeat=repeat,
        num_replicates=scoring.num_replicates,
        seed=scoring.seed,
    )
    shown = plain if fold is None and repeat is None else averaged
    found = []
    for probability, intervals in zip(probabilities, each, strict=True):
        scores = {name: shown(intervals[name]) for name in METRICS}
        cell = Cell(
            count=len(label[once]),
            positives=int(label[once].sum()),
            subjects=len(torch.unique(subject)),
            reliability=_reliability(probability[once], label[once]),
            auroc=scores["auroc"],
            average_precision=scores["average_precision"],
            brier=scores["brier"],
            calibration_error=scores["calibration_error"],
            observed_expected=scores["observed_expected"],
            calibration_slope=scores["calibration_slope"],
            calibration_intercept=scores["calibration_intercept"],
        )
        found.append(cell)
    return found


def _reliability(probability: Tensor, label: Tensor) -> Reliability:
    num_bins = min(MAX_BINS, max(1, len(label) // BIN_ROWS))
    mean_probability, observed_rate, count = reliability_curve(probability, label, num_bins=num_bins)
    return Reliability(
        mean_probability=mean_probability.tolist(), observed_rate=observed_rate.tolist(), count=count.tolist()
    )


def number_or_none(value: float) -> float | None:
    """Convert NaN to None, because JSON has no NaN."""
    return None if math.isnan(value) else value
