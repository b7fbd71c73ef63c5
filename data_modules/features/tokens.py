"""Memory-mapped token ids on disk: windows of documents."""

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]

TOKENS, WINDOWS, DOCUMENTS = "tokens.bin", "windows.npy", "documents.npy"


class TokenWriter:
    """Appends documents to a token table; only lengths are kept in memory.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.windows, self.documents = array("q", [0]), array("q", [0])
        self.handle = (folder / TOKENS).open("wb")

    def __enter__(self) -> "TokenWriter":
        return self

    def add(self, windows: Iterable[Sequence[int]]) -> None:
        """Append a document, given as token ids of its windows."""
        for window in windows:
            self.handle.write(np.asarray(window, dtype=np.int32).tobytes())
            self.windows.append(self.windows[-1] + len(window))
        self.documents.append(len(self.windows) - 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.handle.close()
        np.save(self.folder / WINDOWS, np.frombuffer(self.windows, dtype=np.int64))
        np.save(self.folder / DOCUMENTS, np.frombuffer(self.documents, dtype=np.int64))


class TokenTable:
    """The token ids of documents.

    Args:
        folder: written by `TokenWriter`.
    """

    def __init__(self, folder: Path) -> None:
        self.start: Int = np.load(folder / WINDOWS, mmap_mode="r")
        self.document: Int = np.load(folder / DOCUMENTS, mmap_mode="r")
        path = folder / TOKENS
        empty = path.stat().st_size == 0  # an empty file cannot be mapped
        self.tokens = np.zeros(0, np.int32) if empty else np.memmap(path, dtype=np.int32, mode="r")

    def lengths(self) -> Int:
        """Number of tokens of each window, (W,) int64."""
        return np.diff(self.start)

    def gather(self, windows: Int) -> tuple[NDArray[np.int32], Int]:
        """Token ids of windows, (n, longest) int32 padded with 0, and their lengths, (n,) int64."""
        start, length = self.start[windows], self.start[windows + 1] - self.start[windows]
        column = np.arange(int(length.max(initial=0)))
        inside = column < length[:, None]
        place = np.where(inside, start[:, None] + column, 0)
        return np.where(inside, self.tokens[place], 0) if len(self.tokens) else inside.astype(np.int32), length


def ranges(start: Int, end: Int) -> tuple[Int, Int]:
    """Return the concatenated numbers of several ranges, and the position of the range of each.

    >>> numbers, owner = ranges(np.array([5, 9]), np.array([7, 10]))
    >>> numbers.tolist(), owner.tolist()
    ([5, 6, 9], [0, 0, 1])
    """
    count = end - start
    owner = np.repeat(np.arange(len(start)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return start[owner] + within, owner
