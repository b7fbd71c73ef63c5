"""The interface of encoders, and what most of them write: one vector per row, or the vectors of its items."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features import store
from data_modules.loading.items import RowItems

Vectors = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row ids (n,) and their vectors (n, width)."""


class Encoder(Protocol):
    """Turns the documents or images of a modality into inputs of the model."""

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that, with the cohort, determine the output."""

    def contents(self, source: Path) -> str | None:
        """Digest of files outside of the cohort that determine the output too.

        Args:
            source: the modality's folder in the cohort.

        Returns:
            The digest; None if there are no such files.
        """

    def prepare(self, source: Path) -> None:
        """Do the expensive work, shared by all processes that call this.

        Args:
            source: the modality's folder in the cohort.
        """

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write a folder that a store of `data_modules` reads; called by one process.

        Args:
            source: the modality's folder in the cohort.
            rows: `row_id` and `split` of the cohort and its pre-training rows, in order.
            target: an empty folder.

        Returns:
            Messages for the user: what was left out, and why.
        """


def write_vectors(
    target: Path, rows: pl.DataFrame, width: int, pooling: str, most: int, blocks: Iterable[Vectors]
) -> None:
    """Write the vectors of items as `pooling` needs them: their mean for each row, or, for attention, each of them.

    Args:
        target: folder to create.
        rows: `row_id` and `split` of the cohort.
        width: width of a vector.
        pooling: `mean` or `attention`.
        most: maximum number of vectors.
        blocks: row ids, ascending, which may repeat, and their vectors.
    """
    if pooling == "mean":
        write_array(target, rows, width, blocks)
    else:
        write_items(target, rows, width, most, blocks)


def write_array(target: Path, rows: pl.DataFrame, width: int, blocks: Iterable[Vectors]) -> None:
    """Write the mean of each row's vectors as an array with its statistics, and the presence of each row.

    Args:
        target: folder to create.
        rows: `row_id` and `split` of the cohort.
        width: width of a vector.
        blocks: row ids, which may repeat, and their vectors.
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


def write_items(target: Path, rows: pl.DataFrame, width: int, most: int, blocks: Iterable[Vectors]) -> None:
    """Write vectors as items of their rows, with the statistics of train rows.

    Args:
        target: folder to fill.
        rows: `row_id` and `split` of the cohort.
        width: width of a vector.
        most: maximum number of vectors.
        blocks: row ids, ascending, and their vectors.
    """
    values = store.create(target, most, [str(column) for column in range(width)])
    owner = np.zeros(most, np.int64)
    count = 0
    for row_id, vectors in blocks:
        written = slice(count, count + len(row_id))
        owner[written], values[written] = row_id, vectors
        count = written.stop
    RowItems.save(target, rows.height, owner[:count], np.arange(count))
    train = (rows["split"] == "train").to_numpy()
    store.fit_statistics(values, train[owner] & (np.arange(most) < count)).save(target)
