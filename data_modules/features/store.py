"""Memory-mapped arrays on disk: one float32 row per row of the cohort, with statistics of the train rows."""

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
    """Mean and scale of each column over the train rows where it is measured; both (width,) float32."""

    mean: FloatArray
    scale: FloatArray

    def save(self, folder: Path) -> None:
        """Write the statistics as JSON beside the array."""
        text = json.dumps({"mean": self.mean.tolist(), "scale": self.scale.tolist()})
        (folder / STATISTICS).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Statistics":
        """Read the statistics of a folder."""
        content = json.loads((folder / STATISTICS).read_text(encoding="utf-8"))
        return cls(np.asarray(content["mean"], np.float32), np.asarray(content["scale"], np.float32))


def create(folder: Path, num_rows: int, columns: list[str]) -> FloatArray:
    """Create the array of a modality on disk, as `create_file` does, and record its columns.

    Returns:
        (num_rows, len(columns)) float32 zeros, memory-mapped for writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COLUMNS).write_text(json.dumps(columns, indent=0), encoding="utf-8")
    return create_file(folder / VALUES, (num_rows, len(columns)))


def create_file(path: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    """Create an array on disk and allocate its blocks.

    A full disk is an `OSError` here; without the allocation, a later write to the memory map would kill the process
    with SIGBUS.

    Returns:
        Zeros, memory-mapped for writing.
    """
    array: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    return array


def read_columns(folder: Path) -> list[str]:
    """Read the column names of an array."""
    columns: list[str] = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
    return columns


def open_values(folder: Path) -> FloatArray:
    """Memory-map an array, read-only."""
    values: FloatArray = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
    return values


def open_present(folder: Path) -> BoolArray | None:
    """Read which rows have a vector, (N,) bool; None if the folder does not record it."""
    path = folder / PRESENT
    return np.load(path, allow_pickle=False) if path.is_file() else None


def blocks(num_rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cut rows into blocks, so that memory does not grow with the cohort.

    >>> list(blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def fit_statistics(values: FloatArray, rows: BoolArray) -> Statistics:
    """Compute mean and standard deviation of each column over some rows, ignoring NaN, in two passes.

    Args:
        values: (N, width) float32, NaN = not measured.
        rows: (N,) bool, True = train row in which the modality is present.

    Returns:
        The statistics; a column that is never measured has mean 0 and scale 1, a constant column scale 1.

    >>> values = np.array([[1, 5, np.nan], [3, 5, np.nan], [9, 9, 9]], np.float32)
    >>> statistics = fit_statistics(values, np.array([True, True, False]))
    >>> statistics.mean.tolist(), statistics.scale.tolist()
    ([2.0, 5.0, 0.0], [1.0, 1.0, 1.0])
    """
    count, mean = _mean(values, rows, np.zeros(values.shape[1]), power=1)
    _, variance = _mean(values, rows, mean, power=2)
    scale = np.sqrt(variance)
    scale[(scale < MIN_SCALE) | (count == 0)] = 1.0
    return Statistics(mean.astype(np.float32), scale.astype(np.float32))


def _mean(
    values: FloatArray, rows: BoolArray, center: NDArray[np.float64], power: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count and mean of (value − center)^power per column."""
    count, total = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for block in blocks(values.shape[0]):
        chosen = values[block][rows[block]].astype(np.float64)
        measured = np.isfinite(chosen)
        count += measured.sum(0)
        total += np.where(measured, (chosen - center) ** power, 0.0).sum(0)
    return count, total / np.maximum(count, 1)
