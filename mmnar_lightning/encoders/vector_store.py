"""A persistent store of the vectors of documents or images, shared by cohorts and processes.

A store belongs to one encoder. It is a folder of shards; a shard is written once and holds sorted keys and their
vectors. Missing vectors are encoded by a plan: pieces of work (windows of documents, or images) in a fixed order, cut
into units. Each process takes free units, and the vectors are joined in the order of the plan, so that the bytes do not
depend on the assignment of units to processes or on interruptions.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules import locks, stage
from data_modules.errors import UserError
from data_modules.features import store

Keys = NDArray[np.bytes_]
"""(n,) S32, digests of contents, 32 hexadecimal digits each."""

KEYS, VECTORS, PARTS = "keys.npy", "vectors.npy", "parts"
WAIT_SECONDS = 0.2
UNIT_BATCHES = 8
"""Batches per unit of work, the most that a killed process loses."""
SETTING, ENCODE = "paths.data", "mmnar embed"
"""The setting of the folder above, and the command that encodes again."""


@dataclass(frozen=True)
class Plan:
    """Work in a fixed order.

    Attributes:
        keys: (D,) S32, items to encode, sorted and unique.
        item: (W,) int64, the position in `keys` of the item that a piece belongs to.
        weight: (W,) float32, weight of a piece in its item's vector, scaled to sum to 1 per item.
        unit: number of pieces in a unit.
    """

    keys: Keys
    item: NDArray[np.int64]
    weight: NDArray[np.float32]
    unit: int

    def units(self) -> list[slice]:
        """The pieces of each unit."""
        return list(store.blocks(len(self.item), self.unit))

    def share(self) -> NDArray[np.float64]:
        """(W,) float64, 1 / number of pieces in the item of each piece."""
        return 1.0 / np.bincount(self.item, minlength=len(self.keys))[self.item]


class VectorStore:
    """The vectors of one encoder.

    Args:
        folder: of the store, created on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified: set[Path] = set()

    def shards(self) -> list[Path]:
        """Finished shards, in a fixed order; a damaged one is a `StageError`."""
        found = sorted(path.parent for path in self.folder.glob(f"[!.]*/{stage.MANIFEST}"))
        for shard in found:
            if shard not in self._verified:
                stage.verify(shard, ENCODE)
                self._verified.add(shard)
        return found

    def missing(self, keys: Keys) -> Keys:
        """The keys without a vector, sorted and unique."""
        wanted = np.unique(keys)
        for shard in self.shards():
            wanted = wanted[~_find(np.load(shard / KEYS), wanted)[1]]
        return wanted

    def width(self) -> int:
        """Width of a vector; the store must not be empty."""
        shards = self.shards()
        assert shards, f"{self.folder}: this store is empty"
        return int(np.load(shards[0] / VECTORS, mmap_mode="r").shape[1])

    def read(self, keys: Keys) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Read vectors in blocks.

        Args:
            keys: (n,) S32.

        Yields:
            A slice of the keys and their vectors, (block, width) float32.

        Raises:
            UserError: if a key has no vector.
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
                raise UserError(
                    f"{self.folder}: {absent.sum()} of {len(found)} vectors are not in this store: their files changed "
                    "after they were encoded; run the same command again"
                )
            yield block, found

    def shard_of(self, keys: Keys) -> Path:
        """The shard of these keys."""
        return self.folder / stage.digest([key.decode() for key in keys.tolist()])

    def work_of(self, keys: Keys) -> Path:
        """Folder of the unfinished work on these keys."""
        shard = self.shard_of(keys)
        return shard.with_name(f".{shard.name}.work")

    def build(
        self, plan: Plan, encode: Callable[[slice], NDArray[np.float32]], advance: Callable[[float], None]
    ) -> None:
        """Encode a plan together with all other processes that call this; returns when its shard is written.

        Args:
            plan: the work.
            encode: pieces -> their vectors, (n, width) float32, the same on every process.
            advance: called with the number of items that any process has finished.
        """
        shard, work = self.shard_of(plan.keys), self.work_of(plan.keys)
        parts = work / PARTS / str(plan.unit)  # units of another batch size hold other pieces
        if not _finished(shard):
            _Work(plan, shard, parts, encode, advance).run()
        stage.run_stage(shard, lambda folder: _join(plan, parts, folder), SETTING)
        shutil.rmtree(work, ignore_errors=True)


def _find(known: Keys, wanted: Keys) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of keys in sorted keys, and whether they are present."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return place, known[place] == wanted


def _finished(shard: Path) -> bool:
    return stage.is_finished(shard)


class _Work:
    """The units of a plan, processed by one of several processes."""

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
        self.item_share = plan.share()

    def run(self) -> None:
        """Encode free units until all units are finished."""
        self.parts.mkdir(parents=True, exist_ok=True)
        while self.units and not _finished(self.shard):
            before = len(self.units)
            for unit in list(self.units):
                if self._is_done(unit):
                    self.advance(float(self.item_share[self.units.pop(unit)].sum()))
            if len(self.units) == before:
                time.sleep(WAIT_SECONDS)

    def _is_done(self, unit: int) -> bool:
        """Encode a unit unless another process holds it; returns whether it is finished."""
        part = self.parts / f"{unit}.npy"
        try:
            with locks.locked(self.parts / f"{unit}.lock", wait=False):
                # The parts of a finished shard are deleted one by one, so a missing part may have existed.
                if not part.is_file() and not _finished(self.shard):
                    self._write(unit, part)
        except locks.HeldError:
            return False
        except FileNotFoundError:
            if _finished(self.shard):  # another process has joined and deleted the parts
                return True
            raise
        return True

    def _write(self, unit: int, part: Path) -> None:
        """Write a part atomically."""
        hidden = part.with_name(f".{part.name}")
        np.save(hidden, self.encode(self.units[unit]), allow_pickle=False)
        hidden.replace(part)


def _join(plan: Plan, parts: Path, folder: Path) -> None:
    """Write a shard: the weighted mean of each item's pieces, added in the order of the plan."""
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
