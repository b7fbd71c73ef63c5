"""Modalities that are several items a row: documents as tokens, images as pixels, or items that are vectors already."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.batch import Items
from data_modules.features.store import BoolArray, Statistics, open_values
from data_modules.features.tokens import TokenTable, ranges
from data_modules.loading.arrays import ModalityArray, Store, standardise

ROWS, ITEMS, STORE, PIXELS = "rows.npy", "items.npy", "store.json", "pixels.npy"


class RowItems:
    """Which items each row has.

    Attributes:
        row: (N + 1,) int64, where the items of each row begin.
        item: (n,) int64, the items of the rows, one row after the other.
    """

    def __init__(self, folder: Path) -> None:
        self.row: NDArray[np.int64] = np.load(folder / ROWS, allow_pickle=False)
        self.item: NDArray[np.int64] = np.load(folder / ITEMS, allow_pickle=False)

    @staticmethod
    def save(folder: Path, num_rows: int, row: NDArray[np.int64], item: NDArray[np.int64]) -> None:
        """Write them; `row` rises, and the items of a row are in their order."""
        np.save(folder / ROWS, np.searchsorted(row, np.arange(num_rows + 1)))
        np.save(folder / ITEMS, item)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, the rows that have any."""
        return np.diff(self.row) > 0

    def of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The items of rows, and the place among `rows` that each belongs to, rising."""
        place, owner = ranges(self.row[rows], self.row[rows + 1])
        return self.item[place], owner


class TokenItems:
    """Documents as token ids, for an encoder that sits in the model.

    Args:
        folder: a token table, the items of rows, and the width of a document's vector.
    """

    def __init__(self, folder: Path) -> None:
        self.width = int(json.loads((folder / STORE).read_text(encoding="utf-8"))["width"])
        self.table, self.items = TokenTable(folder), RowItems(folder)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, the rows that have any document."""
        return self.items.present

    def gather(self, rows: NDArray[np.int64]) -> Items:
        """Windows of the documents of rows: `tokens` (n, longest) int64, `length` (n,) int64, `item` (n,) int64."""
        documents, row = self.items.of(rows)
        windows, item = ranges(self.table.document[documents], self.table.document[documents + 1])
        tokens, length = self.table.gather(windows)
        values = {"tokens": tokens.astype(np.int64), "length": length, "item": item}
        return Items(
            row=torch.from_numpy(row), values={name: torch.from_numpy(value) for name, value in values.items()}
        )


class VectorItems:
    """Items that are vectors already, standardised with the statistics of the train rows.

    Args:
        folder: an array of one row an item, its statistics and the items of rows.
    """

    def __init__(self, folder: Path) -> None:
        self.values, self.statistics, self.items = open_values(folder), Statistics.load(folder), RowItems(folder)

    @property
    def width(self) -> int:
        """Floats of an item."""
        return int(self.values.shape[1])

    @property
    def present(self) -> BoolArray:
        """(N,) bool, the rows that have any item."""
        return self.items.present

    def gather(self, rows: NDArray[np.int64]) -> Items:
        """The items of rows: `vectors` (n, width) float32."""
        item, row = self.items.of(rows)
        vectors = standardise(self.values[item], self.statistics)
        return Items(row=torch.from_numpy(row), values={"vectors": vectors})


class PixelItems:
    """Images as pixels, for a network that sits in the model.

    Args:
        folder: pixels of one image an entry, the items of rows, and the width of a image's vector.
    """

    def __init__(self, folder: Path) -> None:
        self.width = int(json.loads((folder / STORE).read_text(encoding="utf-8"))["width"])
        self.pixels: NDArray[np.uint8] = np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
        self.items = RowItems(folder)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, the rows that have any image."""
        return self.items.present

    def gather(self, rows: NDArray[np.int64]) -> Items:
        """The images of rows: `pixels` (n, C, height, width) uint8."""
        item, row = self.items.of(rows)
        return Items(row=torch.from_numpy(row), values={"pixels": torch.from_numpy(self.pixels[item])})


def open_store(folder: Path) -> Store:
    """What a modality's folder holds: pixels, tokens, items that are vectors, or one vector a row."""
    if (folder / PIXELS).is_file():
        return PixelItems(folder)
    if (folder / STORE).is_file():
        return TokenItems(folder)
    return VectorItems(folder) if (folder / ROWS).is_file() else ModalityArray.open(folder)
