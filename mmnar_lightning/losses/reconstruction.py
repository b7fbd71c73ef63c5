"""Reconstruction of a hidden modality's encoding (CRL-MMNAR; docs/method.md, section 2)."""

import torch
from torch import Tensor

from mmnar_lightning.distributed.collectives import sum_over_ranks, world_size


def reconstruction(reconstructions: Tensor, encodings: Tensor, weight: Tensor) -> Tensor:
    """Mean over rows and modalities of ‖ê_m − stopgrad(e_m)‖² / D.

    Without the stop-gradient the encodings collapse.

    Args:
        reconstructions: (B, M, D) float, ê.
        encodings: (B, M, D) float, e.
        weight: (B, M) float, at least 0; 0 excludes an entry.

    Returns:
        Scalar: world size · this rank's weighted sum / the weight of all ranks; a differentiable zero without entries.

    >>> reconstruction(torch.ones(1, 2, 4), torch.zeros(1, 2, 4), torch.tensor([[1.0, 0.0]]))
    tensor(1.)
    """
    difference = torch.where(weight[..., None] > 0, reconstructions - encodings.detach(), 0.0)
    total = (weight * difference.square().mean(-1)).sum()
    return world_size() * total / sum_over_ranks(weight.sum()).clamp(min=1)
