"""The contrastive loss between encodings and reconstructions (CRL-MMNAR; docs/method.md, section 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mmnar_lightning.distributed.collectives import all_gather_counts, all_gather_rows, rank, sum_over_ranks, world_size


def symmetric_infonce(
    first: Tensor,
    second: Tensor,
    valid: Tensor,
    subject: Tensor,
    temperature: float,
    rank_rows: Sequence[int] | None = None,
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., 2018), within each modality, over the rows of all ranks.

    The positive of a row is the same row of the other tensor; negatives are valid rows of other subjects on all ranks.

    Args:
        first: (B, M, D) float, projected encodings.
        second: (B, M, D) float, projected reconstructions.
        valid: (B, M) bool, the entries that are compared.
        subject: (B,) int64.
        temperature: above 0.
        rank_rows: B of each rank where the loader knows it; None asks the ranks.

    Returns:
        Scalar: the mean over valid rows of each modality with at least two on all ranks, then over these modalities; a
        differentiable zero without such a modality.

    >>> same = functional.normalize(torch.eye(2), dim=-1)[:, None]
    >>> loss = symmetric_infonce(same, same, torch.ones(2, 1, dtype=torch.bool), torch.arange(2), 1.0)
    >>> round(loss.item(), 4)  # log(1 + e^-1)
    0.3133
    """
    num_rows = all_gather_counts(len(subject), subject.device, rank_rows)
    first, second = (functional.normalize(torch.where(valid[..., None], side, 0.0), dim=-1) for side in (first, second))
    allowed, own = _candidates(valid, subject, num_rows)
    forward = _rows(first, all_gather_rows(second, num_rows), allowed, own, temperature)
    backward = _rows(second, all_gather_rows(first, num_rows), allowed, own, temperature)
    total = torch.where(valid.T, (forward + backward) / 2, 0.0).sum(1)
    count = sum_over_ranks(valid.sum(0))
    taken = count >= 2
    per_modality = torch.where(taken, total / count.clamp(min=1), 0.0)
    return world_size() * per_modality.sum() / taken.sum().clamp(min=1)


def _candidates(valid: Tensor, subject: Tensor, num_rows: list[int]) -> tuple[Tensor, Tensor]:
    """Candidates of each row, (M, B, N) bool, the row itself included, and its own position, (B,) int64."""
    others = all_gather_rows(subject, num_rows)
    own = sum(num_rows[: rank()]) + torch.arange(len(subject), device=subject.device)
    negative = (subject[:, None] != others) & all_gather_rows(valid.to(torch.uint8), num_rows).bool().T[:, None]
    itself = own[:, None] == torch.arange(len(others), device=subject.device)
    return negative | itself, own


def _rows(anchor: Tensor, candidate: Tensor, allowed: Tensor, own: Tensor, temperature: float) -> Tensor:
    """−log softmax of the positive, (M, B)."""
    similarity = torch.einsum("bmd,nmd->mbn", anchor, candidate) / temperature
    similarity = similarity.masked_fill(~allowed, -torch.inf)
    positive = similarity.gather(2, own.expand(len(similarity), -1)[..., None]).squeeze(-1)
    return similarity.logsumexp(-1) - positive
