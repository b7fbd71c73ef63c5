"""One CSV file as a lazy frame: checked block by block while it is read, and refused by file, line and column."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from data_modules.raw import cells
from data_modules.raw.blocks import blocks
from data_modules.raw.cells import Columns, UnparsableError
from data_modules.raw.errors import DOWNLOAD_AGAIN, SourceError
from data_modules.raw.shape import Block, checked, line_of_row

ENOUGH, MOST = 1 << 22, 64
"""Bytes that are handed over at once, and blocks that are held until there are so many."""


@dataclass(frozen=True)
class Source:
    """Columns of a CSV file.

    Attributes:
        file: a .csv or .csv.gz file.
        columns: those that are read.
        began: called when a scan begins to read.
    """

    file: Path
    columns: Columns
    began: Callable[[], None]

    def scan(self) -> pl.LazyFrame:
        """The columns with their dtypes; a row that a filter on other columns drops has its times not parsed."""
        return register_io_source(
            lambda *given: _joined(self._frames(*given)), schema=dict(self.columns.dtypes), is_pure=True
        )

    def _frames(
        self, wanted: list[str] | None, keep: pl.Expr | None, num_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of the file; the arguments are those of `register_io_source`."""
        self.began()
        names = list(self.columns.dtypes) if wanted is None else wanted
        found = 0
        for _, rows in self._blocks():
            try:
                frame = self._frame(rows, names, keep)
            except UnparsableError:
                raise self._cause(self._read(names, keep)) from None
            found += 1
            if num_rows is not None:
                frame = frame.head(num_rows)
                num_rows -= frame.height
            yield frame
            if num_rows == 0:
                return
        if not found:
            raise SourceError(self.file, "this table has a header but no rows", DOWNLOAD_AGAIN)

    def _blocks(self) -> Iterator[tuple[Block, bytes]]:
        """The blocks that have a row, and their checked rows."""
        for block in blocks(self.file, self.columns.width):
            rows = checked(self.file, block, self.columns.width)
            if rows:
                yield block, rows

    def _frame(self, rows: bytes, names: Sequence[str], keep: pl.Expr | None) -> pl.DataFrame:
        """Parse and filter; times that the filter does not read are parsed last, as it drops most events."""
        tested = _tested(keep)
        frame = cells.parse(rows, self.columns, self._read(names, keep))
        frame = cells.parse_times(frame, self.columns, [name for name in frame.columns if name in tested])
        if keep is not None:
            frame = frame.filter(keep)
        return cells.parse_times(frame.select(names), self.columns, [name for name in names if name not in tested])

    def _read(self, names: Sequence[str], keep: pl.Expr | None) -> list[str]:
        """The wanted columns and those of a filter."""
        return [name for name in self.columns.dtypes if name in {*names, *_tested(keep)}]

    def _cause(self, names: Sequence[str]) -> SourceError:
        """The error of cells that do not parse, from a second pass that counts them; no cell is shown."""
        counts, first, num_rows = dict.fromkeys(names, 0), dict.fromkeys(names, 0), 0
        for block, rows in self._blocks():
            failing = cells.failures(rows, self.columns, names)
            num_rows += len(failing[names[0]])
            for name, fails in failing.items():
                if fails.any() and not counts[name]:
                    first[name] = line_of_row(block, int(np.argmax(fails)))
                counts[name] += int(fails.sum())
        column = next((name for name, count in counts.items() if count), None)
        assert column is not None, f"{self.file}: a block does not parse, but each of its cells does"
        dtype = self.columns.dtypes[column]
        held = f"column {column!r} holds {counts[column]} of {num_rows} values that are not {_meaning(dtype)}"
        return SourceError(self.file, f"{held} (the first in line {first[column]})", _remedy(dtype))


def _joined(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Join the frames of which a filter left little: what follows takes as long for a few rows as for thousands."""
    held: list[pl.DataFrame] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += int(frame.estimated_size())
        if size >= ENOUGH or len(held) == MOST:
            yield pl.concat(held)
            held, size = [], 0
    if held:
        yield pl.concat(held)


def _tested(keep: pl.Expr | None) -> list[str]:
    """The columns that a filter reads."""
    return [] if keep is None else keep.meta.root_names()


def _meaning(dtype: pl.DataType) -> str:
    return "text in UTF-8" if dtype == pl.String else str(dtype)


def _remedy(dtype: pl.DataType) -> str:
    if dtype == pl.String:
        return "convert the file to UTF-8, for example with iconv, or download it again"
    if not dtype.is_numeric():
        meant = cells.MEANT[dtype.base_type()]
        return f"fix these cells, or empty those whose value is unknown; the format is {meant}"
    return "fix these cells, or empty those whose value is unknown"
