"""Images of a custom cohort: an index of files, which the image encoders read."""

from pathlib import Path

import polars as pl

from data_modules.cohorts import given
from data_modules.cohorts.build import MODALITIES
from data_modules.cohorts.columns import ContractError
from data_modules.features.store import BoolArray

SUFFIX = ""
"""The index of a custom cohort has whole file names."""


def read_images(path: Path, modality: str, column: str, present: BoolArray) -> tuple[pl.DataFrame, list[str]]:
    """Read the index of images; their files are only looked for.

    Args:
        path: of images.parquet.
        modality: its name.
        column: presence of the modality, for the message.
        present: (N,) bool of the cohort.

    Returns:
        The images of present rows, with the columns of a built cohort (`dicom_id` is the path as given, `file` the path
        below the cohort's folder, or an absolute one), and lines for the user.

    Raises:
        ContractError: if a column is missing or has another dtype, a time lies after the prediction, a present row has
            no image, or no file exists.
    """
    images = given.read_parquet(path)
    given.row_ids(images, path, len(present))
    given.require_text(images, path, "path")
    given.check_hours(images, path, required=False)
    if "view" in images.columns and images["view"].dtype.base_type() not in (
        pl.String,
        pl.Categorical,
        pl.Enum,
        pl.Null,
    ):
        raise ContractError(path, "view", 0, f"must be text, but is {images['view'].dtype}")
    own = given.of_present(images, path, column, present, "image").unique(["row_id", "path"], keep="first")
    missing = sum(not (path.parent / file).is_file() for file in own["path"].unique())
    if missing and missing == own["path"].n_unique():
        raise ContractError(path, "path", missing, f"no file exists; paths are absolute, or begin in {path.parent}")
    lines = [f"{modality}: {missing} of its image files do not exist"] if missing else []
    inside = pl.lit(f"{MODALITIES}/{modality}/")
    index = own.select(
        pl.col("row_id").cast(pl.UInt32),
        dicom_id="path",
        study_id=pl.lit(None, pl.Int64),
        view=(pl.col("view") if "view" in own.columns else pl.lit(None)).cast(pl.String),
        hours=(pl.col("hours") if "hours" in own.columns else pl.lit(None)).cast(pl.Float64),
        file=pl.when(pl.col("path").str.starts_with("/")).then("path").otherwise(inside + pl.col("path")),
    )
    return index, lines
