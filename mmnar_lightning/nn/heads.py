"""Task heads: from the representation to one logit per task, of a network each or of one network."""

import torch
from torch import Tensor, nn

from mmnar_lightning.nn.mlp import projection


class TaskHeads(nn.Module):
    """Small networks: (B, D) -> (B, T) logits.

    Args:
        num_tasks: T.
        dim: D.
        dropout: inside the heads.
        shared: one network with T outputs instead of one for each task.
    """

    def __init__(self, num_tasks: int, dim: int, dropout: float, *, shared: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        outputs = [num_tasks] if shared else [1] * num_tasks
        self.heads = nn.ModuleList(
            nn.Sequential(projection(dim, dim, dropout), nn.GELU(), nn.Linear(dim, width)) for width in outputs
        )

    @torch.no_grad()
    def zero_init(self) -> None:
        """Zero the output layers, so that every logit is zero."""
        for head in self.heads:
            *_, last = head.children()
            for parameter in last.parameters():
                parameter.zero_()

    def forward(self, representation: Tensor) -> Tensor:
        """(B, D) float -> (B, T) float logits."""
        normed = self.norm(representation)
        return torch.cat([head(normed) for head in self.heads], dim=1)
