"""Masks small cells before they are shown in a table, figure or log."""

from collections.abc import Mapping
from dataclasses import fields, replace

from mmnar_lightning.evaluation.results import MASKED, Cell, Offset, OffsetTable, Score, TaskScores
from mmnar_lightning.metrics.bootstrap import RESAMPLED

MASKED_OFFSET = Offset(**dict.fromkeys((entry.name for entry in fields(Offset)), None))
"""An offset with too few rows to be shown."""


def mask_cells(scores: Mapping[str, TaskScores], min_count: int) -> dict[str, TaskScores]:
    """Mask cells with fewer rows, for everything that is shown or shared."""

    def mask(cell: Cell) -> Cell:
        return cell if cell.count is not None and cell.count >= min_count else MASKED

    return {
        task: replace(found, all=mask(found.all), patterns={name: mask(cell) for name, cell in found.patterns.items()})
        for task, found in scores.items()
    }


def mask_offsets(offsets: Mapping[str, OffsetTable], min_count: int) -> dict[str, OffsetTable]:
    """Mask patterns with fewer calibration rows in the rectifier's table."""

    def mask(entry: Offset) -> Offset:
        return entry if entry.count is not None and entry.count >= min_count else MASKED_OFFSET

    return {
        task: replace(table, patterns={name: mask(entry) for name, entry in table.patterns.items()})
        for task, table in offsets.items()
    }


def table_rows(scores: TaskScores) -> list[list[str]]:
    """Format the scores of one task: pattern, count (positives), and each resampled metric with its interval.

    Args:
        scores: of a task; masked cells are omitted.

    Returns:
        One list of texts per row.
    """
    return [
        [name, f"{cell.count} ({cell.positives})", *(score_text(cell.score(metric)) for metric in RESAMPLED)]
        for name, cell in scores.cells.items()
        if cell.count is not None
    ]


def score_text(score: Score | None) -> str:
    """Format a metric and its interval."""
    return _text(score, ".2f")


def difference_text(score: Score | None) -> str:
    """Format a difference of a metric and its interval, with the sign and enough digits for a Brier score."""
    return _text(score, "+.4f")


def _text(score: Score | None, digits: str) -> str:
    if score is None or score.value is None:
        return "undefined"
    ends = "" if score.low is None else f" ({score.low:{digits}} to {score.high:{digits}})"
    return f"{score.value:{digits}}{ends}"
