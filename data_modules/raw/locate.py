"""Finds the files of a release under one or several roots."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_modules.raw.errors import SourceError
from data_modules.raw.schema import Table

SUFFIXES = (".csv.gz", ".csv")
_VERSION = re.compile(r"\d+(\.\d+)*")


def _listed(folder: Path) -> list[Path]:
    """Sorted entries of a folder; empty if it is none."""
    try:
        return sorted(folder.iterdir())
    except (NotADirectoryError, FileNotFoundError):
        return []
    except OSError as error:
        raise SourceError(
            folder,
            f"this folder cannot be read ({error.strerror or error})",
            "give yourself read and execute permission on it",
        ) from error


def _entries(folder: Path) -> dict[str, Path]:
    """Lower-case name -> path of the entries of a folder."""
    return {path.name.lower(): path for path in _listed(folder)}


def descend(folder: Path, parts: Sequence[str]) -> Path | None:
    """Follow path parts below a folder, ignoring case.

    Returns:
        The path, or None if a part does not exist.

    Raises:
        SourceError: if two entries of a folder differ only in case.
    """
    for part in parts:
        found = [path for path in _listed(folder) if path.name.lower() == part.lower()]
        if not found:
            return None
        if len(found) > 1:
            raise SourceError(
                folder,
                f"{' and '.join(path.name for path in found)} differ only in upper and lower case",
                "keep the one that belongs to the release",
            )
        folder = found[0]
    return folder


def _versions(folder: Path) -> list[Path]:
    """Version folders below a folder, newest first."""
    numbered = [path for name, path in _entries(folder).items() if _VERSION.fullmatch(name)]
    return sorted(numbered, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True)


def project_folders(root: Path, project: str) -> Iterator[Path]:
    """Yield the folders of a root that may hold a project, most specific first.

    `root/physionet.org/files/<project>/<version>`, `root/<project>/<version>`, `root/<project>`,
    `root/<version>` and `root` itself: the layouts of PhysioNet downloads, and a flat one.
    """
    for parts in (("physionet.org", "files", project), ("files", project), (project,), ()):
        folder = descend(root, parts)
        if folder is not None:
            yield from _versions(folder)
            yield folder


def find_files(roots: Sequence[Path], tables: Mapping[str, Table]) -> dict[str, Path]:
    """Find the files of tables; the first root with a table wins, and .csv.gz precedes .csv.

    Within a root, all tables of a project come from one folder, so that versions are never mixed.

    Returns:
        Table name -> file, for the tables that exist.
    """
    found: dict[str, Path] = {}
    for root in roots:
        for project in dict.fromkeys(table.project for table in tables.values()):
            paths = {name: table.path for name, table in tables.items() if table.project == project}
            found = _in_first_folder(root, project, paths) | found
    return {name: found[name] for name in tables if name in found}


def _in_first_folder(root: Path, project: str, paths: Mapping[str, str]) -> dict[str, Path]:
    """Table name -> file in the first folder of a project that holds any of its tables."""
    for folder in project_folders(root, project):
        files = {name: _find(folder, path) for name, path in paths.items()}
        if any(files.values()):
            return {name: file for name, file in files.items() if file is not None}
    return {}


def _find(folder: Path, path: str) -> Path | None:
    *folders, stem = path.split("/")
    candidates = (descend(folder, [*folders, stem + suffix]) for suffix in SUFFIXES)
    return next((file for file in candidates if file is not None and file.is_file()), None)


def release_folder(file: Path, path: str) -> Path:
    """Find the folder of the release that holds a table.

    Args:
        file: of the table.
        path: of the table within the release.

    Returns:
        The folder.

    >>> release_folder(Path("/data/mimiciv/3.1/hosp/patients.csv.gz"), "hosp/patients").as_posix()
    '/data/mimiciv/3.1'
    """
    return file.parents[path.count("/")]


def version_of(file: Path, path: str) -> str | None:
    """The version of a release by its folder name or its README; None if unknown."""
    release = release_folder(file, path)
    if _VERSION.fullmatch(release.name):
        return release.name
    for name in ("readme.md", "readme.txt", "changelog.txt"):
        readme = _entries(release).get(name)
        text = readme.read_text(encoding="utf-8", errors="replace")[:4000] if readme else ""
        found = re.search(r"\bv(?:ersion)?\s?\**(\d+\.\d+(?:\.\d+)?)\b", text)
        if found:
            return found.group(1)
    return None


def find_folder(roots: Sequence[Path], project: str, name: str) -> Path | None:
    """The project folder that contains a folder of this name, in the first root that has one; else None."""
    for root in roots:
        for folder in project_folders(root, project):
            if descend(folder, [name]) is not None:
                return folder
    return None
