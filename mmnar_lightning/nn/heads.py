"""Task heads: from the representation to one logit per task."""

import torch
from torch import Tensor, nn

from mmnar_lightning.nn.mlp import projection


class TaskHeads(nn.Module):
    """One small network per task: (B, D) -> (B, T) logits.

    Args:
        num_tasks: T.
        dim: D.
        dropout: inside the heads.
    """

    def __init__(self, num_tasks: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleList(
            nn.Sequential(projection(dim, dim, dropout), nn.GELU(), nn.Linear(dim, 1)) for _ in range(num_tasks)
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
