"""Chest radiographs of MIMIC-CXR that were taken by the prediction time."""

import polars as pl

from data_modules.databases.mimic_iv.linking import link
from data_modules.raw.reader import Release

COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")


def taken_at() -> pl.Expr:
    """The time of a image from its date (YYYYMMDD) and its time (HHMMSS.fff without leading zeros)."""
    digits = pl.col("StudyTime").cast(pl.Int64).cast(pl.String).str.zfill(6)
    text = pl.col("StudyDate").cast(pl.String) + digits
    return text.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False).alias("taken_at")


def file_name() -> pl.Expr:
    """Path of a image inside the release, without its ending: `files/p10/p10000032/s50414267/<dicom_id>`."""
    subject = pl.col("subject_id").cast(pl.String)
    return pl.format(
        "files/p{}/p{}/s{}/{}", subject.str.slice(0, 2), subject, pl.col("study_id"), pl.col("dicom_id")
    ).alias("file")


def linked(release: Release, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Images taken during the admission of a row, by the landmark.

    Images carry no hadm_id, so all of them are linked by subject and time (see `linking`).

    Returns:
        `row_id`, `dicom_id`, `study_id`, `view`, `hours` (to the landmark), `file`.
    """
    scanned = release.scan("cxr_metadata", COLUMNS).with_columns(taken_at(), hadm_id=pl.lit(None, pl.Int64))
    linked = link(scanned, windows, at="taken_at")
    hours = (pl.col("taken_at") - pl.col("landmark_at")).dt.total_seconds() / 3600
    return linked.select(
        "row_id",
        "dicom_id",
        "study_id",
        pl.col("ViewPosition").alias("view"),
        hours.alias("hours"),
        file_name(),
    )
