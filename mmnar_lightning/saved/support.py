"""How many train subjects each stored value rests on, and the range of a column that enough of them reach.

The ends of each range leave out a few subjects by rule. Of hundreds of columns most rows then have some value outside,
train rows too: only a row with more of them than train rows have is unusual (`usual`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.features.store import FloatArray

BLOCK_COLUMNS = 16
"""Columns in memory at once."""
MEMORY = "memory.support"
"""Ends the name of the tensor that counts the subjects of a frozen memory."""
DISTINCT = "/distinct"
"""Ends the name of the column that counts the words of a vocabulary, `<prefix>/distinct`."""


@dataclass(frozen=True)
class Support:
    """Of each of C columns.

    Attributes:
        subjects: (C,) int64, train subjects with a value; of a word of a vocabulary, those who have it.
        low: (C,) float32, at least `min_subjects` subjects have a value at or below it; NaN without as many.
        high: (C,) float32, likewise at or above it.
        outside: (n,) int64, number of values of each train row that lie outside of these ranges.
    """

    subjects: NDArray[np.int64]
    low: FloatArray
    high: FloatArray
    outside: NDArray[np.int64]


def words_of(columns: Sequence[str]) -> NDArray[np.bool_]:
    """Find the columns that are words of a vocabulary.

    Args:
        columns: C names.

    Returns:
        (C,) bool.

    >>> words_of(["drug/senna", "drug/distinct", "age"]).tolist()
    [True, False, False]
    """
    prefixes = {name.removesuffix(DISTINCT) for name in columns if name.endswith(DISTINCT)}
    return np.array([name.split("/")[0] in prefixes and not name.endswith(DISTINCT) for name in columns], dtype=bool)


def of_memories(tensors: Mapping[str, Tensor]) -> int | None:
    """Find how many train subjects each value of a network's frozen memories rests on at least.

    Args:
        tensors: name -> tensor, of the model.

    Returns:
        The number; None without a memory.

    >>> import torch
    >>> of_memories({"network/memory.support": torch.tensor(10), "network/head.bias": torch.zeros(2)})
    10
    """
    return min((int(value) for name, value in tensors.items() if name.endswith(MEMORY)), default=None)


def measure(
    values: FloatArray,
    rows: NDArray[np.int64],
    subject: NDArray[np.int64],
    words: NDArray[np.bool_],
    min_subjects: int,
) -> Support:
    """Count the subjects of each column, and find its range.

    Args:
        values: (N, C) float32, NaN = not measured.
        rows: (n,) row ids of train rows with the modality.
        subject: (n,) int64, their subjects.
        words: (C,) bool, columns where 0 means that a row does not have the word.
        min_subjects: fewest subjects on either side of a range.

    Returns:
        The support.

    >>> values = np.array([[1, 0], [2, 1], [3, 1], [np.nan, 0]], np.float32)
    >>> found = measure(values, np.arange(4), np.array([0, 1, 1, 2]), np.array([False, True]), 2)
    >>> found.subjects.tolist(), found.low.tolist(), found.high.tolist()
    ([2, 1], [2.0, nan], [1.0, nan])
    >>> found.outside.tolist()
    [1, 1, 1, 0]
    """
    width = values.shape[1]
    subjects, outside = np.zeros(width, np.int64), np.zeros(len(rows), np.int64)
    low, high = np.full(width, np.nan, np.float32), np.full(width, np.nan, np.float32)
    for start in range(0, width, BLOCK_COLUMNS):
        block = values[rows, start : start + BLOCK_COLUMNS]
        for place in range(block.shape[1]):
            number = start + place
            column = block[:, place]
            known = np.isfinite(column) & ((column != 0) | ~words[number])
            own, dense = np.unique(subject[known], return_inverse=True)
            subjects[number] = len(own)
            if len(own) >= max(min_subjects, 1) and not words[number]:
                low[number], high[number] = _range(column[known], dense, len(own), min_subjects)
                outside += (column < low[number]) | (column > high[number])
    return Support(subjects, low, high, outside)


def usual(outside: NDArray[np.int64], subject: NDArray[np.int64], min_subjects: int) -> int:
    """Find the number of values outside of their ranges that fewer than `min_subjects` train subjects exceed.

    Args:
        outside: (n,) int64, of each train row.
        subject: (n,) int64, their subjects.
        min_subjects: fewest subjects that the number rests on.

    Returns:
        The largest number that as many subjects have in a row, or exceed; 0 if there are fewer subjects.

    >>> usual(np.array([0, 9, 3, 4, 0]), np.array([0, 1, 2, 2, 3]), 2)
    4
    """
    own, dense = np.unique(subject, return_inverse=True)
    most = np.zeros(len(own), np.int64)
    np.maximum.at(most, dense, outside)
    place = max(min_subjects, 1) - 1
    return int(np.sort(most)[::-1][place]) if place < len(own) else 0


def _range(values: FloatArray, subject: NDArray[np.int64], count: int, min_subjects: int) -> tuple[float, float]:
    """The range of (n,) values of `count` subjects, numbered from 0."""
    smallest, largest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(smallest, subject, values)
    np.maximum.at(largest, subject, values)
    place = max(min_subjects, 1) - 1
    return float(np.partition(smallest, place)[place]), float(-np.partition(-largest, place)[place])
