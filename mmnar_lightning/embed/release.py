"""Films as the published image embeddings, one TFRecord a film."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import images
from data_modules.sources.errors import SourceError
from data_modules.sources.tfrecord import decode
from mmnar_lightning.embed.encoder import Vectors, write_array

RELEASE_VERSION = 1
FILM_WIDTH = 1376
"""Floats of an embedding of the image-embeddings release."""


@dataclass(frozen=True)
class ReleaseFilms:
    """Reader of the published embeddings.

    Attributes:
        folder: the release.
    """

    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """Version and folder."""
        return {"release_films": RELEASE_VERSION, "folder": str(self.folder)}

    def prepare(self, source: Path) -> None:
        """Nothing: reading is quick."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the array of each row's mean."""
        write_array(
            target, rows, FILM_WIDTH, [release_embeddings(pl.read_parquet(source / images.IMAGES), self.folder)]
        )
        return []


def release_embeddings(films: pl.DataFrame, release: Path) -> Vectors:
    """Mean of the published embeddings of each row's frontal films; a lateral film has none."""
    listed = films.with_columns(path=pl.lit(f"{release}/") + pl.col("file") + ".tfrecord")
    frontal = listed.filter(pl.col("view").is_in(["AP", "PA"])).sort("row_id", "hours", "dicom_id")
    vectors = [_read_embedding(Path(path)) for path in frontal["path"]]
    rows, start = np.unique(frontal["row_id"].cast(pl.Int64).to_numpy(), return_index=True)
    if not vectors:
        return rows, np.zeros((0, FILM_WIDTH), dtype=np.float32)
    counts = np.diff([*start, len(vectors)])
    mean = np.add.reduceat(np.stack(vectors), start) / counts[:, None]
    return rows, mean.astype(np.float32)


def _read_embedding(path: Path) -> NDArray[np.float32]:
    try:
        return decode(path.read_bytes(), path, FILM_WIDTH)
    except FileNotFoundError:
        raise SourceError(path, "this embedding is missing", "download the image-embeddings release whole") from None
    except OSError as error:
        problem = f"this embedding cannot be read ({error.strerror or error})"
        raise SourceError(path, problem, "give yourself read permission on it") from error
