"""A stage writes one folder atomically and once, also with concurrent processes, and verifies it when it is opened."""

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_modules import files, locks
from data_modules.errors import UserError

MANIFEST = "manifest.json"
STORED, SEALED = "stored", "sealed"
"""Keys of a manifest: every other file with its size and CRC-32C; digest of the manifest without this key."""
_PARTIAL = re.compile(r"\.(.+?)(?:\.\d+-[0-9a-f]+)?\.partial")
_unverified: set[Path] = set()
"""Folders of earlier versions that were warned of."""


class StageError(UserError):
    """The folder of a stage cannot be written, or is damaged."""


class DamageError(StageError):
    """A finished folder is not as it was written.

    Args:
        folder: of a stage.
        problems: the files, and what is wrong with each.
        command: builds the folder again.
    """

    def __init__(self, folder: Path, problems: str, command: str) -> None:
        super().__init__(
            f"{folder} is damaged ({problems}); remove this folder, then `{command}` with the same settings builds it "
            "again"
        )


def digest(content: Any) -> str:
    """Return a fingerprint of plain values, 12 hexadecimal digits.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, atomically and durably: an existing file counts as finished."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    files.flush(partial)
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def is_finished(folder: Path) -> bool:
    """Whether a stage wrote this folder completely."""
    return (folder / MANIFEST).is_file()


def run_stage(target: Path, write: Callable[[Path], None], setting: str) -> bool:
    """Write a folder unless it exists.

    The files are written to a hidden folder beside the target, flushed to disk and described in the manifest; then the
    folder is renamed. They are private (`files.private`). A killed build leaves no folder that looks finished, and the
    next start of any stage in the same parent removes its remains. A second process waits for the first and uses its
    result. A finished folder is only read, so it may be on a disk that is read only. A file system without locks raises
    a `LockError`.

    Args:
        target: the folder to write.
        write: fills an empty folder, its manifest included.
        setting: configuration key of the parent folder, for the error message.

    Returns:
        True if this call wrote the folder, False if it existed.

    Raises:
        StageError: if the folder cannot be written.
    """
    if is_finished(target):
        _remove_remains(target.parent)
        return False
    try:
        with files.private():
            target.parent.mkdir(parents=True, exist_ok=True)
        with locks.locked(_lock_of(target), waiting_for=f"build {target}"):
            _remove_remains(target.parent, target.name)
            if is_finished(target):
                return False
            with files.private():
                _write(target, write)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StageError(
            f"{target}: cannot be written ({error.strerror or error}{where}). Free disk space or grant write "
            f"permission, or set {setting} to another folder."
        ) from error
    return True


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _write(target: Path, write: Callable[[Path], None]) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        write(partial)
        seal(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        files.flush(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_remains(parent: Path, held: str | None = None) -> None:
    """Remove what killed builds of any folder in `parent` left; this process holds the lock of the folder `held`."""
    for partial in parent.glob(".*.partial"):
        match = _PARTIAL.fullmatch(partial.name)
        if match is None or not partial.is_dir():
            continue
        if match[1] == held:
            shutil.rmtree(partial, ignore_errors=True)
            continue
        with suppress(OSError, locks.HeldError, locks.LockError), locks.locked(_lock_of(parent / match[1]), wait=False):
            shutil.rmtree(partial, ignore_errors=True)


def seal(folder: Path) -> None:
    """Flush a folder to disk, and record size and CRC-32C of its files in its manifest."""
    content = _without(read_json(folder / MANIFEST), STORED, SEALED)
    files.flush_all(folder)
    _write_sealed(folder, {**content, STORED: files.describe_all(folder, MANIFEST)})
    files.flush(folder)


def amend(folder: Path, more: Mapping[str, Any]) -> None:
    """Add entries to the manifest of a finished folder."""
    _write_sealed(folder, {**_without(read_json(folder / MANIFEST), SEALED), **more})


def _write_sealed(folder: Path, content: dict[str, Any]) -> None:
    write_json(folder / MANIFEST, {**content, SEALED: digest(content)})


def _without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def read_manifest(folder: Path, command: str) -> dict[str, Any]:
    """Read the manifest of a finished folder, as the stage wrote it.

    Damage raises a `DamageError`, as in `verify`.

    Args:
        folder: of a stage.
        command: builds it again.

    Returns:
        The manifest.
    """
    return _without(_read_sealed(folder, command), STORED, SEALED)


def verify(folder: Path, command: str) -> dict[str, Any]:
    """Compare all files of a finished folder with their sizes and CRC-32C in its manifest.

    Files that were added are ignored. A folder of a version that recorded no checksums is accepted with a warning.

    Args:
        folder: of a stage.
        command: builds it again.

    Returns:
        The manifest, as the stage wrote it.

    Raises:
        DamageError: naming every file that is missing or changed.
    """
    content = _read_sealed(folder, command)
    if STORED not in content and folder not in _unverified:
        _unverified.add(folder)
        logging.getLogger(__name__).warning(
            "%s was written by an earlier version, which recorded no checksums: its files are not verified", folder
        )
    problems = files.damage(folder, content.get(STORED, {}))
    if problems:
        raise DamageError(folder, "; ".join(problems), command)
    return _without(content, STORED, SEALED)


def _read_sealed(folder: Path, command: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(folder / MANIFEST)
    except FileNotFoundError:
        raise DamageError(folder, f"{MANIFEST} is missing", command) from None
    except (OSError, ValueError) as error:
        raise DamageError(folder, f"{MANIFEST} cannot be read: {error}", command) from error
    if SEALED in content and content[SEALED] != digest(_without(content, SEALED)):
        raise DamageError(folder, f"{MANIFEST} differs from what was written", command)
    return content
