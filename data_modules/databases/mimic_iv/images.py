"""Chest radiographs of MIMIC-CXR that were taken by the landmark."""

import polars as pl

from data_modules.databases.mimic_iv.linking import link
from data_modules.raw.reader import Release

COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")


def taken_at() -> pl.Expr:
    """Return the time of an image from StudyDate (YYYYMMDD) and StudyTime (HHMMSS.fff without leading zeros).

    >>> pl.DataFrame({"StudyDate": [21500102], "StudyTime": [90507.25]}).select(taken_at()).item()
    datetime.datetime(2150, 1, 2, 9, 5, 7)
    """
    digits = pl.col("StudyTime").cast(pl.Int64).cast(pl.String).str.zfill(6)
    text = pl.col("StudyDate").cast(pl.String) + digits
    return text.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False).alias("taken_at")


def file_name() -> pl.Expr:
    """Return the path of an image within the release, without its suffix.

    >>> frame = pl.DataFrame({"subject_id": [10000032], "study_id": [50414267], "dicom_id": ["02aa804e"]})
    >>> frame.select(file_name()).item()
    'files/p10/p10000032/s50414267/02aa804e'
    """
    subject = pl.col("subject_id").cast(pl.String)
    return pl.format(
        "files/p{}/p{}/s{}/{}", subject.str.slice(0, 2), subject, pl.col("study_id"), pl.col("dicom_id")
    ).alias("file")


def linked(release: Release, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Link images to the rows in whose admission they were taken by the landmark.

    Images have no hadm_id, so all are linked by subject and time (see `linking`).

    Returns:
        `row_id`, `dicom_id`, `study_id`, `view`, `hours` (relative to the landmark), `file`.
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
