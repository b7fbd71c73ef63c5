"""Presence of modalities per row, and its summary in the manifest."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from data_modules import patterns
from data_modules.cohorts.columns import LABEL, PRESENT


def add_presence(rows: pl.DataFrame, present: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Return the rows with `present/<modality>` columns from Boolean series in row order.

    >>> add_presence(pl.DataFrame({"row_id": [0, 1]}), {"labs": pl.Series([True, False])}).rows()
    [(0, True), (1, False)]
    """
    return rows.with_columns(series.alias(PRESENT + name) for name, series in present.items())


def pattern_ids(rows: pl.DataFrame, modalities: Sequence[str]) -> pl.Series:
    """Return the pattern id of each row, Int64.

    >>> rows = pl.DataFrame({"present/labs": [True, True], "present/cxr": [False, True]})
    >>> pattern_ids(rows, ["labs", "cxr"]).to_list()
    [1, 3]
    """
    present = rows.select(PRESENT + name for name in modalities).to_numpy()
    return pl.Series("pattern", patterns.encode(present))


def count_patterns(rows: pl.DataFrame, modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Return the patterns of a cohort with their number of rows and of train rows, most frequent first.

    >>> rows = pl.DataFrame({"split": ["train", "test"], "present/labs": [True, True]})
    >>> count_patterns(rows, ["labs"])
    [{'pattern': 1, 'label': '1', 'present': 'labs', 'rows': 2, 'train_rows': 1}]
    """
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
    """Return task -> split -> numbers of known labels and of positive ones.

    >>> prevalence(pl.DataFrame({"split": ["train"] * 3, "label/death": [True, False, None]}), ["death"])
    {'death': {'train': {'known': 2, 'positive': 1}}}
    """
    table: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        label = pl.col(LABEL + task)
        counted = rows.group_by("split").agg(known=label.is_not_null().sum(), positive=label.sum())
        table[task] = {
            row["split"]: {"known": row["known"], "positive": row["positive"]}
            for row in counted.sort("split").iter_rows(named=True)
        }
    return table
