"""Chest radiographs of a row, as an index of files; encoders read the pictures later."""

from pathlib import Path

import polars as pl

IMAGES = "images.parquet"


def write(index: pl.LazyFrame, folder: Path) -> pl.Series:
    """Write the index into a folder and return the row ids that have any image."""
    folder.mkdir(parents=True)
    table = index.sort("row_id", "hours", "dicom_id").collect(engine="streaming")
    table.write_parquet(folder / IMAGES)
    return table["row_id"].unique().sort()
