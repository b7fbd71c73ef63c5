"""Collective operations over ranks: sums, broadcasts and gathered rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

Value = TypeVar("Value")


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum a tensor over all ranks, without a gradient; every rank must call it.

    Returns:
        The sum, in the shape of the input.

    >>> import torch
    >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def broadcast_from_rank_zero(value: Value) -> Value:
    """Broadcast rank zero's value to all ranks; every rank must call it.

    Returns:
        The value of rank zero.

    >>> broadcast_from_rank_zero("runs/first")
    'runs/first'
    """
    values: list[Any] = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values)
    broadcast: Value = values[0]
    return broadcast


def all_gather_counts(num_rows: int, device: torch.device, known: Sequence[int] | None = None) -> list[int]:
    """Number of rows on each rank, in rank order; every rank must call it.

    Args:
        num_rows: of this rank.
        device: of the process group.
        known: the answer where the loader knows it, `Batch.rank_rows`: asking the other ranks waits for the device.

    Returns:
        One number a rank.
    """
    if world_size() == 1:
        return [num_rows]
    if known is not None and len(known) == world_size():
        return list(known)
    counts = torch.zeros(world_size(), dtype=torch.int64, device=device)
    counts[rank()] = num_rows
    return [int(count) for count in sum_over_ranks(counts)]


def all_gather_rows(value: Tensor, num_rows: list[int]) -> Tensor:
    """Gather the rows of all ranks, in rank order, with gradients; every rank must call it.

    The gradient of a rank's own rows is the sum of their gradients over all ranks.

    Args:
        value: (b, ...) rows of this rank; b may differ between ranks.
        num_rows: result of `all_gather_counts`.

    Returns:
        (N, ...), the rows of all ranks.
    """
    if world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value, num_rows)
    return gathered


@contextmanager
def full_parameters(root: nn.Module | None) -> Iterator[None]:
    """Unshard a module, so that its submodules can be called outside of its own forward pass; every rank must enter it.

    Args:
        root: module that the strategy trains; unless it is sharded, this does nothing.
    """
    if isinstance(root, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(root, writeback=False):
            yield
    else:
        yield


def clip_gradient(root: nn.Module, largest: float) -> Tensor:
    """Scale all gradients so that their common norm is at most `largest`; every rank must call it.

    Args:
        root: module that the strategy trains, sharded or not.
        largest: maximum norm.

    Returns:
        The norm before, a scalar.
    """
    if isinstance(root, FullyShardedDataParallel):
        return root.clip_grad_norm_(largest)  # each rank has only the gradient of its shard
    return torch.nn.utils.clip_grad_norm_(root.parameters(), largest)


class _Gather(torch.autograd.Function):
    """Forward: gather. Backward: sum over ranks, sliced to the rows of this one."""

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
