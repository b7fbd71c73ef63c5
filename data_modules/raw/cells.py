"""Parses the cells of CSV blocks into declared dtypes, and finds those that do not parse, without showing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
FORMATS = {
    pl.Datetime: ("%Y-%m-%d %H:%M:%S%.f", r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?) ?(?:Z|UTC|[+-]00:?00)?$"),
    pl.Date: ("%Y-%m-%d", r"^(\d{4}-\d\d-\d\d)([T ]00:00:00(?:\.0+)?) ?(?:Z|UTC|[+-]00:?00)?$"),
}
"""Format of the release, and the ISO 8601 forms that programs write instead; a zone other than UTC is none of them."""
MEANT = {
    pl.Datetime: "YYYY-MM-DD HH:MM:SS (a T between date and time, and a final Z or UTC, are read too)",
    pl.Date: "YYYY-MM-DD",
}
"""The accepted formats, for messages."""

REPLACEMENT = "\ufffd"


class UnparsableError(Exception):
    """A cell does not parse as the dtype of its column; raised without its text."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file that are read.

    Attributes:
        width: number of columns of the file.
        positions: name -> position in the file.
        dtypes: name -> dtype.
    """

    width: int
    positions: Mapping[str, int]
    dtypes: Mapping[str, pl.DataType]

    def temporal(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are times or dates."""
        return [name for name in names if self.dtypes[name].base_type() in FORMATS]

    def schema(self, typed: bool) -> dict[str, pl.DataType]:
        """Schema of every column of the file for polars: numbers if `typed`, and text."""
        schema: dict[str, pl.DataType] = {f"column {position}": pl.String() for position in range(self.width)}
        names = {position: name for name, position in self.positions.items()}
        return {
            names.get(position, column): self._written(names.get(position)) if typed else text
            for position, (column, text) in enumerate(schema.items())
        }

    def _written(self, name: str | None) -> pl.DataType:
        is_number = name is not None and self.dtypes[name].is_numeric()
        return self.dtypes[name] if name is not None and is_number else pl.String()


def parse(text: bytes, columns: Columns, names: Sequence[str]) -> pl.DataFrame:
    """Parse the numbers of rows; empty text and NaN are null, and times stay text.

    Args:
        text: rows of the width of the header.
        columns: of the file.
        names: the columns to return.

    Returns:
        One row per row.

    Raises:
        UnparsableError: if a cell is no number, infinite, or no UTF-8 text.
    """
    try:
        frame = _read(text, columns, names)
    except pl.exceptions.PolarsError:
        if _is_utf8(text):
            raise UnparsableError from None
        frame = _read_replaced(text, columns, names)
    if any(cells.is_infinite().any() for cells in frame.select(cs.float()).get_columns()):
        raise UnparsableError
    return frame


def _read(text: bytes, columns: Columns, names: Sequence[str]) -> pl.DataFrame:
    schema = columns.schema(typed=True)
    filled = [_filled(pl.col(name), schema[name]) for name in names]
    return _scan(text, schema).select(filled).collect(engine="in-memory")


def _read_replaced(text: bytes, columns: Columns, names: Sequence[str]) -> pl.DataFrame:
    """Read text that is not UTF-8 in columns that are not read; polars alone would refuse it in any column."""
    try:
        frame = _read(_replaced(text), columns, names)
    except pl.exceptions.PolarsError:
        raise UnparsableError from None
    if any(cells.str.contains(REPLACEMENT, literal=True).any() for cells in frame.select(cs.string()).get_columns()):
        raise UnparsableError
    return frame


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _replaced(text: bytes) -> bytes:
    """Bytes with `REPLACEMENT` in place of those that are not UTF-8."""
    return text.decode(errors="replace").encode()


def _scan(text: bytes, schema: Mapping[str, pl.DataType], **options: Any) -> pl.LazyFrame:
    return pl.scan_csv(text, has_header=False, schema=dict(schema), **options)


def _filled(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_float():
        return column.fill_nan(None)
    return pl.when(column != "").then(column) if dtype == pl.String else column


def parse_times(frame: pl.DataFrame, columns: Columns, names: Sequence[str]) -> pl.DataFrame:
    """Parse the times among some columns of a frame.

    Returns:
        The frame, with times in place of text.

    Raises:
        UnparsableError: if a cell is in none of the accepted formats.
    """
    parsed = [_times(frame[name], columns.dtypes[name]) for name in columns.temporal(names)]
    if any(series.null_count() > frame[series.name].null_count() for series in parsed):
        raise UnparsableError
    return frame.with_columns(parsed)


def _times(text: pl.Series, dtype: Any) -> pl.Series:
    """Times or dates; null where text is in none of the accepted formats."""
    usual, iso = FORMATS[dtype.base_type()]
    try:
        return text.str.strptime(dtype, usual, strict=True)
    except pl.exceptions.PolarsError:
        form = "$1 $2" if dtype == pl.Datetime else "$1"
        return text.str.replace(iso, form).str.strptime(dtype, usual, strict=False)


def failures(rows: bytes, columns: Columns, names: Sequence[str]) -> dict[str, BoolArray]:
    """Where cells do not parse.

    Args:
        rows: rows of the width of the header.
        columns: of the file.
        names: the columns to examine.

    Returns:
        Name -> bool of one value per row.
    """
    is_utf8 = _is_utf8(rows)
    text, typed = (
        _scan(_replaced(rows), columns.schema(typed=typed), ignore_errors=True).select(names).collect()
        for typed in (False, True)
    )
    filled = {name: (text[name] != "").fill_null(value=False) for name in names}
    fails = {name: _fails(text[name], typed[name], columns.dtypes[name], is_utf8) for name in names}
    return {name: (filled[name] & fails[name].fill_null(value=False)).to_numpy() for name in names}


def _fails(text: pl.Series, typed: pl.Series, dtype: pl.DataType, is_utf8: bool) -> pl.Series:
    """Where filled cells do not parse; an empty cell may have any value."""
    if dtype == pl.String:
        return text.str.contains(REPLACEMENT, literal=True) & (not is_utf8)
    if dtype.is_float():
        return typed.is_null() | typed.is_infinite()
    return typed.is_null() if dtype.is_numeric() else _times(text, dtype).is_null()
