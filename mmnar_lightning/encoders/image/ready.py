"""Encoders of images with precomputed vectors: published embeddings, or a file of the user's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import images, store
from data_modules.raw.errors import SourceError
from data_modules.raw.fingerprint import fingerprint
from mmnar_lightning.encoders.encoder import Vectors, write_vectors
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.keys import TFRECORD, contents, image_keys
from mmnar_lightning.encoders.image.selection import Unreadable, choose
from mmnar_lightning.encoders.image.vectors import (
    CONTRACT,
    RELEASE_WIDTH,
    Floats,
    read_embedding,
    read_release,
    read_vectors,
)

IMAGES_VERSION = 1
"""Increased whenever the same images and settings give other values, unless the input format names the change."""
Found = tuple[NDArray[np.bool_], Floats]
"""Whether each image has a vector, (n,) bool, and the vectors, (n, width)."""


@dataclass(frozen=True)
class CohortImages:
    """The images of the rows of a cohort.

    Attributes:
        config: views, maximum number of images of a row, and share that may be unreadable.
        data: `paths.data`.
    """

    config: ImageConfig
    data: Path

    @property
    def choice(self) -> dict[str, Any]:
        """Plain values that determine the selection and pooling of images."""
        return {key: getattr(self.config, key) for key in ("views", "max_images", "pooling")}

    def images(self, source: Path) -> pl.DataFrame:
        """The images of a cohort, sorted by row."""
        return choose(pl.read_parquet(source / images.IMAGES), self.config.views, self.config.max_images)

    def unreadable(self, source: Path, total: int) -> Unreadable:
        """An empty list for the unreadable images of a cohort."""
        name = f"unreadable-{source.parents[1].name}-{source.name}.csv"
        return Unreadable(total, self.config.max_unreadable_share, self.data / "embeddings" / name)

    def _write(
        self,
        source: Path,
        rows: pl.DataFrame,
        target: Path,
        width: int,
        look_up: Callable[[pl.DataFrame], Found],
        reason: Callable[[str], str],
    ) -> list[str]:
        """Write the vectors of images; images without one are listed and absent."""
        images = self.images(source)
        unreadable = self.unreadable(source, images.height)

        def blocks() -> Iterator[Vectors]:
            for block in store.blocks(images.height):
                part = images[block]
                found, vectors = look_up(part)
                for file in part["file"].filter(pl.Series(~found)):
                    unreadable.add(file, reason(file))
                yield part["row_id"].cast(pl.Int64).to_numpy()[found], vectors[found]

        write_vectors(target, rows, width, self.config.pooling, images.height, blocks())
        return unreadable.finish()


@dataclass(frozen=True)
class ReleaseImages(CohortImages):
    """The published image embeddings, one TFRecord per image.

    Attributes:
        folder: the release.
    """

    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """Version and selection of images."""
        return {"release_images": IMAGES_VERSION, **self.choice}

    def contents(self, source: Path) -> str:
        """Digest of the embeddings of a cohort's images."""
        return contents(image_keys(self.folder, self.images(source)["file"], TFRECORD)[0])

    def prepare(self, source: Path) -> None:
        """No work: reading is fast."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the embeddings of each row."""
        return self._write(source, rows, target, RELEASE_WIDTH, self._look_up, self._reason)

    def _look_up(self, images: pl.DataFrame) -> Found:
        paths = [self.folder / f"{file}{TFRECORD}" for file in images["file"]]
        return read_release(paths, self.config.num_workers)

    def _reason(self, file: str) -> str:
        embedding = read_embedding(self.folder / f"{file}{TFRECORD}")
        return embedding if isinstance(embedding, str) else "unreadable when it was first read"


@dataclass(frozen=True)
class OwnVectors(CohortImages):
    """Vectors of images in a file of the user's."""

    @property
    def identity(self) -> dict[str, Any]:
        """Version, fingerprint of the file and selection of images."""
        path = Path(self.config.path)
        beside = path.with_suffix(".ids.npy")
        files = [path, beside] if beside.is_file() else [path]
        return {"own_vectors": IMAGES_VERSION, "files": [fingerprint(file) for file in files], **self.choice}

    def contents(self, source: Path) -> None:
        """Nothing beside the file, whose fingerprint is in the identity."""

    def prepare(self, source: Path) -> None:
        """No work: reading is fast."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the vectors of each row.

        Args:
            source: the modality's folder in the cohort.
            rows: `row_id` and `split` of the cohort.
            target: folder to fill.

        Returns:
            Messages for the user.

        Raises:
            SourceError: if the vectors are not of images.
        """
        path = Path(self.config.path)
        file = read_vectors(path)
        if file.key == "document_id":
            raise SourceError(path, "the vectors are of documents (document_id), expected images", CONTRACT)

        def look_up(images: pl.DataFrame) -> Found:
            return file.look_up(images[file.key])

        return self._write(source, rows, target, file.values.shape[1], look_up, lambda _: "without a vector")
