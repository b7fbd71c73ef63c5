"""Keys of image files, by which their vectors are stored and found again."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image.selection import inaccessible
from mmnar_lightning.encoders.vector_store import Keys

JPEG, TFRECORD = ".jpg", ".tfrecord"


def image_keys(folder: Path, files: pl.Series, suffix: str) -> tuple[Keys, NDArray[np.bool_]]:
    """Keys of image files from name, size and modification time, so that a replaced image has another key.

    Args:
        folder: of the release or cohort.
        files: names without suffix.
        suffix: of the files.

    Returns:
        (n,) S32, the keys, and (n,) bool, whether the file exists and is not empty.

    Raises:
        SourceError: if a file cannot be accessed.
    """
    keys, whole = np.zeros(len(files), "S32"), np.zeros(len(files), np.bool_)
    for position, file in enumerate(files):
        try:
            state = (folder / f"{file}{suffix}").stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SourceError(*inaccessible(folder / f"{file}{suffix}", error)) from None
        whole[position] = state.st_size > 0
        keys[position] = hashlib.sha256(f"{file} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:32]
    return keys, whole


def contents(keys: Keys) -> str:
    """Return the digest of the keys of a cohort's files; it changes if a file is added, lost or replaced.

    >>> contents(np.array([b"a", b"b"], "S32")) == contents(np.array([b"a", b""], "S32"))
    False
    """
    return hashlib.sha256(keys.tobytes()).hexdigest()[:32]
