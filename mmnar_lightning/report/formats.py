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


def number_text(value: float, digits: str) -> str:
    """Return a number as text; what rounds to zero has no minus sign.

    >>> number_text(-0.001, ".2f"), number_text(-0.01, "+.2f")
    ('0.00', '-0.01')
    """
    return f"{value:{digits.replace('.', 'z.', 1)}}"


def _text(score: Score | None, digits: str) -> str:
    if score is None or score.value is None:
        return "undefined"
    ends = ""
    if score.low is not None and score.high is not None:
        ends = f" ({number_text(score.low, digits)} to {number_text(score.high, digits)})"
    return f"{number_text(score.value, digits)}{ends}"
