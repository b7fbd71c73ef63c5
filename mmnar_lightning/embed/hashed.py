"""Texts as counts of words and pairs of words; nothing is fitted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules.features import documents
from mmnar_lightning.embed.encoder import Vectors, write_array
from mmnar_lightning.embed.sections import select_sections

HASHED_VERSION = 2


@dataclass(frozen=True)
class HashedNgrams:
    """Encoder of the texts of a row, joined in order of time.

    Attributes:
        width: floats of a vector.
        sections: headings of what is kept.
    """

    width: int
    sections: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """Version, width and sections."""
        return {"hashed_ngrams": HASHED_VERSION, "width": self.width, "sections": list(self.sections)}

    def prepare(self, source: Path) -> None:
        """Nothing: counting is quick."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the array."""
        texts = pl.read_parquet(source / documents.DOCUMENTS)
        kept = [select_sections(text, self.sections) for text in texts["text"]]
        filled = texts.with_columns(text=pl.Series(kept, dtype=pl.String)).filter(pl.col("text") != "")
        write_array(target, rows, self.width, [hashed_ngrams(filled, self.width)])
        return documents_left_out(texts.height - filled.height, texts.height, self.sections)


def documents_left_out(empty: int, total: int, sections: tuple[str, ...]) -> list[str]:
    """The line that says how many documents hold no text.

    >>> documents_left_out(1, 4, ("Impression",))
    ['25.0% of its documents count as absent: they hold no text under Impression']
    """
    if not empty:
        return []
    where = f" under {', '.join(sections)}" if sections else ""
    return [f"{empty / total:.1%} of its documents count as absent: they hold no text{where}"]


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

    order = [name for name in documents.ORDER if name in texts.columns]
    joined = texts.sort(order).group_by("row_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    rows = joined["row_id"].cast(pl.Int64).to_numpy()
    if joined.is_empty():
        return rows, np.zeros((0, width), dtype=np.float32)
    vectorizer = HashingVectorizer(n_features=width, ngram_range=(1, 2), dtype=np.float32)
    return rows, np.asarray(vectorizer.transform(joined["text"].to_list()).toarray(), dtype=np.float32)
