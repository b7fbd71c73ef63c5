"""Precomputed vectors: the image-embeddings release, a Parquet file, or a pair of .npy files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.databases.mimic_iv.tfrecord import decode
from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image.selection import inaccessible

RELEASE_WIDTH = 1376
"""Width of the published image embeddings."""
VECTOR = "vector"
KEYS = ("dicom_id", "document_id", "row_id")
"""Columns that may identify the item of a vector."""
CONTRACT = "see docs/text_and_images.md for the format"

Floats = NDArray[np.float32]
Array = NDArray[Any]


@dataclass(frozen=True)
class VectorFile:
    """Vectors by the id of their item.

    Attributes:
        key: `dicom_id`, `document_id` or `row_id`.
        names: (n,) unique ids.
        values: (n, width) float32, all finite.
    """

    key: str
    names: pl.Series
    values: Floats

    def look_up(self, names: pl.Series) -> tuple[NDArray[np.bool_], Floats]:
        """Look up vectors.

        Args:
            names: (m,) ids.

        Returns:
            (m,) bool, whether each is found, and (m, width) float32, zero where it is not.

        >>> file = VectorFile("row_id", pl.Series([7, 4]), np.array([[1.0], [2.0]], np.float32))
        >>> file.look_up(pl.Series([4, 5]))[1].tolist()
        [[2.0], [0.0]]
        """
        numbered = pl.DataFrame({"name": self.names, "position": np.arange(len(self.names))})
        asked = pl.DataFrame({"name": names.cast(self.names.dtype)})
        position = asked.join(numbered, on="name", how="left", maintain_order="left")["position"]
        found = position.is_not_null().to_numpy()
        vectors = np.zeros((len(names), self.values.shape[1]), np.float32)
        vectors[found] = self.values[position.drop_nulls().to_numpy()]
        return found, vectors


def read_vectors(path: Path) -> VectorFile:
    """Read a file of precomputed vectors.

    Args:
        path: a Parquet file with one of the columns `dicom_id`, `document_id`, `row_id`, and `vector` (a list or array
            of floats); or an .npy file, (n, width) float, with the ids in `<stem>.ids.npy`: text for dicom_id, integers
            for row_id.

    Returns:
        The vectors.

    Raises:
        SourceError: if the file is missing or unreadable or has another dtype, an id is null or repeated, widths differ
            or a value is not finite.
    """
    if not path.is_file():
        raise SourceError(path, "this vectors file does not exist", "set embed.image.path to the file")
    if path.suffix not in (".parquet", ".npy"):
        raise SourceError(path, "expected a .parquet or an .npy file", CONTRACT)
    key, names, values = _read_parquet(path) if path.suffix == ".parquet" else _read_npy(path)
    if names.null_count():
        raise SourceError(path, f"{names.null_count()} values of {key} are null", CONTRACT)
    repeated = len(names) - names.n_unique()
    if repeated:
        raise SourceError(path, f"{repeated} vectors have a repeated {key}", "keep one vector of each")
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    if broken:
        raise SourceError(path, f"{broken} vectors hold NaN or infinity", "leave out these vectors")
    return VectorFile(key, names, np.ascontiguousarray(values, dtype=np.float32))


def _read_parquet(path: Path) -> tuple[str, pl.Series, Array]:
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SourceError(path, "this file is not readable as Parquet", "write it again") from error
    keys = [key for key in KEYS if key in table.columns]
    if len(keys) != 1 or VECTOR not in table.columns:
        listed = ", ".join(table.columns)
        raise SourceError(path, f"expected the column {VECTOR} and one of {', '.join(KEYS)}, found {listed}", CONTRACT)
    return keys[0], table[keys[0]], _stack(path, table[VECTOR])


def _stack(path: Path, vectors: pl.Series) -> Array:
    """A column of lists or arrays of floats as (n, width)."""
    inner = getattr(vectors.dtype, "inner", None)
    if inner not in (pl.Float32, pl.Float64):
        raise SourceError(path, f"{VECTOR} is {vectors.dtype}, expected lists of Float32 or Float64", CONTRACT)
    lists = vectors.cast(pl.List(inner))
    widths = lists.list.len().unique()
    if len(widths) != 1 or not widths[0] or lists.list.explode().null_count():
        raise SourceError(path, "the vectors differ in width, or one of them is null", CONTRACT)
    return lists.list.explode().to_numpy().reshape(len(vectors), int(widths[0]))


def _read_npy(path: Path) -> tuple[str, pl.Series, Array]:
    beside = path.with_suffix(".ids.npy")
    values, names = _load(path), _load(beside)
    if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
        raise SourceError(path, f"the array is {values.shape} {values.dtype}, expected (n, width) of floats", CONTRACT)
    if names.shape != (len(values),) or names.dtype.kind not in "Uiu":
        found = f"{names.shape} {names.dtype}"
        raise SourceError(beside, f"the ids are {found}, expected ({len(values)},) of text or integers", CONTRACT)
    return ("dicom_id" if names.dtype.kind == "U" else "row_id"), pl.Series(names), values


def _load(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise SourceError(path, "this file is missing", CONTRACT) from None
    except (ValueError, EOFError) as error:
        raise SourceError(path, "this file is not an .npy array of plain values", "write it again") from error
    return array


def read_release(paths: Sequence[Path], num_workers: int) -> tuple[NDArray[np.bool_], Floats]:
    """Read published embeddings; a file that cannot be accessed raises a SourceError.

    Args:
        paths: of the TFRecord files.
        num_workers: number of threads, useful on network storage; 0 = none.

    Returns:
        (n,) bool, whether each file has an embedding, and (n, 1376) float32, zero where it has none.
    """
    found = np.zeros(len(paths), np.bool_)
    vectors = np.zeros((len(paths), RELEASE_WIDTH), np.float32)
    if num_workers:
        with ThreadPoolExecutor(num_workers) as pool:
            read = pool.map(read_embedding, paths)
    else:
        read = map(read_embedding, paths)
    for position, vector in enumerate(read):
        if not isinstance(vector, str):
            found[position], vectors[position] = True, vector
    return found, vectors


def read_embedding(path: Path) -> Floats | str:
    """Read a published embedding.

    Args:
        path: of the TFRecord file.

    Returns:
        (1376,) float32, or the reason why there is none.

    Raises:
        SourceError: if the file cannot be accessed, which may be temporary, so that the image is not left out.
    """
    try:
        return decode(path.read_bytes(), RELEASE_WIDTH)
    except FileNotFoundError:
        return "without an embedding"
    except OSError as error:
        raise SourceError(*inaccessible(path, error)) from None
