"""Small CSV files with faults at random places: read as Python's csv module reads them, or refused by file and line."""

import csv
import gzip
import io
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release
from data_modules.raw.schema import ReleaseSchema, Table, parse_columns

COLUMNS = parse_columns("id:int name:str seen_at:datetime value:float comment:str born_on:date")
READ = ["id", "name", "seen_at", "value", "born_on"]
"""All but `comment`, which is not read."""
SCHEMA = ReleaseSchema(
    name="made_up",
    root_setting=("paths.roots.made_up", "MADE_UP_ROOT"),
    tables={"table": Table(name="table", project="made_up", path="table", columns=COLUMNS)},
)
FAULTS = ("surplus", "short", "cr", "cut", "duplicate", "byte", "quote", "blank", "move")
TEXTS = st.text(st.sampled_from('ab ,"\né1'), max_size=6)
TIMES = ("", "2150-01-02 03:04:05", "2150-01-02T03:04:05", "2150-01-02 03:04:05 UTC", "2150-01-02T03:04:05Z", "soon")
ROWS = st.tuples(
    st.integers(0, 99).map(str),
    TEXTS,
    st.sampled_from(TIMES),
    st.sampled_from(["", "1.5", "-2", "nan", " 7 ", "x"]),
    TEXTS,
    st.sampled_from(["", "2150-01-02"]),
)


class RefusedError(Exception):
    """The reference cannot read a file either."""


def reference(content: bytes) -> list[tuple[Any, ...]]:
    """Read a file slowly and strictly."""
    if not content.endswith(b"\n"):
        raise RefusedError
    text = content.decode(errors="replace")
    outside = "".join(text.split('"')[::2])
    if "\r" in outside.replace("\r\n", "\n"):
        raise RefusedError
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise RefusedError from error
    rows = [row for row in rows if "".join(row).strip() or len(row) > 1]
    if set(READ) - set(header) or "\ufffd" in "".join(header):
        raise RefusedError
    if len(set(header)) < len(header) or not rows or any(len(row) != len(header) for row in rows):
        raise RefusedError
    return [tuple(value(row[header.index(name)], COLUMNS[name]) for name in READ) for row in rows]


def value(cell: str, dtype: pl.DataType) -> Any:
    """Parse a cell."""
    if "\ufffd" in cell:
        raise RefusedError
    if cell == "" or (dtype.is_float() and cell == "nan"):
        return None
    try:
        if dtype == pl.Datetime:
            return datetime.strptime(re.sub(r" ?(Z|UTC)$", "", cell).replace("T", " "), "%Y-%m-%d %H:%M:%S")
        if dtype == pl.Date:
            return datetime.strptime(cell, "%Y-%m-%d").date()
        if dtype.is_numeric() and cell != cell.strip():
            raise RefusedError
        return int(cell) if dtype.is_integer() else float(cell) if dtype.is_float() else cell
    except ValueError as error:
        raise RefusedError from error


def damaged(content: bytes, fault: str, at: int) -> bytes:
    """Write a fault into a file, near a position."""
    lines = content.split(b"\n")
    line = at % len(lines)
    if fault == "surplus":
        lines[line] += b",8"
    elif fault == "short":
        lines[line] = lines[line].rpartition(b",")[0]
    elif fault == "duplicate":
        lines[0] = lines[0].replace(b"comment", b"name")
    elif fault == "blank":
        lines.insert(line, b"")
    elif fault == "move":
        lines[line] = lines[line].replace(b",", b"", 1) + b","
    place = at % (len(content) + 1)
    return {
        "cr": content.replace(b"\n", b"\r") if at % 2 else content.replace(b"\n", b"\r\n"),
        "cut": content[:place],
        "byte": content[:place] + b"\xff" + content[place:],
        "quote": content[:place] + b'"' + content[place:],
    }.get(fault, b"\n".join(lines))


def answered(file: Path) -> tuple[list[tuple[Any, ...]] | None, str]:
    """The rows that the reader returns, or None and its refusal."""
    release = Release(SCHEMA, [file.parent])
    try:
        with release.explained():
            return release.scan("table", READ).collect().rows(), ""
    except SourceError as error:
        return None, str(error)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=6),
    faults=st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 400)), max_size=2),
    zipped=st.booleans(),
)
@example(rows=[("1", "a", TIMES[1], "1.5", "", "")] * 3, faults=[("surplus", 2), ("short", 3)], zipped=False)
@example(rows=[("1", "a", TIMES[2], "1.5", "a,b", "")] * 3, faults=[("byte", 76)], zipped=True)
def test_a_file_is_read_as_python_reads_it_or_refused_by_file_and_line(rows, faults, zipped) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows([list(COLUMNS), *rows])
    content = written.getvalue().encode()
    for fault, at in faults:
        content = damaged(content, fault, at)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("table.csv.gz" if zipped else "table.csv")
        file.write_bytes(gzip.compress(content, 1) if zipped else content)
        found, refusal = answered(file)
    try:
        expected = reference(content)
    except RefusedError:
        expected = None
    assert found == expected, refusal
    if expected is None:
        lines = r"line \d+|this table has a header but no rows|this file is |column '\w+' is missing"
        assert refusal.startswith(f"{file}: ")
        assert re.search(lines, refusal), refusal
