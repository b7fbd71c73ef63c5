"""The documents of a modality: their order per row and the digest of each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import documents
from mmnar_lightning.encoders.text.sections import select_sections
from mmnar_lightning.encoders.vector_store import Keys

CHUNK = documents.ROW_GROUP
"""Documents in memory at once."""


@dataclass(frozen=True)
class Corpus:
    """Nonempty documents, in order of row, time and id.

    Attributes:
        row: (n,) int64, the row of each, ascending.
        key: (n,) S32, digest of the selected text of each; equal texts have equal keys.
        left_out: messages for the user.
    """

    row: NDArray[np.int64]
    key: Keys
    left_out: list[str]


def read_corpus(folder: Path, sections: Sequence[str]) -> Corpus:
    """Read row and digest of a modality's documents.

    Args:
        folder: the modality's folder in the cohort.
        sections: headings of the sections to keep; empty keeps all.

    Returns:
        The nonempty documents.
    """
    keys = [digest_text(text) if text else b"" for chunk in read_texts(folder, sections) for text in chunk]
    key = np.array(keys, dtype="S32")
    place, row = read_order(folder)
    filled = key[place] != b""
    left_out = documents_left_out(int((~filled).sum()), len(filled), tuple(sections))
    return Corpus(row[filled], key[place][filled], left_out)


def read_order(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Documents in the order of rows: position in the file and row, ascending; both (n,) int64."""
    scan = pl.scan_parquet(folder / documents.DOCUMENTS)
    order = [name for name in documents.ORDER if name in scan.collect_schema()]
    listed = scan.select(order).with_row_index("place").sort(*order, "place").collect()
    return listed["place"].cast(pl.Int64).to_numpy(), listed["row_id"].cast(pl.Int64).to_numpy()


def read_texts(folder: Path, sections: Sequence[str]) -> Iterator[list[str]]:
    """The selected text of each document, in the order of the file, by chunks; empty without a section."""
    scan = pl.scan_parquet(folder / documents.DOCUMENTS).select("text")
    for chunk in scan.collect_batches(chunk_size=CHUNK, maintain_order=True):
        yield [select_sections(text, sections) for text in chunk["text"]]


def documents_left_out(empty: int, total: int, sections: tuple[str, ...]) -> list[str]:
    """The message about documents without text.

    Args:
        empty: number of documents without text.
        total: number of documents.
        sections: headings of the sections that are kept.

    Returns:
        One message; none if all documents have text.

    >>> documents_left_out(1, 4, ("Impression",))
    ['25.0% of its documents count as absent: they hold no text under Impression']
    """
    if not empty:
        return []
    where = f" under {', '.join(sections)}" if sections else ""
    return [f"{empty / total:.1%} of its documents count as absent: they hold no text{where}"]


def digest_text(text: str) -> bytes:
    """Digest of a text.

    Args:
        text: the text.

    Returns:
        32 hexadecimal digits.

    >>> digest_text("No edema.")[:8]
    b'...'
    """
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest().encode()
