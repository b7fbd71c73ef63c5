"""Notes of MIMIC-IV-Note that were stored by the time of the prediction."""

import polars as pl

from data_modules.databases.mimic_iv.events import scratch
from data_modules.databases.mimic_iv.linking import link
from data_modules.features.modality import BuildContext

KEYS = ("note_id", "subject_id", "hadm_id", "charttime", "storetime")


def available_at() -> pl.Expr:
    """Return the time from which a note is available: its storetime, else its charttime.

    A charttime at midnight is a date without a time; such a note counts as available at the end of the day.

    >>> from datetime import datetime as day
    >>> times = {"charttime": [day(2150, 1, 1), day(2150, 1, 1, 8)], "storetime": [None, day(2150, 1, 1, 9)]}
    >>> [str(time) for time in pl.DataFrame(times).select(available_at()).to_series()]
    ['2150-01-02 00:00:00', '2150-01-01 09:00:00']
    """
    midnight = pl.col("charttime").dt.time() == pl.time(0, 0, 0)
    dated = pl.when(midnight).then(pl.col("charttime") + pl.duration(days=1)).otherwise(pl.col("charttime"))
    return pl.coalesce("storetime", dated).alias("available_at")


def known(context: BuildContext, table: str, windows: pl.DataFrame, *, own_admission_only: bool) -> pl.LazyFrame:
    """Link notes that were available by the landmark to rows.

    Args:
        context: release and rows.
        table: `discharge_notes` or `radiology_notes`.
        windows: see `linking.link`; `landmark_at` may include a grace.
        own_admission_only: keep only notes recorded with the hadm_id of the row.

    Returns:
        `row_id`, `note_id`, `hours` (relative to the landmark), unsorted.
    """
    found = pl.scan_parquet(scratch(context, table, KEYS, "charttime", filled="text"))
    if own_admission_only:
        found = found.filter(pl.col("hadm_id").is_not_null())
    linked = link(found.with_columns(available_at()), windows.lazy(), at="charttime", available="available_at")
    hours = (pl.col("available_at") - pl.col("landmark_at")).dt.total_seconds() / 3600
    return linked.select("row_id", "note_id", hours=hours)


def texts(context: BuildContext, table: str, known: pl.LazyFrame) -> pl.LazyFrame:
    """Add the texts of known notes.

    Args:
        context: release and rows.
        table: see `known`.
        known: result of `known`.

    Returns:
        `row_id`, `document_id`, `hours`, `text`, unsorted.
    """
    keys = known.collect(engine="streaming").lazy()
    written = context.release.scan(table, ["note_id", "text"])
    return written.join(keys, on="note_id").select("row_id", "hours", "text", document_id="note_id")
