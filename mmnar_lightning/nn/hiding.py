"""Hiding one modality at a time, which is then predicted from the others (docs/method.md, section 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hiding:
    """The modalities hidden from each row.

    Attributes:
        modality: (B, K) int64, the modality hidden in the k-th copy of a row.
        weight: (B, M) float, inverse probability that the representation without m is computed; 0 where it is not. For
            an absent modality it always is.
    """

    modality: Tensor
    weight: Tensor

    def reduced(self, present: Tensor) -> Tensor:
        """Presence in the copies, (B, K, M) bool: the row's presence with one bit cleared."""
        bits = torch.arange(present.shape[1], device=present.device)
        return present[:, None] & (self.modality[..., None] != bits)


def hide(present: Tensor, sampled: int) -> Hiding:
    """Choose the modalities to hide.

    Args:
        present: (B, M) bool.
        sampled: K, the number of present modalities drawn for each row; 0 hides each in turn (K = M).

    Returns:
        The hidden modalities and their weights.

    >>> hide(torch.tensor([[True, False]]), 0).modality.tolist()
    [[0, 1]]
    """
    num_rows, num_modalities = present.shape
    if sampled == 0 or sampled >= num_modalities:
        every = torch.arange(num_modalities, device=present.device).expand(num_rows, -1)
        return Hiding(every, torch.ones(num_rows, num_modalities, device=present.device))
    turn = torch.rand(num_rows, num_modalities, device=present.device).masked_fill(~present, -1.0)
    modality = turn.topk(sampled, dim=1).indices
    drawn = torch.zeros_like(present).scatter(1, modality, True)
    odds = (present.sum(1, keepdim=True) / sampled).clamp(min=1.0)
    return Hiding(modality, torch.where(present, odds * drawn, 1.0))


def drop(present: Tensor, probability: float) -> Tensor:
    """Drop modalities at random, never the last one of a row.

    Args:
        present: (B, M) bool.
        probability: of dropping a present modality, in [0, 1).

    Returns:
        (B, M) bool.

    >>> drop(torch.tensor([[True, False]]), 0.99).tolist()
    [[True, False]]
    """
    if probability == 0:
        return present
    turn = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    safest = turn == turn.max(1, keepdim=True).values
    return present & (safest | (turn >= probability))
