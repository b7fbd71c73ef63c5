"""What a rectifier changes: the metrics after it minus those before, on the same rows."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from mmnar_lightning.evaluation.results import Gain
from mmnar_lightning.evaluation.scores import Scoring, averaged, number_or_none, plain
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.metrics.intervals import paired_difference
from mmnar_lightning.outputs import ScoredRows


def gains(
    before: ScoredRows,
    after: ScoredRows,
    tasks: Sequence[str],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
) -> dict[str, Gain]:
    """Subtract the metrics before the rectifier from those after it, with paired, subject-clustered 95 % intervals.

    Args:
        before: N test rows.
        after: the same rows with rectified logits.
        tasks: T task names.
        scoring: replicates and seed.
        fold: (N,) int64, as of `score`.
        repeat: (N,) int64, as of `score`.

    Returns:
        task -> differences over all test rows with a known label.
    """
    found = {}
    for column, task in enumerate(tasks):
        known = before.label_mask[:, column]
        own_fold, own_repeat = (None if part is None else part[known] for part in (fold, repeat))
        columns = (
            after.probability[known, column],
            before.probability[known, column],
            before.label[known, column],
            before.subject[known],
        )
        differences = paired_difference(
            *columns, fold=own_fold, repeat=own_repeat, num_replicates=scoring.num_replicates, seed=scoring.seed
        )
        if fold is None and repeat is None:
            scores = {name: plain(differences[name]) for name in METRICS}
        else:
            pooled = paired_difference(*columns, repeat=own_repeat, num_replicates=1)
            scores = {
                name: replace(averaged(differences[name]), pooled=number_or_none(pooled[name].value))
                for name in METRICS
            }
        rows = known if repeat is None or not len(repeat) else known & (repeat == repeat.min())
        found[task] = Gain(count=int(rows.sum()), **scores)
    return found
