"""Scores test rows before and after their rectifier, with a progress bar where it takes long."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmnar_lightning.console import progress
from mmnar_lightning.evaluation.cell import TaskScores
from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.outputs import ScoredRows

PATIENCE = 5.0
"""Seconds of scoring before a progress bar is shown."""


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
        tasks: as of `score`.
        pattern_ids: likewise.
        scoring: likewise.
        fold: likewise.
        repeat: likewise.

    Returns:
        Name -> task -> scores.
    """
    cells = 2 * sum(int(rows.label_mask.sum()) for rows in versions.values())  # all rows, and again by pattern
    with progress("scoring test rows", cells, after=PATIENCE) as advance:
        return {
            name: score(rows, tasks, pattern_ids, scoring, fold=fold, repeat=repeat, advance=advance)
            for name, rows in versions.items()
        }
