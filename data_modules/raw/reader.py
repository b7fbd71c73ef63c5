"""The one reader of raw files: lazy scans with declared dtypes, and one clear error for what is wrong."""

import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from data_modules.raw import locate
from data_modules.raw.errors import SourceError
from data_modules.raw.fingerprint import fingerprint
from data_modules.raw.schema import ReleaseSchema, Table

DOWNLOAD_AGAIN = "compare the file with SHA256SUMS.txt of the release and download it again"
_PARQUET_REFUSED = re.compile(r"parquet: .*\(os error (\d+)\)|\(os error (\d+)\): .*\.parquet$")
_QUOTING = (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError)
_TEMPORAL = {pl.Datetime: "%Y-%m-%d %H:%M:%S%.f", pl.Date: "%Y-%m-%d"}


class Release:
    """The tables of a source under one or several roots.

    Args:
        schema: the declarations.
        roots: folders, searched in order; the first that holds a table wins.

    Raises:
        SourceError: when no root is given, or one does not exist or cannot be read.
    """

    def __init__(self, schema: ReleaseSchema, roots: Sequence[Path]) -> None:
        self.schema = schema
        if not roots:
            setting = " or ".join(schema.root_setting)
            raise SourceError(setting, "no folder is given", f"set {setting} to the folder of the release")
        self.roots = [_readable(root, schema) for root in roots]
        self.files = locate.find_files(self.roots, schema.tables)
        self._scanned: dict[str, set[str]] = {}

    @classmethod
    def parse(cls, schema: ReleaseSchema, text: str) -> "Release":
        """Open a `:`-separated list of roots."""
        return cls(schema, [Path(part).expanduser() for part in text.split(":") if part])

    def has(self, name: str) -> bool:
        """Whether a table is there."""
        return name in self.files

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the tables that are not there."""
        return [name for name in names if name not in self.files]

    def require(self, names: Sequence[str]) -> None:
        """Refuse to go on without these tables."""
        for name in self.missing(names):
            table = self.schema.tables[name]
            searched = ", ".join(str(root) for root in self.roots)
            raise SourceError(
                f"{table.path}.csv.gz",
                f"this table of {table.project} is missing; looked in {searched}",
                f"download it from PhysioNet, or set {' or '.join(self.schema.root_setting)} to the folder "
                "that holds it (several folders are separated by ':')",
            )

    @property
    def simulated(self) -> bool:
        """Whether the release says of itself that it was simulated."""
        return any(_says_simulated(root / "manifest.json") for root in self.roots)

    def versions(self) -> dict[str, str]:
        """Project -> version (all of them where roots differ), `unknown` where neither folders nor README tell it."""
        versions: dict[str, set[str]] = {}
        for name, file in self.files.items():
            table = self.schema.tables[name]
            versions.setdefault(table.project, set()).update(filter(None, [locate.version_of(file, table.path)]))
        return {project: ", ".join(sorted(told)) or "unknown" for project, told in versions.items()}

    def fingerprints(self, names: Sequence[str]) -> dict[str, str]:
        """Path inside the release -> fingerprint of the file, for the tables that are there."""
        return {
            self.schema.tables[name].path: fingerprint(self.files[name]) for name in sorted(names) if name in self.files
        }

    def scan(self, name: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Read columns of a table lazily, with their declared dtypes.

        Times are parsed after whatever filter on other columns the caller adds (the optimiser moves it
        below the parsing), which is several times faster than parsing them in the CSV reader.

        Args:
            name: the table.
            columns: declared columns; empty text becomes null.

        Raises:
            SourceError: when the table is missing, is no CSV, lacks a column or holds no row.
        """
        self.require([name])
        table, file = self.schema.tables[name], self.files[name]
        actual = _actual_names(table, file, columns)
        self._scanned.setdefault(name, set()).update(columns)
        temporal = {column for column in columns if table.columns[column].base_type() in _TEMPORAL}
        overrides = {actual[column]: pl.String() if column in temporal else table.columns[column] for column in columns}
        frame = pl.scan_csv(file, schema_overrides=overrides, infer_schema=False)
        return frame.select(_typed(pl.col(actual[column]), table.columns[column]).alias(column) for column in columns)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what polars says of a broken file into an error that names file, column and remedy.

        Polars quotes cells, which are patient data, so nothing that it says of them is passed on or chained.

        Raises:
            SourceError: when a table that was scanned is to blame.
            OSError: when something could not be written.
        """
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # Python's own: tables are read by polars, so this was written
            told = _PARQUET_REFUSED.search(str(error))
            if told:
                code = int(told.group(1) or told.group(2))
                raise OSError(code, os.strerror(code)) from None
            for name, columns in self._scanned.items():
                _blame(self.schema.tables[name], self.files[name], sorted(columns))
            if isinstance(error, _QUOTING):
                raise SourceError(
                    ", ".join(str(self.files[name]) for name in self._scanned),
                    f"polars stopped with {type(error).__name__} (its words are withheld: they may quote cells)",
                    DOWNLOAD_AGAIN,
                ) from None
            raise


def _says_simulated(manifest: Path) -> bool:
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("simulated") is True


def _typed(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    filled = pl.when(column != "").then(column)
    if isinstance(dtype, pl.Datetime):
        return filled.str.to_datetime(_TEMPORAL[pl.Datetime], time_unit="us", strict=True)
    if isinstance(dtype, pl.Date):
        return filled.str.to_date(_TEMPORAL[pl.Date], strict=True)
    if isinstance(dtype, pl.String):
        return filled
    return column


def _readable(root: Path, schema: ReleaseSchema) -> Path:
    setting = " or ".join(schema.root_setting)
    remedy = f"set {setting} to the folder of the release"
    try:
        next(root.iterdir(), None)
    except FileNotFoundError as error:
        raise SourceError(root, "this folder does not exist", remedy) from error
    except NotADirectoryError as error:
        raise SourceError(root, "this is a file, not a folder", remedy) from error
    except OSError as error:
        problem = f"this folder cannot be read ({error.strerror or error})"
        raise SourceError(root, problem, f"give yourself read and execute permission on it, or {remedy}") from error
    return root


def read_header(file: Path) -> list[str]:
    """The column names of a CSV file.

    Raises:
        SourceError: when the file is empty, is not gzip though its name says so, or is not text.
    """
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as handle:
            line = handle.readline(100_000)
            second = handle.read(100).strip()
    except gzip.BadGzipFile as error:
        raise SourceError(file, "this file is not gzip, though its name says so", DOWNLOAD_AGAIN) from error
    except (EOFError, zlib.error) as error:
        raise SourceError(file, "the gzip stream is truncated or damaged", DOWNLOAD_AGAIN) from error
    except UnicodeDecodeError:
        raise SourceError(file, "this file is not a CSV text file", DOWNLOAD_AGAIN) from None
    except OSError as error:
        problem = f"this file cannot be read ({error.strerror or error})"
        raise SourceError(file, problem, "give yourself read permission on it") from error
    if not line.strip():
        raise SourceError(file, "this file is empty, not even a header", DOWNLOAD_AGAIN)
    if not second:
        raise SourceError(file, "this table holds a header and no row", DOWNLOAD_AGAIN)
    return next(csv.reader([line]))


def _actual_names(table: Table, file: Path, columns: Sequence[str]) -> dict[str, str]:
    """Declared name -> name in the file, matched without regard to case."""
    header = read_header(file)
    by_lower = {name.strip().lower(): name for name in header}
    if not any(name.lower() in by_lower for name in table.columns):
        raise SourceError(
            file,
            f"this file is not a CSV of {table.path}: its first line names no column of it",
            DOWNLOAD_AGAIN,
        )
    for column in columns:
        if column.lower() not in by_lower:
            near = get_close_matches(column.lower(), by_lower, n=1)
            found = f"; the nearest name in it is {by_lower[near[0]]!r}" if near else ""
            raise SourceError(
                file,
                f"column {column!r} is missing{found}",
                f"restore the header of the release: {', '.join(table.columns)}",
            )
    return {column: by_lower[column.lower()] for column in columns}


def _blame(table: Table, file: Path, columns: Sequence[str]) -> None:
    """Raise what is wrong with a file, without the values that polars would quote."""
    try:
        _examine(table, file, columns)
    except SourceError as error:
        raise error from None


def _examine(table: Table, file: Path, columns: Sequence[str]) -> None:
    """Look for what a failed scan of some columns of a file may have met, and say it."""
    actual = _actual_names(table, file, columns)
    text = pl.scan_csv(file, infer_schema=False)
    bad = [
        _fails(pl.col(actual[name]), table.columns[name]).sum().alias(name)
        for name in columns
        if not isinstance(table.columns[name], pl.String)
    ]
    try:
        counts = text.select(*bad, pl.len().alias("rows of the table")).collect(engine="streaming").row(0, named=True)
    except OSError as error:
        raise SourceError(file, f"the file cannot be read to its end ({error})", DOWNLOAD_AGAIN) from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(file, "this file is not a well-formed CSV", DOWNLOAD_AGAIN) from error
    num_rows = counts.pop("rows of the table")
    for column, count in counts.items():
        if count:
            raise SourceError(
                file,
                f"column {column!r} holds {count} of {num_rows} values that are not {table.columns[column]}",
                "mend these cells, or leave them empty where the value is unknown",
            )


def _fails(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """True where a non-empty cell does not parse as the dtype."""
    text = column.str.strip_chars()
    filled = text != ""
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        parsed = column.str.strptime(dtype, _TEMPORAL[dtype.base_type()], strict=False)
    else:
        parsed = text.cast(dtype, strict=False)
    return filled & parsed.is_null()
