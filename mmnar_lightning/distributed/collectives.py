"""Ranks: how many there are, sums over all of them, and rows of all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

Value = TypeVar("Value")


def world_size() -> int:
    """Number of processes that train together; 1 outside of a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among those that train together; 0 outside of a group."""
    return dist.get_rank() if world_size() > 1 else 0


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


def broadcast_from_rank_zero(value: Value) -> Value:
    """What the first rank says; every rank must call it.

    >>> broadcast_from_rank_zero("runs/first")
    'runs/first'
    """
    said: list[Any] = [value]
    if world_size() > 1:
        dist.broadcast_object_list(said)
    agreed: Value = said[0]
    return agreed


def all_gather_counts(num_rows: int, device: torch.device) -> list[int]:
    """How many rows every rank holds, in the order of the ranks; every rank must call it."""
    if world_size() == 1:
        return [num_rows]
    counts = torch.zeros(world_size(), dtype=torch.int64, device=device)
    counts[rank()] = num_rows
    return [int(count) for count in sum_over_ranks(counts)]


def all_gather_rows(value: Tensor, num_rows: list[int]) -> Tensor:
    """Rows of all ranks, in the order of the ranks, with gradients; every rank must call it.

    The gradient that a rank gets for its own rows is the sum over what all ranks made of them.

    Args:
        value: (b, ...) rows of this rank; ranks may hold different numbers of them.
        num_rows: as `num_rows_of_ranks` gives them.

    Returns:
        (N, ...), the rows of all ranks.
    """
    if world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value, num_rows)
    return gathered


@contextmanager
def full_parameters(root: nn.Module | None) -> Iterator[None]:
    """Let modules inside of a sharded one be called: outside of its own forward pass a rank has only a shard of them.

    Every rank must enter it.

    Args:
        root: what the strategy trains; unless it is sharded, nothing happens.
    """
    if isinstance(root, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(root, writeback=False):
            yield
    else:
        yield


def clip_gradient(root: nn.Module, largest: float) -> None:
    """Scale all gradients so that their common norm is at most `largest`; every rank must call it.

    Args:
        root: what the strategy trains, sharded or not.
        largest: the norm.
    """
    if isinstance(root, FullyShardedDataParallel):
        root.clip_grad_norm_(largest)  # each rank sees the gradient of its shard alone
    else:
        torch.nn.utils.clip_grad_norm_(root.parameters(), largest)


class _Gather(torch.autograd.Function):
    """Gather forwards; backwards the sum over ranks, cut to the rows of this one."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, num_rows: list[int]) -> Tensor:
        ctx.num_rows = num_rows
        padded = value.new_zeros(max(num_rows), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in num_rows]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, num_rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = sum(ctx.num_rows[: rank()])
        return total[start : start + ctx.num_rows[rank()]], None
