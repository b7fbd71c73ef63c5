"""Presence of modalities by row, and what a manifest says of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import torch

from data_modules import patterns
from data_modules.cohorts.columns import LABEL, PRESENT


def add_presence(rows: pl.DataFrame, present: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Add `present/<modality>` columns from Boolean series in row order."""
    return rows.with_columns(series.alias(PRESENT + name) for name, series in present.items())


def pattern_ids(rows: pl.DataFrame, modalities: Sequence[str]) -> pl.Series:
    """Pattern id of every row, Int64."""
    present = torch.from_numpy(rows.select(PRESENT + name for name in modalities).to_numpy(writable=True))
    return pl.Series("pattern", patterns.encode(present).numpy())


def count_patterns(rows: pl.DataFrame, modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Every pattern of a cohort with its rows, over all splits and in train, the most frequent first."""
    counted = (
        rows.with_columns(pattern_ids(rows, modalities))
        .group_by("pattern")
        .agg(pl.len().alias("rows"), (pl.col("split") == "train").sum().alias("train_rows"))
        .sort("rows", "pattern", descending=[True, False])
    )
    return [
        {
            "pattern": row["pattern"],
            "label": patterns.label(row["pattern"], len(modalities)),
            "present": patterns.describe(row["pattern"], modalities),
            "rows": row["rows"],
            "train_rows": row["train_rows"],
        }
        for row in counted.iter_rows(named=True)
    ]


def prevalence(rows: pl.DataFrame, tasks: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Task -> split -> rows with a known label, and positives among them."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        label = pl.col(LABEL + task)
        counted = rows.group_by("split").agg(known=label.is_not_null().sum(), positive=label.sum())
        table[task] = {
            row["split"]: {"known": row["known"], "positive": row["positive"]}
            for row in counted.sort("split").iter_rows(named=True)
        }
    return table
