"""Discharge summaries and radiology reports of a row, as texts; encoders read them later."""

from pathlib import Path

import polars as pl

DOCUMENTS = "documents.parquet"
ORDER = ("row_id", "hours", "document_id")
"""Columns that order the documents of a cohort, as far as they are there."""
ROW_GROUP = 256
"""Documents that are written, and so read, together: memory must not hold many long notes."""


def write(documents: pl.LazyFrame, folder: Path) -> pl.Series:
    """Stream documents into a folder and return the row ids that have any."""
    folder.mkdir(parents=True)
    documents.sink_parquet(folder / DOCUMENTS, row_group_size=ROW_GROUP)
    return pl.scan_parquet(folder / DOCUMENTS).select("row_id").unique().sort("row_id").collect()["row_id"]
