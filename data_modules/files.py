"""Files on disk: private, flushed when they are written, and described by size and CRC-32C."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, TypeVar

import google_crc32c

from data_modules.cores import usable_cores

Given = TypeVar("Given")
Found = TypeVar("Found")

BLOCK = 1 << 17
FEW_FILES, SMALL_BYTES = 16, 16 << 20
"""Up to these numbers of files to flush and bytes to read, threads cost more than they save."""
MAX_THREADS = 4
"""More threads wait for the disk; the sum itself is computed at several gigabytes a second."""
PIECES = 16
"""Of the files, for each thread: handing over thousands of small files one by one takes as long as reading them."""


OWNER, GROUP = 0o077, 0o027
"""Masks of new files: read by their owner alone, or by their group as well."""
_masks: list[int] = []
"""Of this process, the outermost first."""


@contextmanager
def private(*, shared_group: bool = False) -> Iterator[None]:
    """Give every file and folder that is created meanwhile, by child processes too, the rights of a record.

    Files are 0600 in folders of 0700, whatever the mask of the process is: a name or a temporary file is never readable
    by others, not even until it is renamed. The outermost call decides. It holds for all threads of the process.

    Args:
        shared_group: 0640 in 0750, for groups that share cohorts and runs.

    Yields:
        Nothing.
    """
    mask = _masks[0] if _masks else GROUP if shared_group else OWNER
    before = os.umask(mask)
    _masks.append(mask)
    try:
        yield
    finally:
        _masks.pop()
        os.umask(before)


class Entry(TypedDict):
    """A file's `size` in bytes and `crc32c`, 8 hexadecimal digits."""

    size: int
    crc32c: str


def describe(path: Path) -> Entry:
    """Read a file completely, and return its size and CRC-32C."""
    size, crc = 0, 0
    with path.open("rb") as handle:
        for block in iter(lambda: handle.read(BLOCK), b""):
            crc = google_crc32c.extend(crc, block)
            size += len(block)
    return {"size": size, "crc32c": f"{crc:08x}"}


def flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_all(folder: Path) -> None:
    """Flush all files and folders of a folder to disk."""
    places = [folder, *sorted(folder.rglob("*"))]
    _map(flush, places, threads=len(places) > FEW_FILES)


def describe_all(folder: Path, *left_out: str) -> dict[str, Entry]:
    """Describe all files of a folder but some.

    Args:
        folder: with subfolders.
        left_out: names of files directly in it.

    Returns:
        Relative name -> size and CRC-32C.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    kept = [name for name in names if name not in left_out]
    paths = [folder / name for name in kept]
    return dict(zip(kept, _map(describe, paths, threads=_are_large(paths)), strict=True))


def damage(folder: Path, entries: Mapping[str, Entry]) -> list[str]:
    """Compare files with their descriptions, in parallel.

    Args:
        folder: of the files.
        entries: relative name -> size and CRC-32C that it had when it was written.

    Returns:
        A clause for each file that is missing, unreadable or changed.
    """
    threads = _are_large([folder / name for name in entries])
    found = _map(lambda name: damage_of(folder / name, entries[name]), list(entries), threads=threads)
    return [f"{name} {problem}" for name, problem in zip(entries, found, strict=True) if problem]


def damage_of(path: Path, *entries: Entry) -> str:
    """What is wrong with a file that was written as one of some descriptions; empty if nothing is."""
    try:
        size = path.stat().st_size
        if size not in {entry["size"] for entry in entries}:
            return f"has {size} of {entries[0]['size']} bytes"
        return "" if describe(path) in entries else "differs from what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _are_large(paths: Sequence[Path]) -> bool:
    """Whether reading these files takes longer than starting threads; a missing one is no reason to fail here."""
    return sum(path.stat().st_size for path in paths if path.is_file()) > SMALL_BYTES


def _map(work: Callable[[Given], Found], items: Sequence[Given], *, threads: bool) -> list[Found]:
    if not threads:
        return [work(item) for item in items]
    count = min(MAX_THREADS, usable_cores())
    step = max(1, len(items) // (count * PIECES))
    pieces = [items[start : start + step] for start in range(0, len(items), step)]
    with ThreadPoolExecutor(max_workers=count) as pool:
        done = pool.map(lambda piece: [work(item) for item in piece], pieces)
        return [found for piece in done for found in piece]
