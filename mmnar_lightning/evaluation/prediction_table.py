"""Builds predictions.parquet: keys, subgroups, patterns, labels and logits of test rows."""

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.cohorts.columns import groups_of
from mmnar_lightning.outputs import ScoredRows

GROUP = "group"
"""Column of the hospital or year group."""


def predictions(
    rows: ScoredRows,
    cohort: pl.DataFrame,
    tasks: Sequence[str],
    seen: Tensor,
    others: Mapping[str, ScoredRows] | None = None,
    subgroups: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Build predictions.parquet, one row per test row.

    Args:
        rows: N test rows.
        cohort: the rows of cohort.parquet.
        tasks: T task names.
        seen: int64, ids of the patterns of train rows.
        others: name -> the same rows with other logits, for example `rectified`, after the rectifier.
        subgroups: columns `subgroup/<attribute>` of the rows of cohort.parquet, to be kept; None keeps none.

    Returns:
        `row_id`, `subject_id`, `split`, `fold`, `group` if the cohort has groups, the subgroups, `pattern` (the label),
        `unseen_pattern`, and per task `label/`, `logit/`, `probability/` and, of each of the others, `<name>/`, its
        logit.
    """
    columns = {}
    for column, task in enumerate(tasks):
        columns[f"label/{task}"] = known(rows.label[:, column].bool(), rows.label_mask[:, column])
        columns[f"logit/{task}"] = pl.Series(rows.logits[:, column].numpy())
        columns[f"probability/{task}"] = pl.Series(rows.probability[:, column].numpy())
        for name, other in (others or {}).items():
            columns[f"{name}/{task}"] = pl.Series(other.logits[:, column].numpy())
    return keyed(rows, cohort, seen, columns, subgroups)


def known(values: Tensor, mask: Tensor) -> pl.Series:
    """Make a column of values.

    Args:
        values: (N,).
        mask: (N,) bool, True = known.

    Returns:
        The values, null where they are unknown.

    >>> known(torch.tensor([1.5, 2.5]), torch.tensor([True, False])).to_list()
    [1.5, None]
    """
    chosen = pl.when(pl.Series(mask.numpy())).then(pl.Series(values.numpy()))
    return pl.select(chosen).to_series()


def keyed(
    rows: ScoredRows,
    cohort: pl.DataFrame,
    seen: Tensor,
    columns: Mapping[str, pl.Series],
    subgroups: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Put the keys, subgroups and patterns of test rows before columns.

    Args:
        rows: N test rows.
        cohort: as of `predictions`.
        seen: likewise.
        columns: name -> (N,).
        subgroups: likewise.

    Returns:
        One row per test row.
    """
    frame = pl.DataFrame(
        {
            "row_id": rows.row_id.numpy(),
            "pattern": patterns.labels(rows.present),
            "unseen_pattern": (~torch.isin(rows.pattern, seen)).numpy(),
            **columns,
        },
        schema_overrides={"pattern": pl.String},
    )
    keys = cohort.select(pl.col("row_id").cast(pl.Int64), "subject_id", "split", pl.col("fold").cast(pl.Int64))
    groups = groups_of(cohort)
    keys = keys if groups is None else keys.with_columns(groups[1].alias(GROUP))
    keys = keys if subgroups is None else keys.hstack(subgroups.get_columns())
    joined = frame.with_columns(pl.col("row_id").cast(pl.Int64)).join(keys, on="row_id", maintain_order="left")
    return joined.select(*keys.columns, pl.exclude(keys.columns))
