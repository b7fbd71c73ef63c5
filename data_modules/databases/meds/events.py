"""Events of MEDS data that were known at the prediction times of the rows.

An event is known from its time on; one without a time is a static fact, which was always known.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_modules.databases.meds import tables
from data_modules.databases.meds.concepts import Group

WINDOW = ("row_id", "subject_id", "prediction_at")
"""Columns of the rows that `link` reads."""


def keep(files: Sequence[Path], groups: Sequence[Group], rows: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Write the events of each group and of the cohort's subjects to a scratch file, streamed.

    Args:
        files: of the events.
        groups: the modalities.
        rows: with `subject_id`.
        folder: of the scratch files.

    Returns:
        Modality -> its file.
    """
    subjects = rows.select("subject_id").unique().lazy()
    events = tables.scan(files, tables.EVENTS, tables.OPTIONAL)
    paths = {}
    for group in groups:
        paths[group.name] = folder / f"{group.name}.parquet"
        own = events.filter(group.includes()).join(subjects, on="subject_id", how="semi")
        values = own if group.kind == "documents" else own.drop("text_value")
        values.sink_parquet(paths[group.name], compression="lz4")
    return paths


def link(events: pl.LazyFrame, rows: pl.DataFrame) -> pl.LazyFrame:
    """Link events to the rows of their subject at whose prediction time they were known.

    Args:
        events: `subject_id`, `time`, and any other columns.
        rows: `WINDOW`.

    Returns:
        The other columns, `row_id` and `hours` (relative to the prediction; null for a static fact).

    >>> from datetime import datetime as day
    >>> rows = pl.DataFrame({"row_id": [0, 1], "subject_id": 7, "prediction_at": [day(2150, 1, 2), day(2150, 1, 3)]})
    >>> events = pl.LazyFrame({"subject_id": 7, "time": [day(2150, 1, 2, 1), None], "code": ["LAB//1", "GENDER//F"]})
    >>> link(events, rows).select("row_id", "code", "hours").sort("row_id", "code").collect().rows()
    [(0, 'GENDER//F', None), (1, 'GENDER//F', None), (1, 'LAB//1', -23.0)]
    """
    subjects = rows["subject_id"]
    near = events.filter(pl.col("subject_id").is_between(subjects.min(), subjects.max()))
    joined = near.join(rows.select(WINDOW).lazy(), on="subject_id")
    known = pl.col("time").is_null() | (pl.col("time") <= pl.col("prediction_at"))
    hours = (pl.col("time") - pl.col("prediction_at")).dt.total_microseconds() / 3.6e9
    return joined.filter(known).with_columns(hours=hours).drop("subject_id", "time", "prediction_at")
