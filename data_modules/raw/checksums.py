"""Compares files of a release with the SHA-256 sums that its publisher lists in SHA256SUMS.txt."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from data_modules.cores import usable_cores
from data_modules.raw.errors import SourceError
from data_modules.raw.locate import SUFFIXES, descend
from data_modules.raw.reader import Release

SUMS = "SHA256SUMS.txt"
BLOCK = 1 << 20
MAX_THREADS = 4
"""More threads wait for the disk."""
_LINE = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S.*)")

Advance = Callable[[float], None]
Meter = Callable[[str, int], AbstractContextManager[Advance]]
"""What is done and how much of it -> a function that counts, for a progress bar."""


def no_meter(what: str, total: int) -> AbstractContextManager[Advance]:
    """Show no progress."""
    return nullcontext(lambda _: None)


class Published(NamedTuple):
    """A file whose sum is published.

    Attributes:
        file: where it is.
        digest: its SHA-256, 64 hexadecimal digits.
    """

    file: Path
    digest: str


def published(folder: Path) -> list[Published] | None:
    """Read the SHA256SUMS.txt of a release's folder.

    Returns:
        The listed files that exist; None if there is no such list.

    Raises:
        SourceError: if it cannot be read, or a line is not a sum and a path.
    """
    sums = descend(folder, [SUMS])
    if sums is None or not sums.is_file():
        return None
    try:
        lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        problem = f"this file cannot be read ({error.strerror or error})"
        raise SourceError(sums, problem, "give yourself read permission on it") from error
    found = []
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line.strip())
        if line.strip() and match is None:
            raise SourceError(sums, f"line {number} is not a SHA-256 sum and a path", "download it again")
        file = _find(folder, match[2]) if match else None
        if match and file is not None:
            found.append(Published(file, match[1].lower()))
    return found


def _find(folder: Path, path: str) -> Path | None:
    """The file of a listed path; tables ignoring case, as `locate` finds them."""
    file = folder / path
    if file.is_file():
        return file
    other = descend(folder, path.split("/")) if path.lower().endswith(SUFFIXES) else None
    return other if other is not None and other.is_file() else None


def differing(files: Sequence[Published], meter: Meter = no_meter) -> list[Path]:
    """The files whose content is not the published one.

    Args:
        files: with their sums.
        meter: shows the bytes that were read.

    Returns:
        Their paths, in the given order. A file that cannot be read is a `SourceError`.
    """
    lock = Lock()
    with meter("comparing with SHA256SUMS.txt", sum(each.file.stat().st_size for each in files)) as advance:

        def count(size: int) -> None:
            with lock:
                advance(size)

        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, usable_cores())) as pool:
            digests = list(pool.map(lambda each: _digest(each.file, count), files))
    return [each.file for each, digest in zip(files, digests, strict=True) if digest != each.digest]


def _digest(file: Path, count: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as handle:
            for block in iter(lambda: handle.read(BLOCK), b""):
                digest.update(block)
                count(len(block))
    except OSError as error:
        problem = f"this file cannot be read ({error.strerror or error})"
        raise SourceError(file, problem, "give yourself read permission on it") from error
    return digest.hexdigest()


def verify(release: Release, tables: Iterable[str], meter: Meter = no_meter) -> dict[str, list[str]]:
    """Require that tables have the published content.

    Args:
        release: its files.
        tables: names; those that do not exist are skipped.
        meter: shows the bytes that were read.

    Returns:
        Paths within the release of the tables whose sum is `verified`, and of those that no SHA256SUMS.txt lists.

    Raises:
        SourceError: if a file differs from the published one, or no table is listed.
    """
    files = {release.files[name]: release.schema.tables[name].path for name in sorted(set(tables)) if release.has(name)}
    folders = release.folders(files)
    sums = {each.file: each for folder in folders for each in published(folder) or [] if each.file in files}
    if not sums:
        raise SourceError(
            ", ".join(map(str, folders)),
            f"cohort.verify=true, but no {SUMS} here lists a table that the cohort reads",
            f"download {SUMS} of the release into its folder, or set cohort.verify=false",
        )
    wrong = differing(list(sums.values()), meter)
    if wrong:
        raise SourceError(
            ", ".join(map(str, wrong)),
            f"{'this file differs' if len(wrong) == 1 else 'these files differ'} from the one that {SUMS} lists",
            "download it again, or set cohort.verify=false if it was changed on purpose",
        )
    return {
        "verified": [path for file, path in files.items() if file in sums],
        "unlisted": [path for file, path in files.items() if file not in sums],
    }
