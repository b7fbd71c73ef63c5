"""Reads a CSV file, gzip or plain, as blocks of whole rows.

Every table is read through this file, so that one place decides where a row ends, and polars receives whole rows only.
"""

import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_modules.raw.errors import DOWNLOAD_AGAIN, SourceError
from data_modules.raw.shape import Block, first_fault, line_at

CHUNK = 1 << 21
"""Bytes of a plain file that are checked and parsed at once: about the cache of a core."""
COMPRESSED = 1 << 18
LONGEST_ROW = 1 << 24
"""Bytes of the longest row; the longest note has a hundredth of them."""
_GZIP = 31
"""zlib's code for a gzip header and trailer; zlib verifies the CRC-32 of the trailer."""


def blocks(file: Path, width: int) -> Iterator[Block]:
    """Yield the rows of a file without its header, in order; the next ones are read while these are used.

    Args:
        file: a .csv or .csv.gz file, whose header is its first line.
        width: number of columns, to describe a row that does not end.

    Yields:
        Blocks of at least one line.

    Raises:
        SourceError: if the file cannot be read, or its last row does not end.
    """
    rest, line = b"", 1
    for chunk in _ahead(chunks(file)):
        text = rest + chunk
        end = _end_of_rows(text)
        if not end and len(text) > LONGEST_ROW:
            raise SourceError(file, *_unended(Block(text, line), width))
        rest = text[end:]
        if end:
            start = text.index(b"\n") + 1 if line == 1 else 0
            block = Block(text[start:end], line + (line == 1))
            if block.text:
                yield block
            line = block.line + _count(block.text, b"\n")
    if rest:
        raise SourceError(file, *_unended(Block(rest, line), width))


def _end_of_rows(text: bytes) -> int:
    """Position after the last line end outside of quotation marks; 0 without one."""
    end = text.rfind(b"\n") + 1
    odd = _count(text[:end], b'"') % 2 if b'"' in text else 0
    while end and odd:
        before = text.rfind(b"\n", 0, end - 1) + 1
        odd = (odd - text.count(b'"', before, end)) % 2
        end = before
    return end


def _count(text: bytes, byte: bytes) -> int:
    """Number of times a byte occurs; several times faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(byte)))


def _unended(block: Block, width: int) -> tuple[str, str]:
    """Problem and remedy of bytes that begin a row and do not end it."""
    cut = (
        f"line {line_at(block, len(block.text))}, the last, has no line end: the file was cut there",
        f"{DOWNLOAD_AGAIN}; if that row is complete, add a line end to it",
    )
    return first_fault(block, width) or cut


def _ahead(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Read the next chunk in a thread while one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(next, chunks, b"")
        while chunk := pending.result():
            pending = pool.submit(next, chunks, b"")
            yield chunk


def chunks(file: Path) -> Generator[bytes]:
    """Yield the content of a file, decompressed; no chunk is empty.

    Raises:
        SourceError: if it cannot be read, is damaged, or is not gzip despite its name.
    """
    try:
        with file.open("rb") as handle:
            compressed = file.suffix.lower() == ".gz"
            yield from _inflate(file, handle) if compressed else iter(lambda: handle.read(CHUNK), b"")
    except OSError as error:
        problem = f"this file cannot be read ({error.strerror or error})"
        raise SourceError(file, problem, "give yourself read permission on it") from error


def _inflate(file: Path, handle: BinaryIO) -> Iterator[bytes]:
    """Decompress the members of a gzip file, and verify them."""
    magic = handle.read(2)
    if magic and magic != b"\x1f\x8b":
        raise SourceError(file, "this file is not gzip, although its name ends in .gz", DOWNLOAD_AGAIN)
    handle.seek(0)
    inflater = zlib.decompressobj(_GZIP)
    try:
        for read in iter(lambda: handle.read(COMPRESSED), b""):
            data = read
            while data:
                if inflater.eof:
                    data = data.lstrip(b"\0")  # some programs fill the last block with zeros
                    if not data:
                        break
                    inflater = zlib.decompressobj(_GZIP)
                part = inflater.decompress(data, 2 * CHUNK)
                data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                if part:
                    yield part
        while magic and not inflater.eof:
            part = inflater.decompress(b"", 2 * CHUNK)
            if not part:
                raise SourceError(file, "the gzip stream is truncated: unexpected end of file", DOWNLOAD_AGAIN)
            yield part
    except zlib.error:
        raise SourceError(file, "the gzip stream is truncated or damaged", DOWNLOAD_AGAIN) from None
