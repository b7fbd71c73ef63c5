"""Texts as hashed counts of words and pairs of words; nothing is fitted."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import documents, store
from mmnar_lightning.encoders.encoder import Vectors, write_array
from mmnar_lightning.encoders.text.corpus import documents_left_out, read_order, read_texts

Ints = NDArray[np.int64]
HASHED_VERSION = 2
ROWS_TOGETHER = 256
"""Rows per block, whose texts and vectors are in memory."""


@dataclass(frozen=True)
class HashedNgrams:
    """Encodes the texts of a row, joined in order of time.

    Attributes:
        width: width of a vector.
        sections: headings of the sections to keep.
    """

    width: int
    sections: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """Version, width and sections."""
        return {"hashed_ngrams": HASHED_VERSION, "width": self.width, "sections": list(self.sections)}

    def contents(self, source: Path) -> None:
        """Nothing outside of the cohort."""

    def prepare(self, source: Path) -> None:
        """No work: counting is fast."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the array."""
        place, row = read_order(source)
        # Documents are unordered and may exceed memory, so they are buffered in a temporary file.
        with TemporaryFile(dir=target) as waiting:
            start = _write_texts(read_texts(source, self.sections), waiting)
            filled = np.diff(start)[place] > 0
            write_array(target, rows, self.width, self._blocks(waiting, start, place[filled], row[filled]))
        return documents_left_out(int((~filled).sum()), len(filled), self.sections)

    def _blocks(self, waiting: IO[bytes], start: Ints, place: Ints, row: Ints) -> Iterator[Vectors]:
        """Vectors, a block of rows at a time."""
        first = np.append(np.flatnonzero(np.diff(row, prepend=-1)), len(row))
        for block in store.blocks(len(first) - 1, ROWS_TOGETHER):
            own = slice(first[block.start], first[block.stop])
            texts = [_read_text(waiting, start, position) for position in place[own]]
            yield hashed_ngrams(pl.DataFrame({"row_id": row[own], "text": texts}), self.width)


def _write_texts(texts: Iterable[list[str]], waiting: IO[bytes]) -> Ints:
    """Write texts consecutively; returns the start of each and the end of the last."""
    start = array("q", [0])
    for chunk in texts:
        for text in chunk:
            start.append(start[-1] + waiting.write(text.encode()))
    return np.frombuffer(start, dtype=np.int64)


def _read_text(waiting: IO[bytes], start: Ints, position: int) -> str:
    waiting.seek(start[position])
    return waiting.read(start[position + 1] - start[position]).decode()


def hashed_ngrams(texts: pl.DataFrame, width: int) -> Vectors:
    """Words and pairs of words, hashed into `width` columns (scikit-learn's HashingVectorizer; nothing is fitted).

    Args:
        texts: `row_id`, `text` and, to order several texts of a row, optionally `hours` and `document_id`.
        width: width of a vector.

    Returns:
        Row ids, ascending, and their vectors.

    >>> rows, vectors = hashed_ngrams(pl.DataFrame({"row_id": [3, 3], "text": ["No", "edema."]}), 16)
    >>> rows.tolist(), vectors.shape
    ([3], (1, 16))
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    order = [name for name in documents.ORDER if name in texts.columns]
    joined = (
        texts.sort(order, maintain_order=True)
        .group_by("row_id", maintain_order=True)
        .agg(pl.col("text").str.join("\n"))
    )
    rows = joined["row_id"].cast(pl.Int64).to_numpy()
    if joined.is_empty():
        return rows, np.zeros((0, width), dtype=np.float32)
    vectorizer = HashingVectorizer(n_features=width, ngram_range=(1, 2), dtype=np.float32)
    return rows, np.asarray(vectorizer.transform(joined["text"].to_list()).toarray(), dtype=np.float32)
