"""A stage writes one folder atomically and once, also with concurrent processes."""

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
    """The folder of a stage cannot be written."""


def digest(content: Any) -> str:
    """Return a fingerprint of plain values, 12 hexadecimal digits.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, atomically: an existing file counts as finished."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; log a warning before waiting."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(__name__).warning("waiting for another process to build %s", path.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_stage(target: Path, write: Callable[[Path], None], setting: str) -> bool:
    """Write a folder unless it exists.

    The files are written to a hidden folder beside the target, which is renamed at the end: a killed build leaves no
    folder that looks finished, and the next build removes its remains. A second process waits for the first and uses
    its result.

    Args:
        target: the folder to write.
        write: fills an empty folder.
        setting: configuration key of the parent folder, for the error message.

    Returns:
        True if this call wrote the folder, False if it existed.

    Raises:
        StageError: if the folder cannot be written.
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
            f"{target}: cannot be written ({error.strerror or error}{where}). Free disk space or grant write "
            f"permission, or set {setting} to another folder."
        ) from error
    return True
