"""The embed stage: documents and films of a cohort become one vector a row, by encoders that are not trained here."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules import stage
from data_modules.build import COHORT, MODALITIES
from data_modules.features import documents, images, store
from data_modules.sources.errors import SourceError
from data_modules.sources.tfrecord import decode
from data_modules.vocabulary import Kind, Modality

EMBEDDER_VERSION = 1
FILM_WIDTH = 1376
"""Floats of an embedding of the image-embeddings release."""

Vectors = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row ids (n,) and their vectors (n, width)."""


@dataclass(kw_only=True)
class EmbedConfig:
    """How texts and films become vectors."""

    text: Literal["none", "hashed_ngrams"] = "none"
    """Encoder of notes and reports: none leaves them out; hashed_ngrams counts words and pairs of words."""
    text_width: int = 1024
    """Floats of a text's vector."""
    film: Literal["none", "release"] = "none"
    """Encoder of films: none leaves them out; release reads the published image embeddings."""

    def __post_init__(self) -> None:
        """Refuse a width that would be all collisions."""
        if self.text_width < 16:
            raise ValueError(f"embed.text_width={self.text_width} must be at least 16")

    def encoder(self, kind: Kind) -> str:
        """Name of the encoder of a kind of modality."""
        return {"documents": self.text, "images": self.film}.get(kind, "none")


def embed(cohort: Path, config: EmbedConfig, data: Path, films: Path | None) -> dict[str, Path]:
    """Encode what the configuration has an encoder for, unless that was done.

    Args:
        cohort: a finished cohort folder.
        config: which encoders.
        data: `paths.data`.
        films: folder of the image-embeddings release, None where there is none.

    Returns:
        Modality -> folder with its array, statistics and the rows that have a vector (`present.npy`).

    Raises:
        SourceError: when an embedding file is missing or broken.
        StageError: when the folder cannot be written.
    """
    manifest = stage.read_json(cohort / stage.MANIFEST)
    identity = {
        "embedder": EMBEDDER_VERSION,
        "cohort": manifest["fingerprint"],
        "config": asdict(config),
        "films": str(films) if config.film == "release" else None,
    }
    target = data / "embeddings" / stage.digest(identity)
    modalities = [Modality(**entry) for entry in manifest["modalities"]]
    chosen = [modality for modality in modalities if config.encoder(modality.kind) != "none"]
    if not chosen:
        return {}

    def write(folder: Path) -> None:
        rows = pl.read_parquet(cohort / COHORT, columns=["row_id", "split"])
        for modality in chosen:
            encode = _encoder(config, modality.kind, films)
            _store(folder / modality.name, rows, *encode(cohort / MODALITIES / modality.name))
        stage.write_json(folder / stage.MANIFEST, identity)

    stage.run_stage(target, write, "paths.data")
    return {modality.name: target / modality.name for modality in chosen}


def _encoder(config: EmbedConfig, kind: Kind, films: Path | None) -> Callable[[Path], Vectors]:
    if kind == "documents":
        return lambda folder: hashed_ngrams(pl.read_parquet(folder / documents.DOCUMENTS), config.text_width)
    if films is None:
        raise ValueError(
            "embed.film=release: there is no image-embeddings release under the roots; use embed.film=none"
        )
    return lambda folder: release_embeddings(pl.read_parquet(folder / images.IMAGES), films)


def hashed_ngrams(texts: pl.DataFrame, width: int) -> Vectors:
    """Words and pairs of words, hashed into `width` columns (scikit-learn's HashingVectorizer; nothing is fitted).

    Args:
        texts: `row_id`, `text` and, to order several texts of a row, `hours` and `document_id` where they are there.
        width: floats of a vector.

    >>> rows, vectors = hashed_ngrams(pl.DataFrame({"row_id": [3, 3], "text": ["No", "edema."]}), 16)
    >>> rows.tolist(), vectors.shape
    ([3], (1, 16))
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    order = [name for name in ("row_id", "hours", "document_id") if name in texts.columns]
    joined = texts.sort(order).group_by("row_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    rows = joined["row_id"].cast(pl.Int64).to_numpy()
    if joined.is_empty():
        return rows, np.zeros((0, width), dtype=np.float32)
    vectorizer = HashingVectorizer(n_features=width, ngram_range=(1, 2), dtype=np.float32)
    return rows, np.asarray(vectorizer.transform(joined["text"].to_list()).toarray(), dtype=np.float32)


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


def _store(folder: Path, rows: pl.DataFrame, row_id: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
    values = store.create(folder, rows.height, [str(column) for column in range(vectors.shape[1])])
    values[row_id] = vectors
    present = np.zeros(rows.height, dtype=np.bool_)
    present[row_id] = True
    np.save(folder / store.PRESENT, present)
    store.fit_statistics(values, present & (rows["split"] == "train").to_numpy()).save(folder)
