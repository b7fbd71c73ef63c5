"""Fingerprints of raw files: a cohort records the bytes it was built from."""

import hashlib
from pathlib import Path

from data_modules.raw.errors import SourceError

EDGE_BYTES = 1 << 20


def fingerprint(file: Path) -> str:
    """Return a fingerprint of a file's content, 16 hexadecimal digits.

    A gzip file ends with the CRC-32 and the length of its content, so its size, first and last mebibyte identify it,
    and a release of hundreds of gigabytes is fingerprinted in milliseconds. Any other file is read completely.

    Raises:
        SourceError: if the file cannot be read.
    """
    try:
        return _digest(file)
    except OSError as error:
        raise SourceError(
            file, f"this file cannot be read ({error.strerror or error})", "give yourself read permission on it"
        ) from error


def _digest(file: Path) -> str:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as handle:
        if file.suffix.lower() != ".gz" or size <= 2 * EDGE_BYTES:
            for block in iter(lambda: handle.read(EDGE_BYTES), b""):
                digest.update(block)
        else:
            digest.update(handle.read(EDGE_BYTES))
            handle.seek(-EDGE_BYTES, 2)
            digest.update(handle.read(EDGE_BYTES))
    return digest.hexdigest()[:16]
