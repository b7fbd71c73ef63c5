"""A release: its tables under one or several roots, scanned lazily with their declared dtypes."""

import json
import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from data_modules.raw import locate
from data_modules.raw.cells import Columns
from data_modules.raw.errors import DOWNLOAD_AGAIN, SourceError
from data_modules.raw.fingerprint import fingerprint
from data_modules.raw.header import positions, read_header
from data_modules.raw.schema import ReleaseSchema
from data_modules.raw.source import Source

_PARQUET_REFUSED = re.compile(r"parquet: .*\(os error (\d+)\)|\(os error (\d+)\): .*\.parquet$")
_QUOTING = (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError)


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
        self._reading = "a table"

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

    def folders(self, files: Container[Path] | None = None) -> list[Path]:
        """The folders of the releases that tables, all or the given files, were found in."""
        found = [
            locate.release_folder(file, self.schema.tables[name].path)
            for name, file in self.files.items()
            if files is None or file in files
        ]
        return list(dict.fromkeys(found))

    def fingerprints(self, names: Sequence[str]) -> dict[str, str]:
        """Path within the release -> fingerprint of the file, for the tables that exist."""
        return {
            self.schema.tables[name].path: fingerprint(self.files[name]) for name in sorted(names) if name in self.files
        }

    def scan(self, name: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Scan columns of a table lazily with their declared dtypes.

        The file is checked while it is read: a row of another width than the header, a cut file or a cell of another
        dtype is a `SourceError` when the frame is collected. A table that is missing, is not CSV, lacks a column or has
        no rows is one at once. Times are parsed after the caller's filters on other columns.

        Args:
            name: the table.
            columns: declared columns.

        Returns:
            The columns under their declared names; empty text and NaN are null.
        """
        self.require([name])
        table, file = self.schema.tables[name], self.files[name]
        header = read_header(file)
        found = positions(table, file, header, columns)
        dtypes = {column: table.columns[column] for column in columns}

        def began() -> None:
            self._reading = f"{file}: columns {', '.join(columns)}"

        return Source(file, Columns(len(header), found, dtypes), began).scan()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Replace errors of polars on the values of a table by one that names file, columns and remedy.

        Messages of polars may quote cells, which are patient data, so they are neither repeated nor chained.

        Raises:
            SourceError: if polars could not use the values of a table.
            OSError: if a file could not be written.
            PolarsError: for a defect of the program; its message is withheld.
        """
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of Python, which wrote a file
            refused = _PARQUET_REFUSED.search(str(error))
            if refused:
                code = int(refused.group(1) or refused.group(2))
                raise OSError(code, os.strerror(code)) from None
            withheld = f"polars raised {type(error).__name__} (its message is withheld: it may quote cells)"
            if isinstance(error, _QUOTING):
                raise SourceError(self._reading, withheld, DOWNLOAD_AGAIN) from None
            raise type(error)(withheld).with_traceback(error.__traceback__) from None


def _is_simulated(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("simulated") is True


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
