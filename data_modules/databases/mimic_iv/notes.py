"""Notes of MIMIC-IV-Note that were stored by the prediction time."""

import polars as pl

from data_modules.databases.mimic_iv.linking import link
from data_modules.raw.reader import Release

COLUMNS = ("note_id", "subject_id", "hadm_id", "charttime", "storetime", "text")


def available_at() -> pl.Expr:
    """When a note could be read: when it was stored, else when it was charted.

    A charttime at midnight is a date without an hour; such a note is taken as available when that day ends.
    """
    midnight = pl.col("charttime").dt.time() == pl.time(0, 0, 0)
    dated = pl.when(midnight).then(pl.col("charttime") + pl.duration(days=1)).otherwise(pl.col("charttime"))
    return pl.coalesce("storetime", dated).alias("available_at")


def notes(release: Release, table: str, windows: pl.LazyFrame, *, own_admission_only: bool) -> pl.LazyFrame:
    """Notes of the rows that could be read at the landmark.

    Args:
        release: where the table lies.
        table: `discharge_notes` or `radiology_notes`.
        windows: see `linking.link`; `landmark_at` may hold a grace.
        own_admission_only: keep only notes that carry the hadm_id of the row.

    Returns:
        `row_id`, `document_id`, `hours` (to the landmark), `text`, in no order; readers sort by row, hours and id.
    """
    texts = release.scan(table, COLUMNS).filter(pl.col("text").is_not_null())
    if own_admission_only:
        texts = texts.filter(pl.col("hadm_id").is_not_null())
    linked = link(texts.with_columns(available_at()), windows, at="charttime", available="available_at")
    hours = (pl.col("available_at") - pl.col("landmark_at")).dt.total_seconds() / 3600
    return linked.select("row_id", pl.col("note_id").alias("document_id"), hours.alias("hours"), "text")
