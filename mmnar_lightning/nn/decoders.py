"""Decoders: from the representation without a modality to that modality's encoding and the logit of its presence."""

import torch
from torch import Tensor, nn

from mmnar_lightning.nn.mlp import projection


class Decoders(nn.Module):
    """One decoder per modality: h without m -> ê_m.

    Args:
        num_modalities: M.
        dim: D.
        dropout: inside the projections.
    """

    def __init__(self, num_modalities: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(projection(dim, dim, dropout) for _ in range(num_modalities))

    def forward(self, without: Tensor) -> Tensor:
        """(B, M, D) float, entry m computed without modality m -> reconstructions (B, M, D)."""
        return torch.stack([decoder(without[:, m]) for m, decoder in enumerate(self.decoders)], dim=1)


class AssignmentHead(nn.Module):
    """Logits of P(present_m = 1 | the rest), one small network per modality.

    Args:
        num_modalities: M.
        dim: D.
        dropout: inside the networks.
    """

    def __init__(self, num_modalities: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, 1))
            for _ in range(num_modalities)
        )

    def forward(self, without: Tensor) -> Tensor:
        """(B, M, D) float, entry m computed without modality m -> (B, M) logits."""
        return torch.cat([head(without[:, m]) for m, head in enumerate(self.heads)], dim=1)
