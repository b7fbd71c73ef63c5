"""Combines the test rows of several runs whose tasks are numbers."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from data_modules import patterns
from data_modules.cohorts.subgroups import SUBGROUP
from data_modules.loading.arrays import ValueScale
from mmnar_lightning.evaluation.results import Results, ValueScores
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.evaluation.subgroups import label_availability
from mmnar_lightning.evaluation.value_subgroups import score_value_subgroups
from mmnar_lightning.evaluation.values import score_values
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import gather

VALUE, PREDICTED = "value/", "predicted/"
SCORES = {"values": PREDICTED, "rectified_values": gather.RECTIFIED}
"""Key of results.json -> the columns that it scores: before, and after the rectifier."""


def average_folds(pooled: pl.DataFrame) -> pl.DataFrame:
    """Average the numbers that one seed's models predict for each test row over folds.

    Args:
        pooled: result of `gather.pool`; every fold has the same rows.

    Returns:
        The same columns without `fold`, one row per seed and test row; unseen is what any model has not seen.

    Raises:
        PoolingError: if any fold lacks a row.

    >>> frame = pl.DataFrame({"seed": 0, "fold": [0, 1], "row_id": 7, "predicted/days": [50.0, 60.0]})
    >>> average_folds(frame).rows(named=True)
    [{'seed': 0, 'row_id': 7, 'predicted/days': 55.0}]
    """
    means = [pl.col(name).mean() for name in pooled.columns if name.startswith((PREDICTED, gather.RECTIFIED))]
    dropped = (PREDICTED, gather.RECTIFIED, "seed", "fold", "row_id")
    same = [
        pl.col(name).any() if name == gather.UNSEEN else pl.col(name).first()
        for name in pooled.columns
        if not name.startswith(dropped)
    ]
    grouped = pooled.sort("seed", "row_id", "fold").group_by("seed", "row_id", maintain_order=True)
    mean = grouped.agg(*same, *means, pl.col("fold").n_unique().alias("folds"))
    lacking = mean.filter(pl.col("folds") != pooled["fold"].n_unique()).height
    if lacking:
        raise gather.PoolingError(f"{lacking} test rows are not predicted in every fold; did the files change?")
    return mean.drop("folds")


def as_rows(frame: pl.DataFrame, tasks: Sequence[str], predicted: str) -> ScoredRows:
    """Convert predictions to scored rows, in the units of the tasks.

    Args:
        frame: N rows of predictions.
        tasks: T task names.
        predicted: prefix of the columns with predictions.

    Returns:
        The N scored rows.
    """
    numbers = {name: frame[name].cast(pl.Float64) for name in frame.columns if name.startswith((VALUE, predicted))}
    present = [[bit == "1" for bit in text] for text in frame["pattern"]]
    return ScoredRows(
        row_id=gather.tensor(frame["row_id"]),
        subject=gather.tensor(frame["subject_id"].rank("dense").cast(pl.Int64)),
        present=torch.tensor(present, dtype=torch.bool).reshape(frame.height, -1),
        logits=torch.stack([gather.tensor(numbers[predicted + task]) for task in tasks], -1),
        label=torch.stack([gather.tensor(numbers[VALUE + task].fill_null(0.0)) for task in tasks], -1),
        label_mask=torch.stack(
            [gather.tensor(numbers[VALUE + task].is_not_null().cast(pl.Int64)) for task in tasks], -1
        )
        > 0,
    )


def scores_of(pooled: pl.DataFrame, scoring: Scoring, first: Results) -> dict[str, Any]:
    """The fields of results that the pooled rows give: scores before and after the rectifier, subgroups, known values.

    Errors of different runs can be averaged, so rows of all folds and seeds are scored together; their subjects are
    drawn with all of their rows. Counts are of rows, each once.

    Args:
        pooled: test rows of all runs.
        scoring: replicates and seed.
        first: results of the first run, for tasks and patterns.

    Returns:
        Field -> value.
    """
    assert first.values is not None
    tasks = list(first.values)
    codes = [patterns.parse(label) for label in first.values[tasks[0]].patterns]
    unit = ValueScale(torch.zeros(len(tasks), dtype=torch.float64), torch.ones(len(tasks), dtype=torch.float64))
    repeats = pooled["seed"].n_unique()
    found: dict[str, Any] = {}
    for name, prefix in SCORES.items():
        if prefix + tasks[0] in pooled.columns:
            rows = as_rows(pooled, tasks, prefix)
            scores: dict[str, ValueScores] = score_values(rows, unit, tasks, codes, scoring, repeats=repeats)
            found[name] = scores
    final = as_rows(pooled, tasks, gather.RECTIFIED if "rectified_values" in found else PREDICTED)
    attributes = pooled.select(name for name in pooled.columns if name.startswith(SUBGROUP))
    divided = score_value_subgroups(final, unit, attributes, tasks, scoring, repeats=repeats)
    found["value_subgroups"] = divided or None
    once = pooled.filter(pl.col("seed") == pooled["seed"].min())
    return found | {"label_availability": label_availability(as_rows(once, tasks, PREDICTED), tasks, codes)}
