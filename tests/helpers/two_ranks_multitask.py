"""What each of two gloo processes does; it imports as little as it can."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from mmnar_lightning.losses.multitask import masked_cross_entropy

WORLD_SIZE, NUM_TASKS = 2, 3


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose first half knows far fewer labels than the second, and nothing of the last task."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(20, 4, generator=generator)
    label = torch.randint(2, (20, NUM_TASKS), generator=generator).float()
    known = torch.rand(20, NUM_TASKS, generator=generator) < 0.9
    known[3:10, 0] = False
    known[:10, 2] = False
    return inputs, label.masked_fill(~known, torch.nan), known


def weighted(logits: Tensor, label: Tensor, known: Tensor, rows: slice) -> Tensor:
    """The loss with a weight of each of all rows, of which some are here."""
    weight = torch.linspace(0.1, 3.0, 20)[rows]
    return masked_cross_entropy(logits, label, known, weight=weight)


def run_rank(rank: int, folder: Path) -> None:
    """The loss and the averaged gradient, as DDP would have them, of one half of the rows."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD_SIZE,
        timeout=timedelta(minutes=10),
    )
    half = slice(rank * 10, (rank + 1) * 10)
    inputs, label, known = (tensor[half] for tensor in data())
    weight = torch.full((4, NUM_TASKS), 0.1, requires_grad=True)
    loss = masked_cross_entropy(inputs @ weight, label, known) + weighted(inputs @ weight, label, known, half)
    loss.sum().backward()
    assert weight.grad is not None
    dist.all_reduce(weight.grad)
    torch.save({"loss": loss.detach(), "gradient": weight.grad / WORLD_SIZE}, folder / f"{rank}.pt")
    dist.destroy_process_group()
