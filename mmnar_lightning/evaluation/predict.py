"""Predicts rows and gathers them over ranks."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.distributed.collectives import all_gather_counts, all_gather_rows
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.outputs import ScoredRows


@torch.no_grad()
def predict(
    module: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> ScoredRows:
    """Predict rows that are distributed over all ranks; every rank must call it.

    Args:
        module: batch -> outputs with logits; switched to evaluation mode meanwhile.
        batches: the rows of this rank; duplicate rows count once.
        device: of the module.
        context: context manager of the forward pass, for example mixed precision.

    Returns:
        The rows of all ranks, by row id, on the CPU.
    """

    def columns(batch: Batch) -> list[Tensor]:
        return [batch.subject[:, None], batch.present, batch.label, batch.label_mask, module(batch).logits]

    row_id, (subject, present, label, label_mask, logits) = _gather(module, batches, device, context, columns)
    return ScoredRows(
        row_id=row_id,
        subject=subject.squeeze(1).long(),
        present=present.bool(),
        label=label.where(label_mask.bool(), 0.0),
        label_mask=label_mask.bool(),
        logits=logits,
    )


@torch.no_grad()
def propensities(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[Tensor, Tensor]:
    """Predict presence with a model that has an assignment head; every rank must call it.

    Args:
        model: a model with an assignment head, or an ensemble of such models, which are averaged.
        batches: as for `predict`.
        device: as for `predict`.
        context: as for `predict`.

    Returns:
        P(present_m = 1 | the rest), (N, M) float64, and presence, (N, M) bool, by row id.
    """

    def columns(batch: Batch) -> list[Tensor]:
        members = model.members if isinstance(model, FoldEnsemble) else [model]
        found = [member.propensities(batch) for member in members if isinstance(member, MMNARModel)]
        return [torch.stack(found).mean(0), batch.present]

    _, (propensity, present) = _gather(model, batches, device, context, columns)
    return propensity, present.bool()


def _gather(
    module: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    context: Callable[[], AbstractContextManager[None]],
    columns: Callable[[Batch], list[Tensor]],
) -> tuple[Tensor, list[Tensor]]:
    """Gather row ids (N,) and float64 columns, each (N, width), of the rows of all ranks, each row once, on the CPU."""
    was_training = module.training
    module.eval()
    parts = []
    for batch in batches:
        moved = batch.to(device)
        with context():
            found = columns(moved)
        parts.append([_wide(column) for column in (moved.row_id[:, None], *found)])
    module.train(was_training)
    joined = [torch.cat(column) for column in zip(*parts, strict=True)]
    num_rows = all_gather_counts(len(joined[0]), joined[0].device)
    whole = [all_gather_rows(column, num_rows).cpu() for column in joined]
    row_id, first = np.unique(whole[0].squeeze(1).numpy(), return_index=True)
    return torch.from_numpy(row_id).long(), [column[torch.from_numpy(first)] for column in whole[1:]]


def _wide(column: Tensor) -> Tensor:
    """Convert a column to float64, which represents row ids and logits exactly; MPS lacks it."""
    return column.to("cpu" if column.device.type == "mps" else column.device).double()
