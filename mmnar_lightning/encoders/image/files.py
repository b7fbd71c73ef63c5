"""Image files as batches of pixels."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image.backbone import image_input
from mmnar_lightning.encoders.image.ready import CohortImages
from mmnar_lightning.encoders.image.selection import ImageInput, access_problem
from mmnar_lightning.encoders.vector_store import Keys


@dataclass(frozen=True)
class ImageFiles(CohortImages):
    """Images as JPEG files of a release.

    Attributes:
        folder: of the release.
    """

    folder: Path

    @cached_property
    def input(self) -> ImageInput:
        """The input format of the network."""
        return image_input(self.config)

    def paths(self, files: pl.Series) -> list[Path]:
        """Paths of the image files."""
        return [self.folder / f"{file}.jpg" for file in files]

    def known(self, source: Path, images: pl.DataFrame) -> tuple[Keys, NDArray[np.bool_]]:
        """Keys of a cohort's images.

        An ImagesError, before any image is decoded, stops the stage if more than the allowed share is missing or empty,
        since the folder may be the wrong one.

        Args:
            source: the modality's folder in the cohort.
            images: with the column `file`.

        Returns:
            As of `image_keys`.
        """
        keys, whole = image_keys(self.folder, images["file"])
        unreadable = self.unreadable(source, images.height)
        for file in images["file"].filter(pl.Series(~whole)):
            unreadable.add(file, "empty" if (self.folder / f"{file}.jpg").is_file() else "missing")
        unreadable.check()
        return keys, whole


def image_keys(folder: Path, files: pl.Series) -> tuple[Keys, NDArray[np.bool_]]:
    """Keys of image files from name, size and modification time, so that a replaced image has another key.

    Args:
        folder: of the release.
        files: names without suffix.

    Returns:
        (n,) S32, the keys, and (n,) bool, whether the file exists and is not empty.

    Raises:
        SourceError: if a file cannot be accessed.
    """
    keys, whole = np.zeros(len(files), "S32"), np.zeros(len(files), np.bool_)
    for position, file in enumerate(files):
        try:
            state = (folder / f"{file}.jpg").stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SourceError(folder / f"{file}.jpg", *access_problem(error)) from error
        whole[position] = state.st_size > 0
        keys[position] = hashlib.sha256(f"{file} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:32]
    return keys, whole
