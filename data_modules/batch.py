"""The batch: what a model receives, whichever database it came from.

Letters of every shape in the project: B rows, M modalities, D width of the representation, T tasks,
P patterns, K folds, R bootstrap replicates.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from data_modules import patterns


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of a cohort as tensors.

    Attributes:
        row_id: (B,) int64, the cohort's row ids.
        subject: (B,) int64, dense subject index; rows of one person share it.
        present: (B, M) bool, True = observed, in the cohort's order of modalities.
        inputs: modality name -> (B, width) float32; what stands in the rows of an absent modality is
            undefined and may be NaN.
        label: (B, T) float32, 0 or 1; undefined where unknown.
        label_mask: (B, T) bool, True = the label is known.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    inputs: dict[str, Tensor]
    label: Tensor
    label_mask: Tensor

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

    def _map(self, change: Any) -> "Batch":
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                moved[field.name] = {name: change(tensor) for name, tensor in value.items()}
            else:
                moved[field.name] = change(value)
        return Batch(**moved)
