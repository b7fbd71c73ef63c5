"""What a model says of some rows, gathered from all ranks."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.distributed import gather_rows, num_rows_of_ranks


@dataclass(frozen=True, kw_only=True)
class PredictedRows:
    """Rows with their predictions, by row id, the same on every rank.

    Attributes:
        row_id: (N,) int64.
        subject: (N,) int64, dense index.
        present: (N, M) bool.
        label: (N, T) float64; undefined where unknown.
        label_mask: (N, T) bool.
        logits: (N, T) float64.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    label: Tensor
    label_mask: Tensor
    logits: Tensor

    @property
    def labelled(self) -> dict[str, Tensor]:
        """What a rectifier is fitted on."""
        names = ("logits", "label", "label_mask", "present", "subject")
        return {name: getattr(self, name) for name in names}


@torch.no_grad()
def predict(
    module: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> PredictedRows:
    """Predict rows that all ranks share; every rank must call it.

    Args:
        module: batch -> outputs with logits; it is put into evaluation mode, and back.
        batches: the rows of this rank; a row that comes twice counts once.
        device: where the module is.
        context: what the forward pass runs in, for example mixed precision.
    """
    was_training = module.training
    module.eval()
    parts = []
    for batch in batches:
        moved = batch.to(device)
        with context():
            logits = module(moved).logits
        parts.append(_columns(moved, logits))
    module.train(was_training)
    return _united(parts)


def _columns(batch: Batch, logits: Tensor) -> list[Tensor]:
    """The columns of the rows, each (B, any width) float64, in the order of the attributes."""
    device = torch.device("cpu") if logits.device.type == "mps" else logits.device  # mps has no float64
    given = (batch.row_id[:, None], batch.subject[:, None], batch.present, batch.label, batch.label_mask, logits)
    return [column.to(device, torch.float64) for column in given]


def _united(parts: list[list[Tensor]]) -> PredictedRows:
    """The rows of all ranks, each once, on the CPU."""
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    num_rows = num_rows_of_ranks(len(columns[0]), columns[0].device)
    whole = [gather_rows(column, num_rows).cpu() for column in columns]
    row_id, first = np.unique(whole[0].squeeze(1).numpy(), return_index=True)
    _, subject, present, label, label_mask, logits = (column[torch.from_numpy(first)] for column in whole)
    return PredictedRows(
        row_id=torch.from_numpy(row_id).long(),
        subject=subject.squeeze(1).long(),
        present=present.bool(),
        label=label,
        label_mask=label_mask.bool(),
        logits=logits,
    )
