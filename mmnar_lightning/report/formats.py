"""Formats scores as the text of tables."""

from mmnar_lightning.evaluation.results import Score, TaskScores
from mmnar_lightning.metrics.bootstrap import RESAMPLED


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


def score_text(score: Score | None, digits: str = ".2f") -> str:
    """Format a metric and its interval, `digits` being a format of numbers."""
    return _text(score, digits)


def difference_text(score: Score | None) -> str:
    """Format a difference of a metric and its interval, with the sign and enough digits for a Brier score."""
    return _text(score, "+.4f")


def _text(score: Score | None, digits: str) -> str:
    if score is None or score.value is None:
        return "undefined"
    ends = "" if score.low is None else f" ({score.low:{digits}} to {score.high:{digits}})"
    return f"{score.value:{digits}}{ends}"
