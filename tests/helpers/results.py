"""Scores made again from the predictions that a run leaves, whole subjects drawn by their ids."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from torch import Tensor

from data_modules import patterns
from mmnar_lightning.evaluation.results import MASKED, Cell, Intervals, Offset, Results, SplitCounts
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.report.public_cells import MASKED_OFFSET
from mmnar_lightning.runs import gather


def check_clusters(
    cell: Mapping[str, Any], predicted: pl.DataFrame, task: str, *, num_replicates: int, parts: bool = False
) -> None:
    """Fail unless a cell counts the subjects of its rows and its intervals are those of whole subjects.

    Args:
        cell: of results.json.
        predicted: the rows of predictions.parquet that it is about.
        task: whose.
        num_replicates: `evaluation.num_replicates` of the run, whose seed is 0.
        parts: whether rows have a `fold` and a `seed`, over which the metrics are averaged.
    """
    known = predicted.drop_nulls(f"label/{task}")
    assert cell["subjects"] == known["subject_id"].n_unique()
    found = metric_intervals(
        gather.tensor(known[f"logit/{task}"]).sigmoid(),
        gather.tensor(known[f"label/{task}"].cast(pl.Float64)),
        gather.tensor(known["subject_id"].rank("dense").cast(pl.Int64)),
        fold=gather.tensor(known["fold"]) if parts else None,
        repeat=gather.tensor(known["seed"]) if parts else None,
        num_replicates=num_replicates,
    )
    for name in METRICS:
        ends = {key: math.nan if cell[name][key] is None else cell[name][key] for key in ("value", "low", "high")}
        reported = {**ends, "num_defined": cell[name]["num_defined"]}
        assert reported == pytest.approx({key: getattr(found[name], key) for key in reported}, nan_ok=True), name


def scored_rows(rows: Mapping[str, Tensor], subject: Tensor, num_modalities: int = 2) -> ScoredRows:
    """Rows by pattern and probability as a metric gives them."""
    return ScoredRows(
        row_id=rows["row_id"],
        subject=subject,
        present=patterns.decode(rows["pattern"], num_modalities),
        logits=rows["probability"].logit(),
        label=rows["label"],
        label_mask=rows["label_mask"],
    )


def cell_of(content: Mapping[str, Any]) -> Cell:
    """A cell with some of its fields; the others are those of a masked one."""
    return from_json(Cell, {**to_json(MASKED), **content})


def offset_of(**content: Any) -> Offset:
    """An offset with some of its fields; the others are those of a masked one."""
    return replace(MASKED_OFFSET, **content)


def results_of(**content: Any) -> Results:
    """Results of nothing, with some of their fields."""
    empty: dict[str, Any] = {
        "experiment": "e",
        "run_id": "r",
        "seed": 0,
        "dataset": "custom",
        "simulated": False,
        "versions": {},
        "modalities": ["a", "b"],
        "dropped": [],
        "intervals": Intervals(level=0.95, num_replicates=100, clusters="subjects", few=30),
        "split": SplitCounts(name="test", rows=0, subjects=0),
        "tasks": {},
    }
    return Results(**empty | content)
