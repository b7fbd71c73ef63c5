"""Pre-training rows: what train subjects have beside the rows of the cohort. They have inputs, and no labels.

They follow the rows of the cohort: row i of every modality belongs to row_id i, of cohort.parquet or of this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_modules.cohorts import columns, splits
from data_modules.cohorts.attrition import apply_rules
from data_modules.cohorts.columns import TASK_PREFIXES
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.rows import CohortRows
from data_modules.errors import UserError

PRETRAINING = "pretraining.parquet"
SPLIT = "pretraining"
"""Split of these rows; no evaluation, scale or vocabulary reads it."""
COUNTS = "pre-training rows"
"""Key of the counts of the manifest: `rule`, `rows`, `subjects`, as of the attrition."""


@dataclass(frozen=True)
class Others:
    """The rows that only pre-training reads.

    Attributes:
        rows: the columns of the cohort's rows, without labels.
        attrition: `rule`, `rows`, `subjects`.
    """

    rows: pl.DataFrame
    attrition: pl.DataFrame


def select(built: CohortRows, config: SplitConfig) -> Others:
    """Select the units of train subjects that are no row of the cohort but have a prediction time.

    Args:
        built: with `others`.
        config: draws the splits, as for the rows of the cohort.

    Returns:
        The rows, with row ids that follow those of the cohort.

    Raises:
        UserError: if the database does not list them, or splits follow the year: a train subject may return in a year
            that is tested.

    >>> rows = pl.DataFrame({"row_id": [0], "subject_key": ["a"], "subject_id": [1]})
    >>> others = pl.DataFrame({"subject_key": ["a", "b"], "subject_id": [1, 2]})
    >>> built = CohortRows(rows, attrition=rows, notes={}, others=others)
    >>> found = select(built, SplitConfig(train=1, calibration=0, val=0, test=0))
    >>> found.rows.select("row_id", "subject_key", "split").rows()
    [(1, 'a', 'pretraining'), (2, 'b', 'pretraining')]
    """
    if built.others is None:
        raise UserError("cohort.pretraining_rows=true: this database lists no rows for pre-training; omit it")
    if "era" in built.rows.columns:
        raise UserError(
            "cohort.pretraining_rows=true cannot be used with cohort.fold_by=year_group: a train subject may return in "
            "a year that is tested; omit one of them"
        )
    train = splits.assign(built.others, config).filter(pl.col("split") == "train")
    kept, attrition = apply_rules(train, built.needed, "of train subjects, not in the cohort")
    row_id = pl.int_range(pl.len(), dtype=pl.UInt32) + built.rows.height
    return Others(kept.with_columns(row_id=row_id.cast(pl.UInt32), split=pl.lit(SPLIT)), attrition)


def write(rows: pl.DataFrame, cohort: pl.DataFrame, modalities: Sequence[str], folder: Path) -> None:
    """Write pretraining.parquet: the columns of cohort.parquet, without `split` and labels.

    Args:
        rows: the pre-training rows with `present/<modality>`.
        cohort: the rows of cohort.parquet, whose subjects keep their dense index.
        modalities: names.
        folder: of the cohort.
    """
    known = cohort.select("subject_id", "subject").unique()
    arranged = columns.arrange(rows, [], modalities).drop("split")
    new = arranged.select("subject_id").unique().join(known, on="subject_id", how="anti")
    numbered = new.with_columns(subject=columns.dense_index(pl.col("subject_id")) + known.height)
    subjects = pl.concat([known, numbered.cast({"subject": pl.UInt32})])
    joined = arranged.drop("subject").join(subjects, on="subject_id", maintain_order="left")
    joined.select(arranged.columns).write_parquet(folder / PRETRAINING)


def appended(rows: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Append the pre-training rows of a cohort, if it has any, to its rows.

    Args:
        rows: any columns of cohort.parquet.
        folder: of the cohort.

    Returns:
        The same columns; the appended rows have the split `SPLIT` and null labels.
    """
    path = folder / PRETRAINING
    if not path.is_file():
        return rows
    names = [name for name in rows.columns if name != "split" and not name.startswith(tuple(TASK_PREFIXES))]
    extra = pl.read_parquet(path, columns=names).with_columns(split=pl.lit(SPLIT))
    return pl.concat([rows, extra], how="diagonal")
