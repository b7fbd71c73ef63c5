"""Modalities with several items per row: documents as tokens, images as pixels, or precomputed vectors."""

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
    """The items of each row.

    Attributes:
        row: (N + 1,) int64, offsets of the items of each row in `item`.
        item: (n,) int64, item numbers, row by row.
    """

    def __init__(self, folder: Path) -> None:
        self.row: NDArray[np.int64] = np.load(folder / ROWS, allow_pickle=False)
        self.item: NDArray[np.int64] = np.load(folder / ITEMS, allow_pickle=False)

    @staticmethod
    def save(folder: Path, num_rows: int, row: NDArray[np.int64], item: NDArray[np.int64]) -> None:
        """Write the items of `num_rows` rows; `row` is ascending, and the items of a row are in order."""
        np.save(folder / ROWS, np.searchsorted(row, np.arange(num_rows + 1)))
        np.save(folder / ITEMS, item)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, True = the row has an item."""
        return np.diff(self.row) > 0

    def of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The items of rows, and the ascending position in `rows` of each; both (n,)."""
        place, owner = ranges(self.row[rows], self.row[rows + 1])
        return self.item[place], owner


class TokenItems:
    """Documents as token ids, for an encoder in the model.

    Args:
        folder: token table, items of rows, and width of a document's representation.
    """

    def __init__(self, folder: Path) -> None:
        self.width = int(json.loads((folder / STORE).read_text(encoding="utf-8"))["width"])
        self.table, self.items = TokenTable(folder), RowItems(folder)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, True = the row has a document."""
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
    """Items that are precomputed vectors, standardised by the statistics of the train rows.

    Args:
        folder: array with one row per item, its statistics, and the items of rows.
    """

    def __init__(self, folder: Path) -> None:
        self.values, self.statistics, self.items = open_values(folder), Statistics.load(folder), RowItems(folder)

    @property
    def width(self) -> int:
        """Floats per item."""
        return int(self.values.shape[1])

    @property
    def present(self) -> BoolArray:
        """(N,) bool, True = the row has an item."""
        return self.items.present

    def gather(self, rows: NDArray[np.int64]) -> Items:
        """The items of rows: `vectors` (n, width) float32."""
        item, row = self.items.of(rows)
        vectors = standardise(self.values[item], self.statistics)
        return Items(row=torch.from_numpy(row), values={"vectors": vectors})


class PixelItems:
    """Images as pixels, for an encoder in the model.

    Args:
        folder: pixels of each image, items of rows, and width of an image's representation.
    """

    def __init__(self, folder: Path) -> None:
        self.width = int(json.loads((folder / STORE).read_text(encoding="utf-8"))["width"])
        self.pixels: NDArray[np.uint8] = np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
        self.items = RowItems(folder)

    @property
    def present(self) -> BoolArray:
        """(N,) bool, True = the row has an image."""
        return self.items.present

    def gather(self, rows: NDArray[np.int64]) -> Items:
        """The images of rows: `pixels` (n, C, height, width) uint8."""
        item, row = self.items.of(rows)
        return Items(row=torch.from_numpy(row), values={"pixels": torch.from_numpy(self.pixels[item])})


def open_store(folder: Path) -> Store:
    """Open the folder of a modality: pixels, tokens, vectors of items, or one vector per row."""
    if (folder / PIXELS).is_file():
        return PixelItems(folder)
    if (folder / STORE).is_file():
        return TokenItems(folder)
    return VectorItems(folder) if (folder / ROWS).is_file() else ModalityArray.open(folder)
