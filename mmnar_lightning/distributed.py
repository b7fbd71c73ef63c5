"""Ranks: how many there are, and sums over all of them."""

import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together; 1 outside of a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, without a gradient; every rank must call it.

    >>> import torch
    >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total
