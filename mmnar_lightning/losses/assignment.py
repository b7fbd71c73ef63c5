"""The assignment loss: presence of a modality predicted from the others (docs/method.md, section 2)."""

import torch
from torch import Tensor
from torch.nn import functional

from mmnar_lightning.distributed.collectives import sum_over_ranks, world_size


def assignment(logits: Tensor, present: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of presence, mean over rows and modalities.

    Args:
        logits: (B, M) float, logits of P(present_m = 1 | the rest).
        present: (B, M) bool.
        weight: (B, M) float, at least 0; 0 excludes an entry.

    Returns:
        Scalar: world size · this rank's weighted sum / the weight of all ranks; a differentiable zero without entries.

    >>> round(assignment(torch.zeros(1, 2), torch.tensor([[True, False]]), torch.ones(1, 2)).item(), 4)
    0.6931
    """
    taken = torch.where(weight > 0, logits, 0.0)
    each = functional.binary_cross_entropy_with_logits(taken, present.to(logits.dtype), reduction="none")
    total = (weight * each).sum()
    return world_size() * total / sum_over_ranks(weight.sum()).clamp(min=1)
