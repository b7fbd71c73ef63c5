"""Masks small cells before a table, figure or log shows them."""

from collections.abc import Mapping
from dataclasses import fields, replace

from mmnar_lightning.evaluation.results import MASKED, Cell, Offset, OffsetTable, Score, TaskScores
from mmnar_lightning.metrics.intervals import METRICS

MASKED_OFFSET = Offset(**dict.fromkeys((entry.name for entry in fields(Offset)), None))
"""An offset of too few rows to be shown."""


def mask_cells(scores: Mapping[str, TaskScores], min_count: int) -> dict[str, TaskScores]:
    """The same scores with the cells of fewer rows emptied, for everything that is shown or shared."""

    def mask(cell: Cell) -> Cell:
        return cell if cell.count is not None and cell.count >= min_count else MASKED

    return {
        task: TaskScores(all=mask(found.all), patterns={name: mask(cell) for name, cell in found.patterns.items()})
        for task, found in scores.items()
    }


def mask_offsets(offsets: Mapping[str, OffsetTable], min_count: int) -> dict[str, OffsetTable]:
    """The rectifier's table with the patterns of fewer calibration rows emptied."""

    def mask(entry: Offset) -> Offset:
        return entry if entry.count is not None and entry.count >= min_count else MASKED_OFFSET

    return {
        task: replace(table, patterns={name: mask(entry) for name, entry in table.patterns.items()})
        for task, table in offsets.items()
    }


def table_rows(scores: TaskScores) -> list[list[str]]:
    """Rows of one task for the screen: pattern, count (positives), and each metric with its interval.

    Args:
        scores: of a task; masked cells are left out.

    Returns:
        One list of texts a row.
    """
    return [
        [name, f"{cell.count} ({cell.positives})", *(score_text(cell.score(metric)) for metric in METRICS)]
        for name, cell in scores.cells.items()
        if cell.count is not None
    ]


def score_text(score: Score | None) -> str:
    """A metric and its interval as text."""
    if score is None or score.value is None:
        return "undefined"
    ends = "" if score.low is None else f" ({score.low:.2f} to {score.high:.2f})"
    return f"{score.value:.2f}{ends}"
