"""What each of two gloo processes does with its rows of the label-free losses; it imports as little as it can."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from mmnar_lightning.losses.assignment import assignment
from mmnar_lightning.losses.contrastive import symmetric_infonce
from mmnar_lightning.losses.reconstruction import reconstruction

PARTS = (slice(0, 13), slice(13, 20))
"""Ranks hold different numbers of rows."""
LOSSES = ("contrast", "reconstruction", "assignment")
MODALITIES, WIDTH = 3, 4


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, M, D), valid entries (B, M), subjects (B,); one subject has rows on both ranks.

    The second modality is valid twice on the first rank alone, the third once on either.
    """
    generator = torch.Generator().manual_seed(5)
    valid = torch.zeros(20, MODALITIES, dtype=torch.bool)
    valid[:, 0] = torch.rand(20, generator=generator) < 0.7
    valid[[2, 5], 1] = True
    valid[[0, 19], 2] = True
    subject = torch.arange(20)
    subject[12:15] = 12
    return torch.randn(20, MODALITIES, WIDTH, generator=generator), valid, subject


def weights() -> list[Tensor]:
    """Two maps that both sides of the contrast go through."""
    generator = torch.Generator().manual_seed(6)
    return [torch.randn(WIDTH, WIDTH, generator=generator).requires_grad_() for _ in range(2)]


def compute(name: str, maps: list[Tensor], part: slice) -> Tensor:
    """A loss of some of the rows."""
    inputs, valid, subject = (tensor[part] for tensor in data())
    first, second = (inputs @ matrix for matrix in maps)
    if name == "contrast":
        return symmetric_infonce(first, second, valid, subject, 0.2)
    if name == "reconstruction":
        return reconstruction(first, second, valid.float())
    return assignment(first[..., 0] * second[..., 0], valid, 0.5 + valid.float())


def run_rank(rank: int, folder: Path) -> None:
    """Losses and averaged gradients, as DDP would have them."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(minutes=10)
    )
    found = {}
    for name in LOSSES:
        maps = weights()
        loss = compute(name, maps, PARTS[rank])
        loss.backward()
        gradients = [torch.zeros_like(matrix) if matrix.grad is None else matrix.grad for matrix in maps]
        for gradient in gradients:
            dist.all_reduce(gradient)
        found[name] = {"loss": loss.detach(), "gradients": [gradient / 2 for gradient in gradients]}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()
