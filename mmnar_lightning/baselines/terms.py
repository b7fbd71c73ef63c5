"""What the networks among the baselines share: layers of each modality, and means over what is present."""

import torch
from torch import Tensor, nn

from mmnar_lightning.distributed.collectives import all_gather_rows, sum_over_ranks, world_size


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the entries that a mask shows, over all ranks; every rank must call it.

    Each rank returns world size · its sum / the count of all ranks, so that the gradients averaged over ranks by DDP
    are the gradient of the global mean.

    Args:
        values: any shape, float; those of hidden entries are not read.
        mask: the same shape, bool, True = shown.

    Returns:
        Scalar; a differentiable zero without a shown entry.

    >>> masked_mean(torch.tensor([1.0, float("nan"), 3.0]), torch.tensor([True, False, True]))
    tensor(2.)
    """
    total = torch.where(mask, values, 0.0).sum()
    return world_size() * total / sum_over_ranks(mask.sum()).clamp(min=1)


def total_over_ranks(value: Tensor) -> Tensor:
    """Sum a tensor over all ranks, with gradients; every rank must call it.

    The gradient of a function of the total, averaged over ranks, is that of one process with all rows.

    Args:
        value: (n,) float.

    Returns:
        (n,) float.

    >>> total_over_ranks(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return all_gather_rows(value[None], [1] * world_size()).sum(0)


def each(layers: nn.ModuleList, tokens: Tensor) -> Tensor:
    """Pass each token through a layer of its own.

    Args:
        layers: M layers, D -> D'.
        tokens: (B, M, D) float.

    Returns:
        (B, M, D') float.

    >>> each(nn.ModuleList([nn.Identity(), nn.ReLU()]), torch.tensor([[[-1.0], [-2.0]]]))
    tensor([[[-1.],
             [ 0.]]])
    """
    return torch.stack([layer(tokens[:, place]) for place, layer in enumerate(layers)], dim=1)


def masked_row_mean(tokens: Tensor, shown: Tensor) -> Tensor:
    """Mean of the shown tokens of each row.

    Args:
        tokens: (B, M, D) float; those of hidden places are not read.
        shown: (B, M) bool.

    Returns:
        (B, D) float; zero in a row that shows none.

    >>> masked_row_mean(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[True, True]]))
    tensor([[2.]])
    """
    kept = torch.where(shown.unsqueeze(-1), tokens, 0.0)
    return kept.sum(1) / shown.sum(1, keepdim=True).clamp(min=1)


def pairs(present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of M modalities, and the rows that have both of a pair.

    Args:
        present: (B, M) bool.

    Returns:
        First and second modality of each of P = M (M - 1) / 2 pairs, (P,) int64; and (B, P) bool.

    >>> first, second, both = pairs(torch.tensor([[True, False, True]]))
    >>> first.tolist(), second.tolist(), both.tolist()
    ([0, 0, 1], [1, 2, 2], [[False, True, False]])
    """
    count = present.shape[1]
    first, second = torch.triu_indices(count, count, 1, device=present.device)
    return first, second, present[:, first] & present[:, second]
