"""The parts of public results that are tables of cells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from mmnar_lightning.evaluation.breakdown import POOLED
from mmnar_lightning.evaluation.results import (
    MASKED,
    MASKED_VALUES,
    Cell,
    Groups,
    GroupScores,
    Offset,
    OffsetTable,
    Reliability,
    Results,
    Risk,
    Score,
    TaskRisks,
    TaskScores,
    ValueScores,
)
from mmnar_lightning.evaluation.scores import without_interval
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells, is_small

MASKED_OFFSET = Offset(**dict.fromkeys((entry.name for entry in fields(Offset)), None))
"""An offset that is hidden."""
WITHIN_DIGITS = 2
"""Digits of an AUROC over the pairs within groups: all of them would show how many pairs there are."""

Hidden = Mapping[str, frozenset[str]]
"""Task -> names of the cells that are hidden."""
Bin = tuple[float, float, float]
"""Mean probability, observed rate and rows of a bin of a reliability curve."""


def counts_of(cells: Mapping[str, Any]) -> dict[str, Counts]:
    """Counts of the cells, or of the offsets, of a task; what is masked counts as empty; numbers have no positives."""
    return {name: Counts(cell.count or 0, getattr(cell, "positives", 0) or 0) for name, cell in cells.items()}


def scores_of(found: TaskScores, hidden: frozenset[str], min_count: int) -> TaskScores:
    """The scores of a task without the hidden cells."""
    cells = {name: MASKED if name in hidden else cell_of(cell, min_count) for name, cell in found.cells.items()}
    without = without_interval(list(cells.values()))
    return TaskScores(all=cells.pop(ALL), patterns=cells, without_interval=without)


def values_of(found: ValueScores, hidden: frozenset[str]) -> ValueScores:
    """The scores of a task that is a number without the hidden cells."""
    cells = {name: MASKED_VALUES if name in hidden else cell for name, cell in found.cells.items()}
    return ValueScores(all=cells.pop(ALL), patterns=cells)


def cell_of(cell: Cell, min_count: int) -> Cell:
    """A cell that is shown: the bins of its reliability curve are joined until none is small."""
    return cell if cell.reliability is None else replace(cell, reliability=_merged(cell.reliability, min_count))


def _merged(curve: Reliability, min_count: int) -> Reliability:
    """Join neighbouring bins until none is small; they are at most the whole cell, which is not."""
    bins: list[Bin] = []
    ready = True
    for probability, rate, count in zip(curve.mean_probability, curve.observed_rate, curve.count, strict=True):
        one = (probability, rate, count)
        bins = [*bins, one] if ready else [*bins[:-1], _joined(bins[-1], one)]
        ready = not _is_small_bin(bins[-1], min_count)
    while len(bins) > 1 and _is_small_bin(bins[-1], min_count):
        bins = [*bins[:-2], _joined(*bins[-2:])]
    columns = list(zip(*bins, strict=True)) or [(), (), ()]
    return Reliability(mean_probability=list(columns[0]), observed_rate=list(columns[1]), count=list(columns[2]))


def _joined(first: Bin, second: Bin) -> Bin:
    count = first[2] + second[2]
    means = [(first[place] * first[2] + second[place] * second[2]) / count for place in (0, 1)]
    return means[0], means[1], count


def _is_small_bin(one: Bin, min_count: int) -> bool:
    _, rate, count = one
    return is_small(Counts(round(count), round(rate * count)), min_count)


def groups_of(results: Results, whole: Collection[str], min_count: int, *, totals_only: bool) -> Groups | None:
    """Scores by group without hidden groups; hospitals are numbered anew, because their codes count the hidden ones.

    Returns:
        Scores of the tasks that are not hidden whole; None if the cohort has no groups, or none may be shown.
    """
    groups = results.groups
    if groups is None or totals_only:
        return None
    tasks = {task: found for task, found in groups.tasks.items() if task not in whole}
    tables = {
        task: counts_of(
            {ALL: results.tasks[task].all, **found.groups, **({POOLED: found.pooled} if found.pooled else {})}
        )
        for task, found in tasks.items()
    }
    hidden = hidden_cells(tables, min_count)
    return replace(
        groups,
        tasks={
            task: _groups(found, hidden[task], min_count, numbered=groups.by == "hospital")
            for task, found in tasks.items()
        },
    )


def _groups(found: GroupScores, hidden: frozenset[str], min_count: int, *, numbered: bool) -> GroupScores:
    shown = {name: cell_of(cell, min_count) for name, cell in found.groups.items() if name not in hidden}
    pooled = None if found.pooled is None or POOLED in hidden else cell_of(found.pooled, min_count)
    return GroupScores(
        groups={str(number): cell for number, cell in enumerate(shown.values(), start=1)} if numbered else shown,
        pooled=pooled,
        within=replace(found.within, count=None, auroc=rounded(found.within.auroc, WITHIN_DIGITS)),
    )


def rounded(score: Score, digits: int) -> Score:
    """A score whose value and ends are rounded."""
    value, low, high = (None if end is None else round(end, digits) for end in (score.value, score.low, score.high))
    return replace(score, value=value, low=low, high=high)


def tables_of(rectifier: Mapping[str, OffsetTable], hidden: Hidden) -> dict[str, OffsetTable]:
    """The rectifier's table without the offsets of hidden patterns."""

    def shown(task: str, table: OffsetTable) -> OffsetTable:
        patterns = table.patterns.items()
        return replace(
            table, patterns={name: MASKED_OFFSET if name in hidden[task] else entry for name, entry in patterns}
        )

    return {task: shown(task, table) for task, table in rectifier.items()}


def risks_of(risks: Mapping[str, TaskRisks], hidden: Sequence[Hidden]) -> dict[str, TaskRisks]:
    """Mean risks without their counts, and without patterns that are hidden in the test or the calibration rows."""

    def uncounted(risk: Risk) -> Risk:
        return replace(risk, count=None, labelled=None)

    found = {}
    for task, own in risks.items():
        names = frozenset().union(*(tables.get(task, frozenset()) for tables in hidden))
        patterns = {name: uncounted(risk) for name, risk in own.patterns.items() if name not in names}
        if ALL not in names:
            found[task] = TaskRisks(all=uncounted(own.all), patterns=patterns)
    return found
