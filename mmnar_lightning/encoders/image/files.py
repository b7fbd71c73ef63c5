"""Image files as batches of pixels."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmnar_lightning.encoders.image.backbone import image_input
from mmnar_lightning.encoders.image.ready import ImagesOf
from mmnar_lightning.encoders.image.selection import ImageInput, unreachable
from mmnar_lightning.encoders.vector_store import Keys

BATCHES = 16
"""Batches of a unit of work: what a killed process loses at most."""


@dataclass(frozen=True)
class Pictures(ImagesOf):
    """Images as files of a release.

    Attributes:
        folder: of the release with the JPEG files.
    """

    folder: Path

    @cached_property
    def input(self) -> ImageInput:
        """What the network is shown."""
        return image_input(self.config)

    def paths(self, files: pl.Series) -> list[Path]:
        """Where images lie."""
        return [self.folder / f"{file}.jpg" for file in files]

    def known(self, source: Path, images: pl.DataFrame) -> tuple[Keys, NDArray[np.bool_]]:
        """`image_keys` of a cohort's images, stopping before the long work where too many are not there at all.

        Raises:
            ImagesError: with more than the allowed share missing or empty: the folder may be the wrong one.
        """
        keys, whole = image_keys(self.folder, images["file"])
        unreadable = self.unreadable(source, images.height)
        for file in images["file"].filter(pl.Series(~whole)):
            unreadable.add(file, "empty" if (self.folder / f"{file}.jpg").is_file() else "missing")
        unreadable.check()
        return keys, whole


def image_keys(folder: Path, files: pl.Series) -> tuple[Keys, NDArray[np.bool_]]:
    """What tells each image from all others, (n,) S32, and whether there is anything to read, (n,) bool.

    A image that was mended has another size or time, and so another key; its bytes are not read for that.

    Raises:
        SourceError: for a file that cannot be reached.
    """
    keys, whole = np.zeros(len(files), "S32"), np.zeros(len(files), np.bool_)
    for position, file in enumerate(files):
        try:
            state = (folder / f"{file}.jpg").stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreachable(folder / f"{file}.jpg", error) from error
        whole[position] = state.st_size > 0
        keys[position] = hashlib.sha256(f"{file} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:32]
    return keys, whole
