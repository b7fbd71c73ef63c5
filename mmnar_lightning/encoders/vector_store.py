"""A store of vectors, one for every document or image that was ever encoded, shared by cohorts and processes.

A store belongs to one encoder. It is a folder of shards; a shard is written once and holds sorted keys and their
vectors. What is missing is encoded by a plan: pieces of work (the windows of documents, or images) in a fixed order,
cut into units. Every process takes the units that nobody has taken, and the vectors are joined in the order of the
plan. So the bytes do not depend on who did what, or on how often the work was broken off.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from data_modules import stage
from data_modules.features import store

Keys = NDArray[np.bytes_]
"""(n,) S32: digests of contents, 32 hexadecimal digits each."""

KEYS, VECTORS, PARTS = "keys.npy", "vectors.npy", "parts"
WAIT_SECONDS = 0.2
SETTING = "paths.data"


@dataclass(frozen=True)
class Plan:
    """Work in a fixed order.

    Attributes:
        keys: (D,) what is to be encoded, sorted, each once.
        item: (W,) int64, the position in `keys` that a piece of work belongs to.
        weight: (W,) float32, the share of a piece in its item's vector; they are scaled to sum to 1 in an item.
        unit: pieces of a unit.
    """

    keys: Keys
    item: NDArray[np.int64]
    weight: NDArray[np.float32]
    unit: int

    def units(self) -> list[slice]:
        """The pieces of every unit."""
        return list(store.blocks(len(self.item), self.unit))

    def worth(self) -> NDArray[np.float64]:
        """(W,) the share of an item that each piece is."""
        return 1.0 / np.bincount(self.item, minlength=len(self.keys))[self.item]


class VectorStore:
    """The vectors of one encoder.

    Args:
        folder: of the store; it is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shards(self) -> list[Path]:
        """Finished shards, in a fixed order."""
        return sorted(path.parent for path in self.folder.glob(f"[!.]*/{stage.MANIFEST}"))

    def missing(self, keys: Keys) -> Keys:
        """The keys that have no vector yet, sorted, each once."""
        wanted = np.unique(keys)
        for shard in self.shards():
            wanted = wanted[~_find(np.load(shard / KEYS), wanted)[1]]
        return wanted

    def width(self) -> int:
        """Floats of a vector.

        Raises:
            ValueError: while there is none.
        """
        for shard in self.shards():
            return int(np.load(shard / VECTORS, mmap_mode="r").shape[1])
        raise ValueError(f"{self.folder}: this store is empty")

    def read(self, keys: Keys) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Vectors of keys that are all there, in blocks: which of the keys, and (n, width) float32.

        Raises:
            ValueError: when one is not there.
        """
        width = self.width() if len(keys) else 0
        shards = [(np.load(shard / KEYS), np.load(shard / VECTORS, mmap_mode="r")) for shard in self.shards()]
        for block in store.blocks(len(keys)):
            found = np.zeros((len(keys[block]), width), dtype=np.float32)
            absent = np.ones(len(found), dtype=np.bool_)
            for known, vectors in shards:
                place, there = _find(known, keys[block])
                found[there] = vectors[place[there]]
                absent &= ~there
            if absent.any():
                raise ValueError(
                    f"{self.folder}: {absent.sum()} of {len(found)} vectors are not in this store: what they are of "
                    "changed since it was encoded; start again"
                )
            yield block, found

    def shard_of(self, keys: Keys) -> Path:
        """The shard that will hold these keys."""
        return self.folder / stage.digest([key.decode() for key in keys.tolist()])

    def work_of(self, keys: Keys) -> Path:
        """Where work on these keys lies until it is finished."""
        shard = self.shard_of(keys)
        return shard.with_name(f".{shard.name}.work")

    def build(
        self, plan: Plan, encode: Callable[[slice], NDArray[np.float32]], advance: Callable[[float], None]
    ) -> None:
        """Encode a plan together with every other process that is at it; returns when its shard is there.

        Args:
            plan: the work.
            encode: pieces -> their vectors, (n, width) float32, the same whoever computes them.
            advance: is told how many items were finished, by anyone.
        """
        shard, work = self.shard_of(plan.keys), self.work_of(plan.keys)
        parts = work / PARTS / str(plan.unit)  # with another batch size, a unit is other pieces
        if not _finished(shard):
            _Work(plan, shard, parts, encode, advance).share()
        stage.run_stage(shard, lambda folder: _join(plan, parts, folder), SETTING)
        shutil.rmtree(work, ignore_errors=True)


def _find(known: Keys, wanted: Keys) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Places of keys among sorted ones, and whether they are there."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return place, known[place] == wanted


def _finished(shard: Path) -> bool:
    return (shard / stage.MANIFEST).is_file()


class _Work:
    """One process's way through the units of a plan."""

    def __init__(
        self,
        plan: Plan,
        shard: Path,
        parts: Path,
        encode: Callable[[slice], NDArray[np.float32]],
        advance: Callable[[float], None],
    ) -> None:
        self.shard, self.parts, self.encode, self.advance = shard, parts, encode, advance
        self.units = dict(enumerate(plan.units()))
        self.worth = plan.worth()

    def share(self) -> None:
        """Go round the units until each has its part, doing those that nobody is at."""
        self.parts.mkdir(parents=True, exist_ok=True)
        while self.units and not _finished(self.shard):
            before = len(self.units)
            for unit in list(self.units):
                if self._is_done(unit):
                    self.advance(float(self.worth[self.units.pop(unit)].sum()))
            if len(self.units) == before:
                time.sleep(WAIT_SECONDS)

    def _is_done(self, unit: int) -> bool:
        """Do a unit unless another process is at it; whether its part is there."""
        part = self.parts / f"{unit}.npy"
        try:
            with FileLock(self.parts / f"{unit}.lock", timeout=0):
                # Of a finished shard the parts go one by one: what is missing was there.
                if not part.is_file() and not _finished(self.shard):
                    self._write(unit, part)
        except Timeout:
            return False
        except FileNotFoundError:
            if _finished(self.shard):  # another process has joined the parts and tidied up
                return True
            raise
        return True

    def _write(self, unit: int, part: Path) -> None:
        """Write a part whole or not at all."""
        hidden = part.with_name(f".{part.name}")
        np.save(hidden, self.encode(self.units[unit]), allow_pickle=False)
        hidden.replace(part)


def _join(plan: Plan, parts: Path, folder: Path) -> None:
    """Write a shard: the weighted mean of every item's pieces, added in the order of the plan."""
    total = np.bincount(plan.item, plan.weight, minlength=len(plan.keys))
    share = (plan.weight / total[plan.item]).astype(np.float32)
    vectors: NDArray[np.float32] | None = None
    for unit, pieces in enumerate(plan.units()):
        part = np.load(parts / f"{unit}.npy", allow_pickle=False)
        if vectors is None:
            vectors = store.create_file(folder / VECTORS, (len(plan.keys), part.shape[1]))
        np.add.at(vectors, plan.item[pieces], part * share[pieces, None])
    np.save(folder / KEYS, plan.keys)
    stage.write_json(folder / stage.MANIFEST, {"items": len(plan.keys)})
