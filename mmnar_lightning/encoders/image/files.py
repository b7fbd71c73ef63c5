"""Image files as batches of pixels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmnar_lightning.encoders.image.backbone import image_input
from mmnar_lightning.encoders.image.keys import contents, image_keys
from mmnar_lightning.encoders.image.ready import CohortImages
from mmnar_lightning.encoders.image.selection import ImageInput
from mmnar_lightning.encoders.vector_store import Keys


@dataclass(frozen=True)
class ImageFiles(CohortImages):
    """Images as files of a release or a custom cohort.

    Attributes:
        folder: of the release or cohort.
        suffix: of the files, beyond their names in the cohort.
    """

    folder: Path
    suffix: str

    def contents(self, source: Path) -> str:
        """Digest of the image files of a cohort."""
        return contents(image_keys(self.folder, self.images(source)["file"], self.suffix)[0])

    @cached_property
    def input(self) -> ImageInput:
        """The input format of the network."""
        return image_input(self.config)

    def paths(self, files: pl.Series) -> list[Path]:
        """Paths of the image files."""
        return [self.folder / f"{file}{self.suffix}" for file in files]

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
        keys, whole = image_keys(self.folder, images["file"], self.suffix)
        unreadable = self.unreadable(source, images.height)
        for file in images["file"].filter(pl.Series(~whole)):
            unreadable.add(file, "empty" if (self.folder / f"{file}{self.suffix}").is_file() else "missing")
        unreadable.check()
        return keys, whole
