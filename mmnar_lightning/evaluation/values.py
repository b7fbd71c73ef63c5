"""Scores of tasks that are numbers: cells of results.json, and the rows of predictions.parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.loading.arrays import ValueScale
from mmnar_lightning.evaluation.cell import Score
from mmnar_lightning.evaluation.prediction_table import keyed, known
from mmnar_lightning.evaluation.results import Offset, OffsetTable, ValueCell, ValueScores
from mmnar_lightning.evaluation.scores import Scoring, plain
from mmnar_lightning.metrics.values import VALUE_METRICS, value_intervals
from mmnar_lightning.outputs import ScoredRows

UNIT = "units of the task"
"""Scale of the offsets of results.json, whose fit was in standard deviations."""
ENDS = ("tau", "low", "high", "raw")
"""Fields of an offset that have its scale."""


def score_values(
    rows: ScoredRows,
    scale: ValueScale,
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    *,
    repeats: int = 1,
) -> dict[str, ValueScores]:
    """Score every task over all test rows and per pattern, with 95 % subject-clustered intervals.

    Args:
        rows: N test rows, standardised.
        scale: of the values.
        tasks: T task names.
        pattern_ids: the cohort's patterns that have a cell, the most frequent first.
        scoring: replicates and seed.
        repeats: how often each row is among them, predicted by as many models; counts are of rows.

    Returns:
        task -> scores, in the units of the values.
    """
    members = patterns.members(rows.pattern, pattern_ids, rows.present.shape[1])
    predicted, value = scale.restored(rows.logits), scale.restored(rows.label)
    found = {}
    for column, task in enumerate(tasks):
        labelled = rows.label_mask[:, column]

        def cell(member: Tensor, column: int = column) -> ValueCell:
            columns = predicted[member, column], value[member, column], rows.subject[member]
            return cell_of(*columns, scoring, repeats)

        found[task] = ValueScores(
            all=cell(labelled), patterns={name: cell(labelled & member) for name, member in members.items()}
        )
    return found


def cell_of(predicted: Tensor, value: Tensor, subject: Tensor, scoring: Scoring, repeats: int = 1) -> ValueCell:
    """The scores of a cell: (N,) predictions and values, in the units of the task, and subjects."""
    intervals = value_intervals(predicted, value, subject, num_replicates=scoring.num_replicates, seed=scoring.seed)
    scores: Mapping[str, Score] = {name: plain(intervals[name]) for name in VALUE_METRICS}
    return ValueCell(
        count=len(value) // repeats,
        subjects=len(torch.unique(subject)),
        mae=scores["mae"],
        rmse=scores["rmse"],
        mean_error=scores["mean_error"],
        r2=scores["r2"],
    )


def value_predictions(
    rows: ScoredRows,
    scale: ValueScale,
    cohort: pl.DataFrame,
    tasks: Sequence[str],
    seen: Tensor,
    rectified: ScoredRows | None,
    subgroups: pl.DataFrame | None,
) -> pl.DataFrame:
    """Build predictions.parquet, one row per test row.

    Args:
        rows: N test rows, standardised.
        scale: of the values.
        cohort: the rows of cohort.parquet.
        tasks: T task names.
        seen: int64, ids of the patterns of train rows.
        rectified: the same rows after the rectifier; None without one.
        subgroups: as of `prediction_table.predictions`.

    Returns:
        The columns of `prediction_table.predictions` before its labels, and per task `value/`, `predicted/` and, with a
        rectifier, `rectified/`, in the units of the values.
    """
    columns = {}
    restored = {"predicted": scale.restored(rows.logits)}
    if rectified is not None:
        restored["rectified"] = scale.restored(rectified.logits)
    value = scale.restored(rows.label)
    for column, task in enumerate(tasks):
        columns[f"value/{task}"] = known(value[:, column], rows.label_mask[:, column])
        columns |= {f"{name}/{task}": pl.Series(own[:, column].numpy()) for name, own in restored.items()}
    return keyed(rows, cohort, seen, columns, subgroups)


def in_units(tables: Mapping[str, OffsetTable], deviations: Sequence[float]) -> dict[str, OffsetTable]:
    """The offsets of tasks in the units of their values.

    Args:
        tables: task -> offsets in standard deviations.
        deviations: (T,) of the tasks.

    Returns:
        task -> offsets.
    """
    return {
        task: replace(table, scale=UNIT, patterns={name: _times(own, unit) for name, own in table.patterns.items()})
        for (task, table), unit in zip(tables.items(), deviations, strict=True)
    }


def _times(offset: Offset, unit: float) -> Offset:
    scaled = {name: own * unit for name in ENDS if (own := getattr(offset, name)) is not None}
    return replace(offset, **scaled)
