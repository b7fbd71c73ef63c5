"""Where batches are gathered: from the mapped files, ahead of the step into pinned memory, or on the model's device."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch, Items, to_device
from data_modules.errors import UserError
from data_modules.loading.arrays import PART_ROWS, CohortArrays, ModalityArray, Store

Place = Literal["auto", "host", "device"]

AHEAD = 2
"""Batches that are gathered while the device works on another."""
LARGEST_SHARE = 0.5
"""Largest share of the device's free memory for resident arrays under `auto`: the model needs the rest."""


class RowSource(Protocol):
    """The rows of a cohort, as loaders read them."""

    label_mask: Tensor
    weight: Tensor | None

    def gather(self, rows: Tensor) -> Batch:
        """The batch of row ids, (B,) int64 on the CPU."""

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of several windows of row ids, in their order."""


class PinnedArrays:
    """Gathers batches into pinned memory in a thread, `AHEAD` of the one that is read.

    A copy of pinned memory to a GPU does not wait for the steps that are queued there.

    Args:
        arrays: the cohort.
        pin: whether to pin; False on a machine without CUDA.
    """

    def __init__(self, arrays: CohortArrays, *, pin: bool = True) -> None:
        self.arrays = arrays
        self.pin = pin
        self.label_mask, self.weight = arrays.label_mask, arrays.weight

    def gather(self, rows: Tensor) -> Batch:
        """The batch of row ids, (B,) int64 on the CPU."""
        batch = self.arrays.gather(rows)
        return batch.pin_memory() if self.pin else batch

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of windows, in their order."""
        left = iter(windows)
        with ThreadPoolExecutor(1, thread_name_prefix="gather") as thread:
            ready = deque(thread.submit(self.gather, rows) for rows in islice(left, AHEAD))
            while ready:
                batch = ready.popleft().result()
                ready.extend(thread.submit(self.gather, rows) for rows in islice(left, 1))
                yield batch


class ResidentArrays:
    """Holds inputs, labels and presence on a device, standardised once, and gathers batches there.

    Its batches are those of `CohortArrays`, bit for bit. Modalities with several items per row stay in memory.

    Args:
        arrays: the cohort.
        device: of the model.
    """

    def __init__(self, arrays: CohortArrays, device: torch.device) -> None:
        self.device = device
        self.label_mask, self.weight = arrays.label_mask, arrays.weight
        self._items = {name: store for name, store in arrays.arrays.items() if not isinstance(store, ModalityArray)}
        self._names = list(arrays.arrays)
        self._values = {
            name: _resident(store, device) for name, store in arrays.arrays.items() if isinstance(store, ModalityArray)
        }
        rows = {
            name: getattr(arrays, name)
            for name in ("subject", "present", "label", "label_mask", "fold", "site", "weight")
        }
        self._rows = {name: None if value is None else value.to(device) for name, value in rows.items()}

    def gather(self, rows: Tensor) -> Batch:
        """The batch of row ids, (B,) int64 on the CPU; its tensors are on the device."""
        index = to_device(rows, self.device)
        items = {name: self._moved(store, rows) for name, store in self._items.items()}
        values = {name: stored.index_select(0, index) for name, stored in self._values.items()}
        chosen = {name: None if own is None else own.index_select(0, index) for name, own in self._rows.items()}
        return Batch(row_id=index, inputs={name: (values | items)[name] for name in self._names}, **chosen)  # type: ignore[arg-type]

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of windows, in their order."""
        return map(self.gather, windows)

    def _moved(self, store: Store, rows: Tensor) -> Items:
        found = store.gather(rows.numpy())
        assert isinstance(found, Items)
        values = {name: to_device(value, self.device) for name, value in found.values.items()}
        return Items(row=to_device(found.row, self.device), values=values)


def _resident(array: ModalityArray, device: torch.device) -> Tensor:
    """(N, width) float32 on a device, read in parts of bounded memory."""
    whole = torch.empty((len(array.values), array.width), dtype=torch.float32, device=device)
    for start in range(0, len(whole), PART_ROWS):
        rows = np.arange(start, min(start + PART_ROWS, len(whole)))
        whole[start : start + len(rows)] = array.gather(rows).to(device)
    return whole


def beside(value: Tensor, other: Tensor) -> Tensor:
    """Put a tensor where another is: on its device, or in pinned memory.

    Args:
        value: on the CPU.
        other: on any device.

    Returns:
        The tensor.

    >>> beside(torch.ones(2), torch.zeros(3))
    tensor([1., 1.])
    """
    return value.pin_memory() if other.is_pinned() else to_device(value, other.device)


def resident_bytes(arrays: CohortArrays) -> int:
    """Bytes of the inputs, labels and presence that `ResidentArrays` holds.

    Args:
        arrays: the cohort.

    Returns:
        Bytes.
    """
    values = (store for store in arrays.arrays.values() if isinstance(store, ModalityArray))
    inputs = sum(4 * store.values.size for store in values)
    rows = (arrays.subject, arrays.present, arrays.label, arrays.label_mask, arrays.fold, arrays.site, arrays.weight)
    return int(inputs + sum(own.numel() * own.element_size() for own in rows if own is not None))


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device in bytes."""
    return int(torch.cuda.mem_get_info(device)[0])


def placed(arrays: CohortArrays, place: Place, device: torch.device) -> RowSource:
    """Choose where batches are gathered.

    Args:
        arrays: the cohort.
        place: `device`: on the model's device; `host`: in memory, for a GPU pinned and ahead of the step; `auto`: on a
            GPU if the arrays take at most `LARGEST_SHARE` of its free memory, else `host`.
        device: of the model.

    Returns:
        The rows of the cohort, as loaders read them.

    Raises:
        UserError: under `device`, if the arrays do not fit on the GPU.
    """
    if place == "device" or (place == "auto" and device.type == "cuda"):
        needed = resident_bytes(arrays)
        free = free_bytes(device) if device.type == "cuda" else None
        if place == "device" and free is not None and needed > free:
            raise UserError(
                f"loader.device=device: the arrays of the cohort take {needed / 1e9:.1f} GB, and {device} has "
                f"{free / 1e9:.1f} GB free; use loader.device=host or auto"
            )
        if place == "device" or (free is not None and needed <= LARGEST_SHARE * free):
            return ResidentArrays(arrays, device)
    return PinnedArrays(arrays) if device.type == "cuda" else arrays
