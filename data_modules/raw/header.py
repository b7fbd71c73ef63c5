"""The header of a CSV file, and what its first bytes show about the file."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from data_modules.raw.blocks import chunks
from data_modules.raw.errors import DOWNLOAD_AGAIN, SourceError
from data_modules.raw.schema import Table

LONGEST_HEADER = 100_000
SAMPLE = 1 << 20
"""Bytes that are read to find a header and a row."""


def read_header(file: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        SourceError: if the file is unreadable, damaged, not gzip despite its suffix, not text, has no rows, has lone CR
            line ends, or names two columns alike.
    """
    start = _start(file)
    line, _, rows = start.partition(b"\n")
    line = line.removesuffix(b"\r")
    if not line.strip():
        raise SourceError(file, "this file is empty and has no header", DOWNLOAD_AGAIN)
    if b"\r" in line and line[:LONGEST_HEADER].split(b"\r")[0].isascii():
        raise SourceError(
            file,
            "line 1 holds a carriage return (CR): the lines of this file end with CR, not with LF or CRLF",
            "convert its line ends to LF, for example with tr '\\r' '\\n'",
        )
    names = _names(file, line)
    if len(start) <= SAMPLE and not rows.strip():
        raise SourceError(file, "this table has a header but no rows", DOWNLOAD_AGAIN)
    return names


def _start(file: Path) -> bytes:
    """The header and the beginning of the first row, at most about `SAMPLE` bytes."""
    start = b""
    with closing(chunks(file)) as read:
        for chunk in read:
            start += chunk
            _, _, rows = start.partition(b"\n")
            if rows.strip() or len(start) > SAMPLE:
                break
    return start


def _names(file: Path, line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    if not text or len(line) > LONGEST_HEADER or text.count('"') % 2:
        raise SourceError(file, "this file is not a CSV text file", DOWNLOAD_AGAIN)
    names = next(csv.reader([text]))
    repeated = [name for name, count in Counter(map(_key, names)).items() if count > 1]
    if repeated:
        raise SourceError(
            file,
            f"line 1 names a column more than once: {', '.join(map(repr, repeated))}",
            "rename or remove the repeated columns, so that each name stands for one",
        )
    return names


def _key(name: str) -> str:
    return name.strip().lower()


def positions(table: Table, file: Path, header: Sequence[str], columns: Sequence[str]) -> Mapping[str, int]:
    """Find columns in a header, ignoring case.

    Args:
        table: declaration of the table.
        file: for the message.
        header: column names of the file.
        columns: declared names.

    Returns:
        Declared name -> position in the file.

    Raises:
        SourceError: if a column is missing, or the file is another table.
    """
    found = {_key(name): position for position, name in enumerate(header)}
    if not any(name.lower() in found for name in table.columns):
        raise SourceError(
            file,
            f"this file is not a CSV of {table.path}: its first line names none of the columns",
            DOWNLOAD_AGAIN,
        )
    for column in columns:
        if column.lower() not in found:
            near = get_close_matches(column.lower(), found, n=1)
            closest = f"; the closest name in the file is {header[found[near[0]]]!r}" if near else ""
            raise SourceError(
                file,
                f"column {column!r} is missing{closest}",
                f"restore the header of the release: {', '.join(table.columns)}",
            )
    return {column: found[column.lower()] for column in columns}
