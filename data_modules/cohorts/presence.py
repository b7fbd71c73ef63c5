"""Presence of modalities per row, and its summary in the manifest."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from data_modules import patterns
from data_modules.cohorts.columns import LABEL, PRESENT, VALUE
from data_modules.errors import UserError

MAX_PATTERNS = 256
"""Most patterns that are scored one by one: all of eight modalities."""
MAX_CELLS = 4096
"""Most cells of all tasks together, so that many tasks leave fewer patterns each."""


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
    """Count the patterns of a cohort.

    Args:
        rows: presence and split.
        modalities: names.

    Returns:
        The patterns with their number of rows and of train rows, most frequent first.

    Raises:
        UserError: if two patterns of more than `patterns.EXACT` modalities have the same id.

    >>> rows = pl.DataFrame({"split": ["train", "test"], "present/labs": [True, True]})
    >>> count_patterns(rows, ["labs"])
    [{'pattern': 1, 'label': '1', 'present': 'labs', 'rows': 2, 'train_rows': 1}]
    """
    present = [PRESENT + name for name in modalities]
    counted = (
        rows.with_columns(pattern_ids(rows, modalities))
        .group_by("pattern")
        .agg(pl.len().alias("rows"), (pl.col("split") == "train").sum().alias("train_rows"), pl.col(present).first())
        .sort("rows", "pattern", descending=[True, False])
    )
    if counted.height < rows.select(present).n_unique():
        raise UserError(
            "two missingness patterns of this cohort have the same hash: list its modalities in another order"
        )
    labels = patterns.labels(counted.select(present).to_numpy())
    return [
        {
            "pattern": patterns.parse(label),
            "label": label,
            "present": patterns.describe(patterns.parse(label), modalities),
            "rows": row["rows"],
            "train_rows": row["train_rows"],
        }
        for label, row in zip(labels, counted.iter_rows(named=True), strict=True)
    ]


def scored(found: Sequence[int], num_tasks: int) -> list[int]:
    """Choose the patterns that are scored one by one; all others are pooled.

    Args:
        found: patterns of a cohort, most frequent first.
        num_tasks: T.

    Returns:
        All of them, up to `MAX_PATTERNS` and `MAX_CELLS`; beyond, the most frequent ones and `patterns.REST`.

    >>> scored([7, 3, 1], 2), scored([7, 3, 1], MAX_CELLS)
    ([7, 3, 1], [7, -9223372036854775808])
    """
    most = max(1, min(MAX_PATTERNS, MAX_CELLS // max(1, num_tasks)))
    return list(found) if len(found) <= most else [*found[:most], patterns.REST]


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


def known_values(rows: pl.DataFrame, tasks: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Return task -> split -> number of known values, and of distinct ones among them.

    >>> known_values(pl.DataFrame({"split": ["train"] * 3, "value/days": [2.0, 2.0, None]}), ["days"])
    {'days': {'train': {'known': 2, 'distinct': 1}}}
    """
    table: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        value = pl.col(VALUE + task)
        counted = rows.group_by("split").agg(known=value.is_not_null().sum(), distinct=value.drop_nulls().n_unique())
        table[task] = {
            row["split"]: {"known": row["known"], "distinct": row["distinct"]}
            for row in counted.sort("split").iter_rows(named=True)
        }
    return table
