"""The files of MEDS data: events, labels and splits of subjects, with their columns checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from data_modules.raw.errors import SourceError

DATA, SPLITS = "data", "metadata/subject_splits.parquet"
EVENTS: Mapping[str, pl.DataType] = {
    "subject_id": pl.Int64(),
    "time": pl.Datetime("us"),
    "code": pl.String(),
    "numeric_value": pl.Float64(),
    "text_value": pl.String(),
}
"""Columns of the data that are read; the two values may be missing. A null time is a static fact."""
LABELS: Mapping[str, pl.DataType] = {
    "subject_id": pl.Int64(),
    "prediction_time": pl.Datetime("us"),
    "boolean_value": pl.Boolean(),
}
"""Columns of a task's labels; labels of another kind (`integer_value`, ...) are not read."""
OPTIONAL = ("numeric_value", "text_value")
SUBJECTS: Mapping[str, pl.DataType] = {"subject_id": pl.Int64(), "split": pl.String()}
REMEDY = "see https://medical-event-data-standard.github.io for the schema, versions 0.3 and 0.4"


def event_files(root: Path) -> list[Path]:
    """The files of events, in order; a folder without any raises a `SourceError`.

    Returns:
        Every Parquet file below `data`.

    Raises:
        SourceError: if there is none.
    """
    files = parquet_below(root / DATA)
    if not files:
        raise SourceError(root / DATA, "there is no Parquet file of MEDS events", "set MEDS_ROOT to the folder above")
    return files


def parquet_below(folder: Path) -> list[Path]:
    """Every Parquet file below a folder, in order, hidden ones left out."""
    found = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def scan(files: Sequence[Path], columns: Mapping[str, pl.DataType], optional: Sequence[str] = ()) -> pl.LazyFrame:
    """Scan files with the same columns lazily; a column that is missing or of another dtype is a `SourceError`.

    Args:
        files: at least one Parquet file.
        columns: name -> dtype; other columns are not read.
        optional: columns that a file may lack; they are then null.

    Returns:
        The columns, cast.
    """
    return pl.concat([_scan(file, columns, optional) for file in files])


def _scan(file: Path, columns: Mapping[str, pl.DataType], optional: Sequence[str]) -> pl.LazyFrame:
    try:
        schema = pl.read_parquet_schema(file)
    except (pl.exceptions.PolarsError, OSError):
        raise SourceError(file, "this file is not readable as Parquet", "write it again") from None
    chosen = []
    for name, dtype in columns.items():
        found = schema.get(name)
        if found is None and name not in optional:
            raise SourceError(file, f"column {name!r} is missing, found {', '.join(schema)}", REMEDY)
        if found is not None and not _fits(found, dtype):
            raise SourceError(file, f"column {name!r} is {found}, expected {dtype}", REMEDY)
        chosen.append((pl.lit(None) if found is None else pl.col(name)).cast(dtype).alias(name))
    return pl.scan_parquet(file).select(chosen)


def _fits(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether values of a dtype become the wanted one without loss of meaning; times have no zone."""
    if isinstance(found, pl.Null):
        return True
    if isinstance(wanted, pl.Int64):
        return found.is_integer()
    if isinstance(wanted, pl.Float64):
        return found.is_numeric()
    if isinstance(wanted, pl.String):
        return found.base_type() in {pl.String, pl.Categorical, pl.Enum}
    if isinstance(wanted, pl.Datetime):
        return isinstance(found, pl.Date) or (isinstance(found, pl.Datetime) and found.time_zone is None)
    return found == wanted


def label_files(folder: Path) -> dict[str, list[Path]]:
    """Task -> its files: `<task>.parquet`, or all Parquet files below `<task>/`.

    Returns:
        The tasks, in alphabetical order.

    Raises:
        SourceError: if there is none, or a task has both.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    found: dict[str, list[Path]] = {}
    for entry in entries:
        task = entry.name.removesuffix(".parquet")
        files = parquet_below(entry) if entry.is_dir() else [entry] * entry.name.endswith(".parquet")
        if entry.name.startswith(".") or not files:
            continue
        if task in found:
            raise SourceError(entry, f"task {task} has a folder and a file", "keep one of them")
        found[task] = files
    if not found:
        raise SourceError(
            folder, "there are no labels", "set cohort.labels to a folder with <task>.parquet or <task>/*.parquet"
        )
    return found
