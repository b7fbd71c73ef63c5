"""The batch: what a model receives, whichever database it came from.

Letters of every shape in the project: B rows, M modalities, D width of the representation, T tasks,
P patterns, K folds, R bootstrap replicates.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from data_modules import patterns

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Items:
    """What a modality holds for some rows of a batch, any number of items a row: documents, images, or their vectors.

    Attributes:
        row: (n,) int64, the position in the batch of the row that an item belongs to, rising.
        values: name -> tensor; its first dimension counts items, or parts of items (the windows of a document) that
            name their item in a tensor of their own.
    """

    row: Tensor
    values: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of a cohort as tensors.

    Attributes:
        row_id: (B,) int64, the cohort's row ids.
        subject: (B,) int64, dense subject index; rows of one person share it.
        present: (B, M) bool, True = observed, in the cohort's order of modalities.
        inputs: modality name -> (B, width) float32, or items that only present rows have; what stands in the
            rows of an absent modality is undefined and may be NaN.
        label: (B, T) float32, 0 or 1; undefined where unknown.
        label_mask: (B, T) bool, True = the label is known.
        label_share: (T,) float, where a step is taken in several parts: the known labels of this part on all ranks, as
            a multiple of the mean part's, so that the mean over parts is the mean over the step; None = 1.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    inputs: dict[str, Tensor | Items]
    label: Tensor
    label_mask: Tensor
    label_share: Tensor | None = None

    @property
    def pattern(self) -> Tensor:
        """(B,) int64 pattern ids."""
        return patterns.encode(self.present)

    def __len__(self) -> int:
        return int(self.row_id.shape[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, for asynchronous copies to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Change) -> "Batch":
        return Batch(**{field.name: _changed(getattr(self, field.name), change) for field in fields(self)})


def _changed(value: Any, change: Change) -> Any:
    """Apply a change to every tensor of a value."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Items):
        return Items(row=change(value.row), values=_changed(value.values, change))
    return {name: _changed(entry, change) for name, entry in value.items()}
