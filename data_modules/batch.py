"""The batch: the input of every model, from any database.

Letters of all shapes in the project: B rows, M modalities, D width of the representation, T tasks,
P patterns, K folds, R bootstrap replicates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from data_modules import patterns
from data_modules.errors import UserError

TensorFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Items:
    """Items of one modality in a batch: documents, images or their vectors, any number per row.

    Attributes:
        row: (n,) int64, ascending: the batch position of the row of each item.
        values: name -> tensor over items, or over parts of items (windows of a document); `item` then holds the item of
            each part.
    """

    row: Tensor
    values: dict[str, Tensor]

    def select(self, chosen: Tensor) -> "Items":
        """The items of some rows, given as a mask (B,) bool."""
        kept = chosen[self.row]
        row = (chosen.cumsum(0) - 1)[self.row[kept]]
        if "item" not in self.values:
            return Items(row=row, values={name: value[kept] for name, value in self.values.items()})
        parts = kept[self.values["item"]]
        values = {name: value[parts] for name, value in self.values.items()}
        return Items(row=row, values=values | {"item": (kept.cumsum(0) - 1)[values["item"]]})


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of a cohort as tensors.

    Attributes:
        row_id: (B,) int64, the cohort's row ids.
        subject: (B,) int64, dense subject index, shared by the rows of one subject.
        present: (B, M) bool, True = observed, modalities in the order of the cohort.
        inputs: modality -> (B, width) float32, or items of the present rows; values of rows without the modality are
            undefined and may be NaN.
        label: (B, T) float32, 0 or 1; undefined where the label is unknown.
        label_mask: (B, T) bool, True = the label is known.
        label_share: (T,) float under gradient accumulation: known labels of this part on all ranks, divided by
            their mean over the parts of the step, so that the mean over parts is the mean over the step; None = 1.
        fold: (B, R) int64, the inner fold of each row in each of R repeats, -1 outside of the inner folds; None
            without them.
        site: (B,) bool, True = a row of the target (docs/transfer.md); None = no row is.
        weight: (B,) float32, weight of each row in the fit of the tasks; None = 1.
        rank_rows: rows of this batch on each rank, in rank order; None if only the ranks themselves know.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    inputs: dict[str, Tensor | Items]
    label: Tensor
    label_mask: Tensor
    label_share: Tensor | None = None
    fold: Tensor | None = None
    site: Tensor | None = None
    weight: Tensor | None = None
    rank_rows: tuple[int, ...] | None = None

    @property
    def pattern(self) -> Tensor:
        """(B,) int64 pattern ids."""
        return patterns.encode(self.present)

    def __len__(self) -> int:
        return int(self.row_id.shape[0])

    def select(self, chosen: Tensor) -> "Batch":
        """Select rows by a mask, (B,) bool; the other rows of the batch are left out."""
        names = ("row_id", "subject", "present", "label", "label_mask")
        own: dict[str, Any] = {name: getattr(self, name)[chosen] for name in names}
        inputs = {
            name: value[chosen] if isinstance(value, Tensor) else value.select(chosen)
            for name, value in self.inputs.items()
        }
        fold, site, weight = (None if part is None else part[chosen] for part in (self.fold, self.site, self.weight))
        return Batch(**own, inputs=inputs, label_share=self.label_share, fold=fold, site=site, weight=weight)

    @classmethod
    def concat(cls, parts: Sequence["Batch"]) -> "Batch":
        """Join batches of the same modalities and tasks, one after the other.

        Ids of rows and subjects stay as they are, so those of two cohorts may be equal. Rows of a batch without inner
        folds are outside of them, rows of one without sites are not of the target, and those of one without weights
        have weight 1; `label_share` is left out.

        Args:
            parts: one or more batches.

        Returns:
            All rows.

        Raises:
            UserError: for a modality with items.
        """
        items = [name for name, value in parts[0].inputs.items() if isinstance(value, Items)]
        if items:
            raise UserError(f"{items[0]} has several items per row, which cannot be joined; use a frozen encoder")
        names = ("row_id", "subject", "present", "label", "label_mask")
        own: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return cls(
            **own,
            inputs={name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs},  # type: ignore[misc]
            fold=_joined([part.fold for part in parts], list(map(len, parts)), -1),
            site=_joined([part.site for part in parts], list(map(len, parts)), 0),
            weight=_joined([part.weight for part in parts], list(map(len, parts)), 1),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device; the copy of pinned memory does not wait for the device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking or tensor.is_pinned()))

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory, for asynchronous copies to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: TensorFunction) -> "Batch":
        return Batch(**{field.name: _apply(getattr(self, field.name), function) for field in fields(self)})


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device; to a GPU, without waiting for the work that is queued there.

    Args:
        value: on the CPU.
        device: of any kind.

    Returns:
        The tensor there.

    >>> to_device(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


def _joined(parts: Sequence[Tensor | None], sizes: Sequence[int], absent: int) -> Tensor | None:
    """Join tensors of given lengths, constant where there is none; None if there is none at all."""
    given = next((part for part in parts if part is not None), None)
    if given is None:
        return None
    filled = [
        given.new_full((size, *given.shape[1:]), absent) if part is None else part
        for part, size in zip(parts, sizes, strict=True)
    ]
    return torch.cat(filled)


def _apply(value: Any, function: TensorFunction) -> Any:
    """Apply a function to every tensor of a value."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return value
    if isinstance(value, Items):
        return Items(row=function(value.row), values=_apply(value.values, function))
    return {name: _apply(entry, function) for name, entry in value.items()}
