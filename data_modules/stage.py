"""A stage writes one folder: once, whole or not at all, whoever else is writing it."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data_modules.errors import UserError

MANIFEST = "manifest.json"


class StageError(UserError):
    """A stage could not write its folder."""


def digest(content: Any) -> str:
    """A short fingerprint of plain values, 12 hexadecimal digits.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, whole or not at all: a file that is there is taken for finished."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, saying so before waiting for another."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(__name__).warning("waiting for another process that builds %s", path.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_stage(target: Path, write: Callable[[Path], None], setting: str) -> bool:
    """Write a folder unless it is there.

    The work happens in a hidden folder beside the target, which is renamed at the end, so a build that is killed
    leaves nothing that looks finished; the next one removes what it left. A second process waits for the first
    and then finds its result.

    Args:
        target: the folder to be.
        write: fills an empty folder.
        setting: the configuration key of the parent folder, for the error.

    Returns:
        True when it was written now, False when it was there.

    Raises:
        StageError: when the disk refuses.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f".{target.name}.lock")):
            if (target / MANIFEST).is_file():
                return False
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                write(partial)
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StageError(
            f"{target}: cannot be written ({error.strerror or error}{where}). Free space or permission is needed "
            f"there, or set {setting} to another folder."
        ) from error
    return True
