"""The multitask loss over known labels: cross-entropy or focal loss, of numbers Huber's (docs/method.md, 3 and 7)."""

import torch
from torch import Tensor
from torch.nn import functional

from data_modules.vocabulary import TaskKind
from mmnar_lightning.distributed.collectives import sum_over_ranks, world_size

DELTA = 3.0
"""Error in standard deviations of the train rows from which the loss of a number is linear; why: docs/method.md, 7."""
TINY = 1e-12
"""Lower bound of a base: powers below 1 have an infinite derivative at 0."""


def masked_cross_entropy(
    logits: Tensor, label: Tensor, label_mask: Tensor, focal_gamma: float = 0.0, weight: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of each task over its known labels on all ranks.

    `focal_gamma` weights each row by (1 − probability of its label)^gamma (Lin et al., 2017).

    Each rank returns world size · its sum / the count (with weights, their sum) of all ranks, so that the gradients
    averaged over ranks by DDP are the gradient of the global mean.

    Args:
        logits: (B, T) float.
        label: (B, T) float, 0 or 1; undefined where unknown.
        label_mask: (B, T) bool, True = known.
        focal_gamma: at least 0; 0 is cross-entropy.
        weight: (B,) float, above 0, of each row in the mean; None = 1.

    Returns:
        (T,) float; a differentiable zero for a task without known labels.

    >>> loss = masked_cross_entropy(torch.zeros(2, 1), torch.tensor([[1.0], [9.0]]), torch.tensor([[True], [False]]))
    >>> round(loss.item(), 4)
    0.6931
    """
    return global_mean(_cross_entropy(logits, label, label_mask, focal_gamma), label_mask, weight)


def masked_huber(prediction: Tensor, value: Tensor, known: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean loss of Huber (1964) of each task over its known values on all ranks; ranks as of `masked_cross_entropy`.

    Half the squared error up to `DELTA` standard deviations, linear beyond: lengths of stay have a long tail, whose
    squares would dominate a batch.

    Args:
        prediction: (B, T) float, standardised.
        value: (B, T) float, standardised; undefined where unknown.
        known: (B, T) bool.
        weight: (B,) float, above 0, of each row in the mean; None = 1.

    Returns:
        (T,) float; a differentiable zero for a task without known values.

    >>> masked_huber(torch.tensor([[0.5], [4.0]]), torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool))
    tensor([3.8125])
    """
    return global_mean(_huber(prediction, value, known), known, weight)


def global_mean(each: Tensor, label_mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of losses over the known labels of all ranks, as of `masked_cross_entropy`.

    Args:
        each: (B, T) losses.
        label_mask: (B, T) bool.
        weight: (B,) of the rows; None = equal weights.

    Returns:
        (T,) means; 0 without a known label.

    >>> global_mean(torch.tensor([[1.0], [3.0]]), torch.tensor([[True], [True]])).tolist()
    [2.0]
    """
    total = _sum(each, label_mask, weight)
    count = label_mask.sum(0) if weight is None else torch.where(label_mask, weight[:, None], 0.0).sum(0)
    count = sum_over_ranks(count)
    return world_size() * total / torch.where(count > 0, count, 1)


class RunningLoss:
    """Mean loss of each task over all known labels of an evaluation, however it is split into batches and ranks.

    Args:
        focal_gamma: as of `masked_cross_entropy`.
        kind: of the tasks.

    >>> loss, known = RunningLoss(0.0), torch.tensor([[True]])
    >>> loss.add(torch.zeros(1, 1), torch.zeros(1, 1), known)
    >>> loss.add(torch.full((1, 1), 99.0), torch.ones(1, 1), known)
    >>> round(loss.means().item(), 4)
    0.3466
    """

    def __init__(self, focal_gamma: float, kind: TaskKind = "binary") -> None:
        self.focal_gamma, self.kind = focal_gamma, kind
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._total: Tensor | float = 0.0
        self._count: Tensor | int = 0

    def add(self, logits: Tensor, label: Tensor, label_mask: Tensor) -> None:
        """Add the rows of a batch; as of `masked_cross_entropy`."""
        found = logits.detach().float()
        is_value = self.kind == "value"
        each = (
            _huber(found, label, label_mask) if is_value else _cross_entropy(found, label, label_mask, self.focal_gamma)
        )
        self._total = self._total + _sum(each, label_mask)
        self._count = self._count + label_mask.sum(0)

    def means(self) -> Tensor:
        """(T,) float, 0 for a task without known labels; every rank must call it, after at least one batch."""
        assert isinstance(self._total, Tensor)
        assert isinstance(self._count, Tensor)
        return sum_over_ranks(self._total) / sum_over_ranks(self._count).clamp(min=1)


def _cross_entropy(logits: Tensor, label: Tensor, label_mask: Tensor, focal_gamma: float) -> Tensor:
    """(B, T) float, the loss of each label; undefined where unknown."""
    known = torch.where(label_mask, label, 0.0)
    each = functional.binary_cross_entropy_with_logits(logits, known, reduction="none")
    if focal_gamma > 0:
        missed = -torch.expm1(-each)
        each = each * missed.clamp(min=TINY) ** focal_gamma
    return each


def _huber(prediction: Tensor, value: Tensor, known: Tensor) -> Tensor:
    """(B, T) float, the loss of each value; undefined where unknown."""
    return functional.huber_loss(prediction, torch.where(known, value, 0.0), reduction="none", delta=DELTA)


def _sum(each: Tensor, label_mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """(T,) float, the weighted sum of the losses of the known labels of this rank."""
    if weight is not None:
        each = each * weight[:, None]
    return torch.where(label_mask, each, 0.0).sum(0)
