"""Arrays on disk: one float32 row per row of the cohort, memory-mapped, with statistics of the train rows."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

VALUES, COLUMNS, STATISTICS, PRESENT = "values.npy", "columns.json", "statistics.json", "present.npy"
BLOCK_ROWS = 4096
MIN_SCALE = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and scale of every column over the train rows where it is measured; both (width,) float32."""

    mean: FloatArray
    scale: FloatArray

    def save(self, folder: Path) -> None:
        """Write them as text beside the array."""
        text = json.dumps({"mean": self.mean.tolist(), "scale": self.scale.tolist()})
        (folder / STATISTICS).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Statistics":
        """Read them back."""
        content = json.loads((folder / STATISTICS).read_text(encoding="utf-8"))
        return cls(np.asarray(content["mean"], np.float32), np.asarray(content["scale"], np.float32))


def create(folder: Path, num_rows: int, columns: list[str]) -> FloatArray:
    """Make the array of a modality on disk, all zero.

    Raises:
        OSError: when the disk has no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COLUMNS).write_text(json.dumps(columns, indent=0), encoding="utf-8")
    return create_file(folder / VALUES, (num_rows, len(columns)))


def create_file(path: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    """Make an array on disk, all zero.

    Raises:
        OSError: when the disk has no room for it. The room is taken now: writing into a mapped file that has none
            would end the process without a word.
    """
    array: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    return array


def read_columns(folder: Path) -> list[str]:
    """Names of the columns of an array."""
    columns: list[str] = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
    return columns


def open_values(folder: Path) -> FloatArray:
    """Map an array into memory, read-only."""
    values: FloatArray = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
    return values


def open_present(folder: Path) -> BoolArray | None:
    """The rows that have a vector, (N,) bool; None where the array does not say."""
    path = folder / PRESENT
    return np.load(path, allow_pickle=False) if path.is_file() else None


def blocks(num_rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Cut rows into blocks, so that memory does not grow with the cohort.

    >>> list(blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def fit_statistics(values: FloatArray, rows: BoolArray) -> Statistics:
    """Mean and standard deviation of each column over the chosen rows, ignoring NaN, in two passes.

    Args:
        values: (N, width) float32, NaN = not measured.
        rows: (N,) bool, the train rows in which the modality is present.

    Returns:
        A column that is never measured has mean 0 and scale 1; a constant one has scale 1.
    """
    count, mean = _mean(values, rows, np.zeros(values.shape[1]), power=1)
    _, variance = _mean(values, rows, mean, power=2)
    scale = np.sqrt(variance)
    scale[(scale < MIN_SCALE) | (count == 0)] = 1.0
    return Statistics(mean.astype(np.float32), scale.astype(np.float32))


def _mean(
    values: FloatArray, rows: BoolArray, center: NDArray[np.float64], power: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count and mean of (value − center)^power by column."""
    count, total = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for block in blocks(values.shape[0]):
        chosen = values[block][rows[block]].astype(np.float64)
        measured = np.isfinite(chosen)
        count += measured.sum(0)
        total += np.where(measured, (chosen - center) ** power, 0.0).sum(0)
    return count, total / np.maximum(count, 1)
