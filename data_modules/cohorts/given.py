"""Reads the files of a custom cohort; what other programs write against the contract is cast, counted or refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from data_modules.cohorts.columns import KEY_COLUMNS, LABEL, PRESENT, SPLIT_COLUMNS, VALUE, ContractError
from data_modules.cohorts.fitting import TEXT, Fitting, indicators
from data_modules.features.store import BoolArray
from data_modules.raw.errors import SourceError

IDS = {*KEY_COLUMNS, "hadm_id", "icustay_id", "patient_id", "uniquepid", "patientunitstayid"} - {"row_id"}
"""Names of identifiers, in lower case: no input."""
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")
"""Names that pandas gives to the index of a frame."""


class Inputs(NamedTuple):
    """The values of a modality, as they were given.

    Attributes:
        names: of the columns.
        row_id: (n,) int64, each once.
        values: (n, width), NaN = not measured.
        lines: for the user: what was left out.
    """

    names: list[str]
    row_id: Any
    values: Any
    lines: list[str]


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a parquet file.

    Returns:
        Its rows.

    Raises:
        SourceError: if it is missing or unreadable.
    """
    if not path.is_file():
        raise SourceError(path, "this file of the cohort contract is missing", "write it as docs/cohort.md shows")
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        raise SourceError(path, "this file is not readable as parquet", "write it again") from None


def cast_flags(frame: pl.DataFrame, place: Path) -> pl.DataFrame:
    """Cast labels and presence that are written as 0 and 1 to Boolean; NaN is null, in numbers to predict as well.

    Args:
        frame: the rows of cohort.parquet.
        place: for the message.

    Returns:
        The rows; columns of other dtypes as they were.

    Raises:
        ContractError: if such a column has another number.

    >>> rows = pl.DataFrame({"label/death": [0.0, float("nan")], "present/labs": [1, 0]})
    >>> cast_flags(rows, Path("mine")).rows()
    [(False, True), (None, False)]
    """
    flags = [name for name in frame.columns if name.startswith((LABEL, PRESENT)) and frame[name].dtype.is_numeric()]
    cast = []
    for name in flags:
        values = frame[name].fill_nan(None) if frame[name].dtype.is_float() else frame[name]
        others = int(((values != 0) & (values != 1)).sum())
        if others:
            raise ContractError(place, name, others, "must be Boolean, or 0 and 1")
        cast.append(values == 1)
    numbers = [name for name in frame.columns if name.startswith(VALUE) and frame[name].dtype.is_float()]
    return frame.with_columns(*cast, *(pl.col(name).fill_nan(None) for name in numbers))


def row_ids(table: pl.DataFrame, path: Path, num_rows: int) -> Any:
    """The row ids of a file.

    Args:
        table: with the column row_id.
        path: for the message.
        num_rows: of the cohort.

    Returns:
        (n,) int64.

    Raises:
        ContractError: if row_id is missing, null, no integer, or of no row of the cohort.
    """
    if "row_id" not in table.columns or not table["row_id"].dtype.is_integer() or table["row_id"].null_count():
        raise ContractError(path, "row_id", 0, "must exist, be integer and never null")
    outside = int((~table["row_id"].is_between(0, num_rows - 1)).sum())
    if outside:
        raise ContractError(path, "row_id", outside, f"must lie in 0 to {num_rows - 1}, the rows of cohort.parquet")
    return table["row_id"].cast(pl.Int64).to_numpy()


def read_table(path: Path, fitting: Fitting) -> Inputs:
    """Read a table of numbers and categories.

    Args:
        path: of table.parquet.
        fitting: of the modality: the levels of its text columns.

    Returns:
        Its values in float32, without identifiers and the index of pandas.

    Raises:
        ContractError: if a column is neither numeric nor text, is a label or presence, or a row occurs twice.
    """
    table = read_parquet(path)
    position = row_ids(table, path, len(fitting.present))
    repeated = len(position) - len(np.unique(position))
    if repeated:
        raise ContractError(path, "row_id", repeated, "each row must occur once")
    left_out = dict(_no_inputs(table.columns))
    kept = table.drop(*left_out)
    for name, dtype in kept.drop("row_id").schema.items():
        if name.startswith((LABEL, VALUE, PRESENT)) or name in SPLIT_COLUMNS:
            raise ContractError(path, name, 0, "is a column of cohort.parquet and no input; remove it")
        if not dtype.is_numeric() and dtype != pl.Boolean and dtype.base_type() not in TEXT:
            raise ContractError(path, name, 0, f"must be numeric or text, but is {dtype}")
    if kept.width == 1:
        raise ContractError(path, "<any>", 0, "there is no column besides row_id")
    named, rare = indicators(kept, fitting)
    values = named.drop("row_id")
    array = values.select(pl.all().cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    lines = [
        f"{fitting.modality}: column {name} of {path.name} is left out: it is {what}" for name, what in left_out.items()
    ]
    return Inputs(values.columns, position, array, [*lines, *rare])


def _no_inputs(names: list[str]) -> Iterator[tuple[str, str]]:
    """Names that are no measurements, and what they are."""
    for name in names:
        if _INDEX.fullmatch(name):
            yield name, "the index of a pandas frame"
        elif name.lower() in IDS:
            yield name, "an identifier"


def read_vectors(path: Path, num_rows: int) -> Inputs:
    """Read precomputed vectors; row i belongs to row_id i.

    Args:
        path: of vectors.npy.
        num_rows: of the cohort.

    Returns:
        The vectors, mapped from disk.

    Raises:
        SourceError: if the file is not an array of floats of that length.
    """
    values = _load(path)
    if values.ndim != 2 or values.shape[0] != num_rows or not np.issubdtype(values.dtype, np.floating):
        raise SourceError(
            path,
            f"has {values.dtype} of shape {values.shape}; expected floats of shape ({num_rows}, width), "
            "row i for row_id i",
            "write it again; rows without the modality may hold any values",
        )
    if not values.shape[1]:
        raise SourceError(path, f"has shape {values.shape}: its vectors have no component", "write it again")
    return Inputs([str(column) for column in range(values.shape[1])], np.arange(num_rows), values, [])


def _load(path: Path) -> Any:
    """Map an array from disk."""
    unreadable = SourceError(path, "this file is not a readable .npy array of numbers", "write it again")
    try:
        with path.open("rb") as handle:
            magic = handle.read(4)
        if magic == b"PK\x03\x04":
            raise SourceError(path, "this file is an .npz archive", "write one array with numpy.save")
        if magic == b"\x93NUM":
            return _map(path)
    except SourceError:
        raise
    except (ValueError, EOFError, OSError):
        raise unreadable from None
    raise unreadable


def _map(path: Path) -> Any:
    with path.open("rb") as handle:
        version = np.lib.format.read_magic(handle)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(handle)
    if 0 in shape:
        return np.empty(shape, dtype)  # an array without elements cannot be mapped
    return np.load(path, mmap_mode="r", allow_pickle=False)


def check_values(path: Path, column: str, values: Any, names: list[str], *, vectors: bool) -> int:
    """Refuse values that are infinite in float32, and vectors of NaN.

    Args:
        path: for the message.
        column: presence of the modality, for the message.
        values: (n, width) float32 of present rows.
        names: of the columns, for the message.
        vectors: whether a row of NaN is refused; in a table it means that nothing was measured.

    Returns:
        Number of rows of NaN.

    Raises:
        ContractError: with the number of rows.
    """
    infinite = np.isinf(values)
    if infinite.any():
        index = int(infinite.any(axis=0).argmax())
        rows = int(infinite[:, index].sum())
        place = f"component {index}" if vectors else names[index]
        rule = f"has infinite values, or numbers beyond float32, where {column} is True; write NaN or null instead"
        raise ContractError(path, place, rows, rule)
    empty = int(np.isnan(values).all(axis=1).sum())
    if vectors and empty:
        raise ContractError(path, column, empty, "is True, but every component of the vector is NaN")
    return empty


def require_text(frame: pl.DataFrame, path: Path, column: str) -> None:
    """Refuse a column of names that is missing, is no text, or has empty cells.

    Raises:
        ContractError: with the number of rows.
    """
    if column not in frame.columns or frame[column].dtype != pl.String:
        raise ContractError(path, column, 0, "must exist and be String")
    empty = frame.filter(~(pl.col(column).str.strip_chars() != "").fill_null(value=False)).height
    if empty:
        raise ContractError(path, column, empty, "must not be null or empty")


def check_hours(frame: pl.DataFrame, path: Path, *, required: bool) -> None:
    """Refuse times after the prediction.

    Args:
        frame: with the column `hours`, relative to the prediction, if there is one.
        path: for the message.
        required: whether the column must exist and be known in every row.

    Raises:
        ContractError: with the number of rows.

    >>> check_hours(pl.DataFrame({"hours": [-3.0, 2.0]}), Path("events.parquet"), required=True)
    Traceback (most recent call last):
    data_modules.cohorts.columns.ContractError: events.parquet: column 'hours' (1 rows): counts from the prediction, ...
    """
    if "hours" not in frame.columns:
        if required:
            raise ContractError(path, "hours", 0, "is missing")
        return
    if not frame["hours"].dtype.is_numeric() and (required or frame["hours"].dtype != pl.Null):
        raise ContractError(path, "hours", 0, f"must be numeric, but is {frame['hours'].dtype}")
    hours = pl.col("hours").cast(pl.Float64).fill_nan(None)
    unknown = frame.filter(hours.is_null()).height
    if required and unknown:
        raise ContractError(path, "hours", unknown, "must be known")
    infinite = frame.filter(hours.is_infinite()).height
    if infinite:
        raise ContractError(path, "hours", infinite, "must be finite")
    late = frame.filter(hours > 0).height
    if late:
        rule = "counts from the prediction, so that -3 is three hours before it; later ones were not known"
        raise ContractError(path, "hours", late, rule)


def of_present(frame: pl.DataFrame, path: Path, column: str, present: BoolArray, what: str) -> pl.DataFrame:
    """Keep the items of present rows.

    Args:
        frame: items with `row_id`.
        path: for the message.
        column: presence of the modality, for the message.
        present: (N,) bool of the cohort.
        what: an item, for the message.

    Returns:
        The items of present rows, in their order.

    Raises:
        ContractError: if a present row has none.
    """
    rows = np.flatnonzero(present)
    missing = int((~np.isin(rows, frame["row_id"].to_numpy())).sum())
    if missing:
        raise ContractError(path, column, missing, f"is True, but there is no {what}")
    return frame.filter(pl.col("row_id").is_in(rows))


def read_documents(path: Path, column: str, present: BoolArray) -> pl.DataFrame:
    """Read documents.

    Args:
        path: of documents.parquet.
        column: presence of the modality, for the message.
        present: (N,) bool of the cohort.

    Returns:
        The documents of present rows.

    Raises:
        ContractError: if a column is missing or has another dtype, a time lies after the prediction, or a present row
            has no document with text.
    """
    texts = read_parquet(path)
    if "text" not in texts.columns or texts["text"].dtype != pl.String:
        raise ContractError(path, "text", 0, "must exist and be String")
    row_ids(texts, path, len(present))
    check_hours(texts, path, required=False)
    filled = texts.filter(pl.col("text").str.strip_chars() != "")  # null is left out too
    return of_present(filled, path, column, present, "document with text")
