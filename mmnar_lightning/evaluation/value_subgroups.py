"""Scores of tasks that are numbers by subgroup."""

from collections.abc import Sequence

import polars as pl
from torch import Tensor

from data_modules.cohorts.subgroups import SUBGROUP
from data_modules.loading.arrays import ValueScale
from mmnar_lightning.evaluation.scores import UNKNOWN, Scoring, numbered, sizes_of
from mmnar_lightning.evaluation.subgroups import named_gaps
from mmnar_lightning.evaluation.value_cell import ValueCell, ValueLevels, ValueSubgroups
from mmnar_lightning.evaluation.values import cell_of
from mmnar_lightning.metrics.value_gaps import largest_value_gaps
from mmnar_lightning.outputs import ScoredRows


def score_value_subgroups(
    rows: ScoredRows,
    scale: ValueScale,
    attributes: pl.DataFrame,
    tasks: Sequence[str],
    scoring: Scoring,
    *,
    repeats: int = 1,
) -> dict[str, ValueSubgroups]:
    """Score every task by the levels of every attribute.

    Args:
        rows: N test rows, standardised.
        scale: of the values.
        attributes: columns `subgroup/<attribute>` of the same rows, text; null forms its own level, `unknown`.
        tasks: T task names.
        scoring: replicates, seed, and the minimum number of rows with a known value below which levels are pooled.
        repeats: as of `score_values`.

    Returns:
        Attribute -> scores. `unknown` is scored, but not compared with other levels.
    """
    predicted, value = scale.restored(rows.logits), scale.restored(rows.label)
    found = {}
    for name in attributes.columns:
        number, names = numbered(attributes[name])
        by_task = {}
        for column, task in enumerate(tasks):
            known = rows.label_mask[:, column]
            kept = (predicted[known, column], value[known, column], rows.subject[known], number[known])
            by_task[task] = _of_attribute(*kept, names, scoring, repeats)
        found[name.removeprefix(SUBGROUP)] = ValueSubgroups(min_rows=scoring.min_count, tasks=by_task)
    return found


def _of_attribute(
    predicted: Tensor,
    value: Tensor,
    subject: Tensor,
    number: Tensor,
    names: Sequence[str],
    scoring: Scoring,
    repeats: int,
) -> ValueLevels:
    every = number >= 0
    large, small, num_pooled = sizes_of(number, every, len(names), scoring.min_count * repeats)

    def cell(member: Tensor) -> ValueCell:
        return cell_of(predicted[member], value[member], subject[member], scoring, repeats)

    gaps = largest_value_gaps(
        predicted - value,
        subject,
        number,
        compared=[place for place in large if names[place] != UNKNOWN],
        num_replicates=scoring.num_replicates,
        seed=scoring.seed,
    )
    return ValueLevels(
        levels={names[place]: cell(number == place) for place in large},
        pooled=cell(small) if num_pooled else None,
        gaps=named_gaps(gaps, names),
    )
