"""Checks that the rows of a CSV block have the header's width and that its quotation marks are in pairs around fields.

polars accepts surplus and missing fields when columns are projected, and finds the end of a row by counting quotation
marks. A block that passes these checks reads the same in every CSV parser.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_modules.raw.errors import DOWNLOAD_AGAIN, SourceError

_NO_MARKS = bytes(set(range(256)) - set(b",\n"))
_BEFORE, _AFTER = (np.isin(np.arange(256), list(marks)) for marks in (b',\n"', b',\r\n"'))
"""Bytes that may stand before the quotation mark that opens a field, and after the one that closes it."""
_FIELD = re.compile(rb'(?:"[^"]*(?:""[^"]*)*"|[^",\r\n]*)(,|\r?\n|\Z)')
_BLANK_LINE = re.compile(rb"^[ \t]*\r?\n", re.MULTILINE)


class Block(NamedTuple):
    """Consecutive lines of a file.

    Attributes:
        text: their bytes, the last line end included.
        line: number of the first line in the file, from 1.
    """

    text: bytes
    line: int


class Row(NamedTuple):
    """A row of a block.

    Attributes:
        start: position of its first byte.
        end: position after its line end.
        width: number of fields.
    """

    start: int
    end: int
    width: int


def checked(file: Path, block: Block, width: int) -> bytes:
    """Return the rows of a block without blank lines, all of the same width.

    Args:
        file: for the message.
        block: whole rows.
        width: number of columns of the header.

    Returns:
        The bytes of the rows; empty if every line is blank.

    Raises:
        SourceError: at the first row of another width, or whose quotation marks are not in pairs around fields.
    """
    if _well_formed(block.text, width):
        return block.text
    if b'"' not in block.text:
        filled = _BLANK_LINE.sub(b"", block.text)
        if _well_formed(filled, width):
            return filled
    fault = first_fault(block, width)
    if fault is not None:
        raise SourceError(file, *fault)
    return b"".join(block.text[row.start : row.end] for row in _rows(block.text) if not _blank(block.text, row))


def _well_formed(text: bytes, width: int) -> bool:
    """Whether every row has the width, and no line is blank; vectorised, as every byte of a release passes here."""
    outside = text
    if b'"' in text:
        parts = text.split(b'"')
        outside = b'"'.join(parts[::2])
        if len(parts) % 2 == 0 or not _around_fields(outside):
            return False
    if b"\r" in outside and outside.count(b"\r") != outside.count(b"\r\n"):
        return False
    marks = outside.translate(None, _NO_MARKS)
    return marks == (b"," * (width - 1) + b"\n") * (len(marks) // width)


def _around_fields(outside: bytes) -> bool:
    """Whether every quoted part, of which one mark is left, begins and ends a field or continues one (`""`)."""
    codes = np.frombuffer(b"\n" + outside, np.uint8)
    at = np.flatnonzero(codes == ord('"'))
    return bool(at[-1] + 1 < len(codes) and _BEFORE[codes[at - 1]].all() and _AFTER[codes[at + 1]].all())


def _rows(text: bytes) -> Iterator[Row]:
    """Yield the rows of well-formed text; ends before the first row that is not, or does not end."""
    position, start, width = 0, 0, 0
    while match := _FIELD.match(text, position):
        position, width = match.end(), width + 1
        if match[1] == b"":
            return
        if match[1] != b",":
            yield Row(start, position, width)
            start, width = position, 0


def _blank(text: bytes, row: Row) -> bool:
    return not text[row.start : row.end].strip()


def first_fault(block: Block, width: int) -> tuple[str, str] | None:
    r"""Find the first row that cannot be read, and how to fix it.

    Args:
        block: lines that begin with a row.
        width: number of columns of the header.

    Returns:
        Problem, with the line, and remedy; None if nothing is wrong, or only the end of the last row is absent.

    >>> first_fault(Block(b"1,2\n3,4,5\n", line=2), width=2)[0]
    'line 3 has 3 fields, the header 2'
    >>> first_fault(Block(b'1,"two\nlines"\n3,4\n', line=2), width=2)
    """
    end = 0
    for row in _rows(block.text):
        if row.width != width and not _blank(block.text, row):
            line = line_at(block, row.start)
            problem = f"line {line} has {_fields(row.width)}, the header {width}"
            return problem, f"{DOWNLOAD_AGAIN}, or quote the fields of that line that hold commas or line ends"
        end = row.end
    return _fault_at(block, end)


def _fault_at(block: Block, start: int) -> tuple[str, str] | None:
    """The fault of the row that begins at a position and is not well-formed; None at the end of the text."""
    position = start
    while match := _FIELD.match(block.text, position):
        position = match.end()
        if match[1] == b"":
            return None
    line = line_at(block, position)
    field = block.text[position:]
    if re.match(rb'[^",\r\n]*\r', field) or re.match(rb'"[^"]*(?:""[^"]*)*"\r', field):
        problem = f"line {line} holds a carriage return (CR) that ends no line"
        return problem, "convert the line ends of the file to LF or CRLF, or quote the field that holds the CR"
    if field.startswith(b'"') and not re.match(rb'"[^"]*(?:""[^"]*)*"', field):
        problem = f"line {line} opens a quotation mark that is never closed"
        return problem, f"{DOWNLOAD_AGAIN}, or close the quotation mark"
    problem = f"line {line} has a quotation mark inside of a field"
    return problem, f"{DOWNLOAD_AGAIN}, or quote that field and double the quotation marks in it"


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def line_at(block: Block, position: int) -> int:
    """Number of the line of a position."""
    return block.line + block.text.count(b"\n", 0, position)


def line_of_row(block: Block, index: int) -> int:
    """Number of the line at which a row of a block begins; blank lines are not counted as rows."""
    filled = (row for row in _rows(block.text) if not _blank(block.text, row))
    return next(line_at(block, row.start) for number, row in enumerate(filled) if number == index)
