"""What the embed stage asks of an encoder, and the array of one vector a row that most encoders write."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import store

Vectors = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row ids (n,) and their vectors (n, width)."""


class Encoder(Protocol):
    """Turns the documents or images of a modality into what the model reads."""

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that tell one output from another, besides the cohort."""

    def prepare(self, source: Path) -> None:
        """The long work, which every process that calls this shares; nothing where there is none.

        Args:
            source: the modality's folder in the cohort.
        """

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Fill a folder with what a store of `data_modules` opens; called by one process.

        Args:
            source: the modality's folder in the cohort.
            rows: `row_id` and `split` of the cohort, in order.
            target: an empty folder.

        Returns:
            Lines for people: what was left out, and why.
        """


def write_array(target: Path, rows: pl.DataFrame, width: int, blocks: Iterable[Vectors]) -> None:
    """Write the mean of each row's vectors as an array with its statistics, and which rows have any.

    Args:
        target: folder to make.
        rows: `row_id` and `split` of the cohort.
        width: floats of a vector.
        blocks: row ids, which may repeat, and vectors.
    """
    values = store.create(target, rows.height, [str(column) for column in range(width)])
    count = np.zeros(rows.height, dtype=np.int64)
    for row_id, vectors in blocks:
        np.add.at(values, row_id, vectors)
        np.add.at(count, row_id, 1)
    for block in store.blocks(rows.height):
        values[block] /= np.maximum(count[block], 1)[:, None]
    present = count > 0
    np.save(target / store.PRESENT, present)
    store.fit_statistics(values, present & (rows["split"] == "train").to_numpy()).save(target)
