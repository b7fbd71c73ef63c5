"""Paired differences of two predictions of the same rows: of a rectifier, of a blend, of a part of the method."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmnar_lightning.evaluation.results import Gain
from mmnar_lightning.evaluation.scores import Scoring, averaged, plain
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.outputs import ScoredRows


def gains(
    before: ScoredRows,
    after: ScoredRows,
    tasks: Sequence[str],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, Gain]:
    """Subtract the metrics of one prediction from those of another, with paired, subject-clustered 95 % intervals.

    Args:
        before: N rows, for example before the rectifier.
        after: the same rows with other logits, for example after it.
        tasks: T task names.
        scoring: replicates and seed.
        fold: (N,) int64, as of `score`.
        repeat: (N,) int64, as of `score`.
        advance: is called with 1 for every task that was compared.

    Returns:
        task -> differences, `after` minus `before`, over all rows with a known label.
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
        shown = plain if fold is None and repeat is None else averaged
        scores = {name: shown(differences[name]) for name in RESAMPLED}
        rows = known if repeat is None or not len(repeat) else known & (repeat == repeat.min())
        found[task] = Gain(
            count=int(rows.sum()),
            positives=int((before.label[:, column] > 0)[rows].sum()),
            subjects=len(torch.unique(before.subject[known])),
            **scores,
        )
        advance(1)
    return found
