"""Where the files of a release lie under one or several roots."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_modules.raw.errors import SourceError
from data_modules.raw.schema import Table

SUFFIXES = (".csv.gz", ".csv")
_VERSION = re.compile(r"\d+(\.\d+)*")


def _listed(folder: Path) -> list[Path]:
    """Everything in a folder; empty where it is not a folder."""
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
    """Lower-case name -> path of everything in a folder."""
    return {path.name.lower(): path for path in _listed(folder)}


def descend(folder: Path, parts: Sequence[str]) -> Path | None:
    """Follow path parts below a folder without regard to case.

    Raises:
        SourceError: where two entries of a folder differ in nothing else.
    """
    for part in parts:
        found = [path for path in _listed(folder) if path.name.lower() == part.lower()]
        if not found:
            return None
        if len(found) > 1:
            raise SourceError(
                folder,
                f"{' and '.join(path.name for path in found)} differ in upper and lower case alone",
                "keep the one that belongs to the release",
            )
        folder = found[0]
    return folder


def _versions(folder: Path) -> list[Path]:
    """Version folders below a folder, newest first."""
    numbered = [path for name, path in _entries(folder).items() if _VERSION.fullmatch(name)]
    return sorted(numbered, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True)


def project_folders(root: Path, project: str) -> Iterator[Path]:
    """Folders of a root that may hold a project, the most explicit first.

    `root/physionet.org/files/<project>/<version>`, `root/<project>/<version>`, `root/<project>`,
    `root/<version>` and `root` itself: the layouts that PhysioNet's downloads leave, and a bare one.
    """
    for parts in (("physionet.org", "files", project), ("files", project), (project,), ()):
        folder = descend(root, parts)
        if folder is not None:
            yield from _versions(folder)
            yield folder


def find_files(roots: Sequence[Path], tables: Mapping[str, Table]) -> dict[str, Path]:
    """Table -> file, for the tables that are there: the first root that holds one wins; .csv.gz before .csv.

    Inside a root, all tables of a project come from one folder, so that two versions are never mixed.
    """
    found: dict[str, Path] = {}
    for root in roots:
        for project in dict.fromkeys(table.project for table in tables.values()):
            paths = {name: table.path for name, table in tables.items() if table.project == project}
            found = _in_first_folder(root, project, paths) | found
    return {name: found[name] for name in tables if name in found}


def _in_first_folder(root: Path, project: str, paths: Mapping[str, str]) -> dict[str, Path]:
    """Table -> file in the first of a project's folders that holds any of its tables."""
    for folder in project_folders(root, project):
        files = {name: _find(folder, path) for name, path in paths.items()}
        if any(files.values()):
            return {name: file for name, file in files.items() if file is not None}
    return {}


def _find(folder: Path, path: str) -> Path | None:
    *folders, stem = path.split("/")
    candidates = (descend(folder, [*folders, stem + suffix]) for suffix in SUFFIXES)
    return next((file for file in candidates if file is not None and file.is_file()), None)


def version_of(file: Path, path: str) -> str | None:
    """The version that the folders above a file, or a README beside the release, tell."""
    release = file.parents[path.count("/")]
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
    """The folder of a project that holds a folder of this name: the first root that has one wins."""
    for root in roots:
        for folder in project_folders(root, project):
            if descend(folder, [name]) is not None:
                return folder
    return None
