"""Rows of a cohort of MEDS data: a subject and a prediction time each, with labels and splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from data_modules.cohorts import columns, splits
from data_modules.cohorts.columns import LABEL, ContractError
from data_modules.cohorts.config import SplitConfig
from data_modules.databases.meds import tables
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.errors import UserError
from data_modules.raw.errors import SourceError

KEY = ("subject_id", "prediction_time")
SPLITS = {"train": "train", "tuning": "val", "held_out": "test"}
"""Split of MEDS -> split of a cohort."""


def read_rows(files: Mapping[str, Sequence[Path]]) -> pl.DataFrame:
    """Read the labels of some tasks; a row is a subject and a prediction time of any of them.

    Args:
        files: task -> its label files.

    Returns:
        `row_id` (UInt32), `subject_id` (Int64), `subject_key` (text), `prediction_at` (Datetime), and `label/<task>`,
        null where a task has no such row; sorted by subject and time.

    Raises:
        ContractError: if a key is null or repeats within a task.
        SourceError: if there is no row.
    """
    joined: pl.DataFrame | None = None
    for task, own in files.items():
        labels = tables.scan(own, tables.LABELS).collect()
        unknown = labels.filter(pl.any_horizontal(pl.col(KEY).is_null())).height
        if unknown:
            raise ContractError(own[0].parent, ", ".join(KEY), unknown, f"must be known in the labels of {task}")
        repeated = labels.height - labels.n_unique(KEY)
        if repeated:
            raise ContractError(own[0].parent, ", ".join(KEY), repeated, f"repeats in the labels of {task}")
        named = labels.rename({"boolean_value": LABEL + task})
        joined = named if joined is None else joined.join(named, on=KEY, how="full", coalesce=True)
    assert joined is not None, "there is a task"
    if joined.is_empty():
        raise SourceError(next(iter(files.values()))[0], "the labels have no row", "extract them again")
    rows = joined.sort(KEY).with_row_index("row_id").rename({"prediction_time": "prediction_at"})
    return rows.with_columns(subject_key=pl.col("subject_id").cast(pl.String))


def choose(found: Mapping[str, Sequence[Path]], chosen: Sequence[str], folder: Path) -> dict[str, Sequence[Path]]:
    """Select tasks.

    Args:
        found: task -> files.
        chosen: names; empty = all.
        folder: of the labels, for the message.

    Returns:
        The chosen ones, in that order.

    Raises:
        UserError: if there is no such task.
    """
    unknown = [task for task in chosen if task not in found]
    if unknown:
        raise UserError(f"cohort.tasks: {', '.join(unknown)} is not in {folder}, which has {', '.join(found)}")
    return {task: found[task] for task in chosen or found}


def assign(rows: pl.DataFrame, root: Path, config: MEDSCohortConfig) -> pl.DataFrame:
    """Add `split` and `fold`: drawn by a hash of the subject, or those of the data.

    Args:
        rows: of `read_rows`.
        root: of the data.
        config: of the cohort.

    Returns:
        The rows in their order.
    """
    given = given_splits(rows["subject_id"], root, config.split) if config.given_splits else None
    drawn = splits.draw(rows["subject_key"], config.split, given)
    placed = rows.join(drawn, left_on="subject_key", right_on="subject_id", maintain_order="left")
    return splits.calibrate_at_target(placed, "subject_key", config.split)


def given_splits(subject_ids: pl.Series, root: Path, config: SplitConfig) -> pl.DataFrame:
    """Read the splits of some subjects; of train, a share by hash is calibration, as in the drawn splits.

    Args:
        subject_ids: Int64, with repeats.
        root: of the data.
        config: fractions and salt.

    Returns:
        `subject_id` (text), `split`.

    Raises:
        SourceError: if the data have no splits.
        ContractError: if a subject has no split, or an unknown one.
    """
    path = root / tables.SPLITS
    if not path.is_file():
        raise SourceError(path, "this file is missing", "set cohort.given_splits=false to draw the splits")
    listed = tables.scan([path], tables.SUBJECTS).collect()
    own = subject_ids.unique().sort().to_frame("subject_id").join(listed, on="subject_id", how="left")
    lacking = own.filter(~pl.col("split").is_in(list(SPLITS)).fill_null(value=False)).height
    if lacking or own["subject_id"].n_unique() < own.height:
        raise ContractError(
            path, "split", lacking, f"must be one of {', '.join(SPLITS)}, one for each labelled subject"
        )
    share = config.calibration / (config.train + config.calibration) if config.train + config.calibration else 0.0
    keyed = own.select(pl.col("subject_id").cast(pl.String), pl.col("split").replace(SPLITS))
    position = [splits.unit_interval(name, f"{config.salt}/meds") for name in keyed["subject_id"]]
    held = (pl.col("split") == "train") & (pl.Series(position, dtype=pl.Float64) < share)
    return keyed.with_columns(split=pl.when(held).then(pl.lit("calibration")).otherwise("split"))


def finish(rows: pl.DataFrame, tasks: Sequence[str], modalities: Sequence[str]) -> pl.DataFrame:
    """Arrange the columns of cohort.parquet.

    Args:
        rows: with splits and presence.
        tasks: names.
        modalities: names.

    Returns:
        The columns of the contract.
    """
    return columns.arrange(rows.with_columns(subject_id="subject_key"), tasks, modalities)
