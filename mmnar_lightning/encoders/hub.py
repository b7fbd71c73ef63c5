"""Models of the Hugging Face hub: pinned by their commit, and compared with the digests under which they are stored."""

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from data_modules.errors import UserError

_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:@([0-9a-f]{40}))?")
_HASHES = {40: "sha1", 64: "sha256"}
"""Length of the name under which the hub's cache stores a file -> its digest: of git, and of large files."""
_noted: set[str] = set()
"""Names for which this process has said that they are not pinned."""


class HubError(UserError):
    """A name is none of the hub's, or a downloaded file is not what the hub stored."""


def split(name: str) -> tuple[str, str | None]:
    """The repository and the commit of a name.

    Args:
        name: `owner/name@commit`, or `owner/name`, the newest.

    Returns:
        The repository, and 40 hexadecimal digits or None.

    Raises:
        HubError: for any other name.

    >>> split("owner/name"), split("owner/name@" + 40 * "a")[1][:4]
    (('owner/name', None), 'aaaa')
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise HubError(
            f"{name} is neither an existing file or folder nor a hub name, owner/name@commit with 40 hexadecimal digits"
        )
    return match[1], match[2]


def verify(name: str, files: Iterable[Path]) -> None:
    """Compare downloaded files with the digests that the hub stated for them, and say if a name is not pinned.

    The hub's cache stores a file under its digest, and links to it from the folder of a commit.

    Args:
        name: as it was given.
        files: in the folder of a commit.

    Raises:
        HubError: naming a file that differs.
    """
    for path in files:
        stored = path.resolve()
        kind = _HASHES.get(len(stored.name)) if path.is_symlink() and re.fullmatch(r"[0-9a-f]+", stored.name) else None
        if kind and _digest(stored, kind) != stored.name:
            raise HubError(
                f"{path} differs from the file of {name} that the hub stored; remove {stored} to fetch it again"
            )
        if not split(name)[1] and name not in _noted and path.parent.parent.name == "snapshots":
            _noted.add(name)
            logging.getLogger(__name__).warning(
                "%s is not pinned: this is %s@%s; give that name, so that no later one is loaded",
                name,
                name,
                path.parent.name,
            )


def _digest(path: Path, kind: str) -> str:
    """Digest of a file; git's begins with a header."""
    whole = hashlib.new(kind, usedforsecurity=False)
    if kind == "sha1":
        whole.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            whole.update(block)
    return whole.hexdigest()
