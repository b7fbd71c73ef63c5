"""Scores and compares test rows, with a progress bar where it takes long."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from data_modules import patterns
from mmnar_lightning.console import progress
from mmnar_lightning.evaluation import scores
from mmnar_lightning.evaluation.cell import TaskScores
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.outputs import ScoredRows

Found = TypeVar("Found")

PATIENCE = 5.0
"""Seconds of scoring before a progress bar is shown."""


def with_bar(what: str, steps: int, work: Callable[[Callable[[float], None]], Found]) -> Found:
    """Do work that calls its argument with the number of steps that it has done, and show its progress.

    Args:
        what: is being done.
        steps: number of steps.
        work: as above.

    Returns:
        What the work returns.
    """
    with progress(what, steps, after=PATIENCE) as advance:
        return work(advance)


def score_each(
    versions: Mapping[str, ScoredRows],
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
) -> dict[str, dict[str, TaskScores]]:
    """Score several predictions of the same test rows.

    Args:
        versions: name -> rows with its predictions.
        tasks: as of `scores.score`.
        pattern_ids: likewise.
        scoring: likewise.
        fold: likewise.
        repeat: likewise.

    Returns:
        Name -> task -> scores.
    """
    total = sum(_rows_of_cells(rows, pattern_ids) for rows in versions.values())
    found = with_bar(
        "scoring test rows",
        total,
        lambda advance: scores.score_each(
            list(versions.values()), tasks, pattern_ids, scoring, fold=fold, repeat=repeat, advance=advance
        ),
    )
    return dict(zip(versions, found, strict=True))


def _rows_of_cells(rows: ScoredRows, pattern_ids: Sequence[int]) -> int:
    """Number of known labels over the cells of all tasks: all rows, and those of each pattern."""
    members = patterns.members(rows.pattern, pattern_ids, rows.present.shape[1])
    return int(rows.label_mask.sum()) + sum(int(rows.label_mask[own].sum()) for own in members.values())
