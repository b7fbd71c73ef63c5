"""Images of a row as an index of files, which encoders read later."""

from pathlib import Path

import polars as pl

IMAGES = "images.parquet"


def write(index: pl.LazyFrame, folder: Path) -> pl.Series:
    """Write the image index into a folder; returns the row ids with an image, ascending."""
    folder.mkdir(parents=True)
    table = index.sort("row_id", "hours", "dicom_id").collect(engine="streaming")
    table.write_parquet(folder / IMAGES)
    return table["row_id"].unique().sort()
