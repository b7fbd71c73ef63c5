"""Scores made again from the predictions that a run leaves, whole subjects drawn by their ids."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from mmnar_lightning.metrics.intervals import METRICS, bootstrap_intervals
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
    found = bootstrap_intervals(
        gather.tensor(known[f"logit/{task}"]).sigmoid(),
        gather.tensor(known[f"label/{task}"].cast(pl.Float64)),
        gather.tensor(known["subject_id"].rank("dense").cast(pl.Int64)),
        fold=gather.tensor(known["fold"]) if parts else None,
        repeat=gather.tensor(known["seed"]) if parts else None,
        num_replicates=num_replicates,
    )
    for name in METRICS:
        told = {key: cell[name][key] for key in ("value", "low", "high", "num_defined")}
        assert told == pytest.approx({key: getattr(found[name], key) for key in told}, nan_ok=True), name
