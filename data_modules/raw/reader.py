"""The reader of raw files: lazy scans with declared dtypes, and errors that name file, column and remedy."""

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
    """The tables of a database under one or several roots.

    Args:
        schema: declarations of the tables.
        roots: folders, searched in order; the first with a table wins.

    Raises:
        SourceError: if there is no root, or one does not exist or cannot be read.
    """

    def __init__(self, schema: ReleaseSchema, roots: Sequence[Path]) -> None:
        self.schema = schema
        if not roots:
            setting = " or ".join(schema.root_setting)
            raise SourceError(setting, "no folder is set", f"set {setting} to the folder of the release")
        self.roots = [_readable(root, schema) for root in roots]
        self.files = locate.find_files(self.roots, schema.tables)
        self._scanned: dict[str, set[str]] = {}

    @classmethod
    def parse(cls, schema: ReleaseSchema, text: str) -> "Release":
        """Open a `:`-separated list of roots."""
        return cls(schema, [Path(part).expanduser() for part in text.split(":") if part])

    def has(self, name: str) -> bool:
        """Whether a table exists."""
        return name in self.files

    def missing(self, names: Sequence[str]) -> list[str]:
        """The tables that do not exist."""
        return [name for name in names if name not in self.files]

    def require(self, names: Sequence[str]) -> None:
        """Require tables.

        Raises:
            SourceError: if a table is missing.
        """
        for name in self.missing(names):
            table = self.schema.tables[name]
            searched = ", ".join(str(root) for root in self.roots)
            raise SourceError(
                f"{table.path}.csv.gz",
                f"this table of {table.project} is missing; searched {searched}",
                f"download it from PhysioNet, or set {' or '.join(self.schema.root_setting)} to the folder "
                "that holds it (several folders are separated by ':')",
            )

    @property
    def simulated(self) -> bool:
        """Whether the manifest of a root marks the release as simulated."""
        return any(_is_simulated(root / "manifest.json") for root in self.roots)

    def versions(self) -> dict[str, str]:
        """Project -> version (several if roots differ), or `unknown` if neither folder nor README states one."""
        versions: dict[str, set[str]] = {}
        for name, file in self.files.items():
            table = self.schema.tables[name]
            versions.setdefault(table.project, set()).update(filter(None, [locate.version_of(file, table.path)]))
        return {project: ", ".join(sorted(found)) or "unknown" for project, found in versions.items()}

    def fingerprints(self, names: Sequence[str]) -> dict[str, str]:
        """Path within the release -> fingerprint of the file, for the tables that exist."""
        return {
            self.schema.tables[name].path: fingerprint(self.files[name]) for name in sorted(names) if name in self.files
        }

    def scan(self, name: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Scan columns of a table lazily with their declared dtypes.

        Times are parsed after the caller's filters on other columns, which the optimiser pushes below the parsing; this
        is several times faster than parsing in the CSV reader. A table that is missing, is not CSV, lacks a column or
        has no rows is a `SourceError`.

        Args:
            name: the table.
            columns: declared columns.

        Returns:
            The columns under their declared names; empty text is null.
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
        """Replace errors of polars on a malformed file by one that names file, column and remedy.

        Messages of polars may quote cells, which are patient data, so they are neither repeated nor chained.

        Raises:
            SourceError: if a scanned table is malformed.
            OSError: if a file could not be written.
            PolarsError: if no scanned table explains the error.
        """
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of Python: polars reads the tables, so a file was being written
            match = _PARQUET_REFUSED.search(str(error))
            if match:
                code = int(match.group(1) or match.group(2))
                raise OSError(code, os.strerror(code)) from None
            for name, columns in self._scanned.items():
                _raise_cause(self.schema.tables[name], self.files[name], sorted(columns))
            if isinstance(error, _QUOTING):
                raise SourceError(
                    ", ".join(str(self.files[name]) for name in self._scanned),
                    f"polars raised {type(error).__name__} (its message is withheld: it may quote cells)",
                    DOWNLOAD_AGAIN,
                ) from None
            raise


def _is_simulated(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("simulated") is True


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
    """Return the column names of a CSV file.

    Raises:
        SourceError: if the file is unreadable, damaged, not gzip despite its suffix, not text, or has no rows.
    """
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as handle:
            line = handle.readline(100_000)
            second = handle.read(100).strip()
    except gzip.BadGzipFile as error:
        raise SourceError(file, "this file is not gzip, although its name ends in .gz", DOWNLOAD_AGAIN) from error
    except (EOFError, zlib.error) as error:
        raise SourceError(file, "the gzip stream is truncated or damaged", DOWNLOAD_AGAIN) from error
    except UnicodeDecodeError:
        raise SourceError(file, "this file is not a CSV text file", DOWNLOAD_AGAIN) from None
    except OSError as error:
        problem = f"this file cannot be read ({error.strerror or error})"
        raise SourceError(file, problem, "give yourself read permission on it") from error
    if not line.strip():
        raise SourceError(file, "this file is empty and has no header", DOWNLOAD_AGAIN)
    if not second:
        raise SourceError(file, "this table has a header but no rows", DOWNLOAD_AGAIN)
    return next(csv.reader([line]))


def _actual_names(table: Table, file: Path, columns: Sequence[str]) -> dict[str, str]:
    """Declared name -> name in the file, matched ignoring case."""
    header = read_header(file)
    by_lower = {name.strip().lower(): name for name in header}
    if not any(name.lower() in by_lower for name in table.columns):
        raise SourceError(
            file,
            f"this file is not a CSV of {table.path}: its first line names none of the columns",
            DOWNLOAD_AGAIN,
        )
    for column in columns:
        if column.lower() not in by_lower:
            near = get_close_matches(column.lower(), by_lower, n=1)
            found = f"; the closest name in the file is {by_lower[near[0]]!r}" if near else ""
            raise SourceError(
                file,
                f"column {column!r} is missing{found}",
                f"restore the header of the release: {', '.join(table.columns)}",
            )
    return {column: by_lower[column.lower()] for column in columns}


def _raise_cause(table: Table, file: Path, columns: Sequence[str]) -> None:
    """Raise the defect of a file, without the cells that polars would quote."""
    try:
        _examine(table, file, columns)
    except SourceError as error:
        raise error from None


def _examine(table: Table, file: Path, columns: Sequence[str]) -> None:
    """Raise the defect that may have failed a scan of some columns of a file; return if there is none."""
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
        raise SourceError(file, f"this file cannot be read to the end ({error})", DOWNLOAD_AGAIN) from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(file, "this file is not a well-formed CSV", DOWNLOAD_AGAIN) from error
    num_rows = counts.pop("rows of the table")
    for column, count in counts.items():
        if count:
            raise SourceError(
                file,
                f"column {column!r} holds {count} of {num_rows} values that are not {table.columns[column]}",
                "fix these cells, or empty those whose value is unknown",
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
