"""Pooling of a row's items (documents, images) into one vector."""

import torch
from torch import Tensor, nn


class MeanPooling(nn.Module):
    """The mean of a row's vectors; zero for a row without vectors."""

    def forward(self, vectors: Tensor, row: Tensor, num_rows: int) -> Tensor:
        """Pool the vectors of each row.

        Args:
            vectors: (n, width) float.
            row: (n,) int64, the row of each vector.
            num_rows: B.

        Returns:
            (B, width) float.

        >>> MeanPooling()(torch.tensor([[1.0], [3.0]]), torch.tensor([1, 1]), 2).tolist()
        [[0.0], [2.0]]
        """
        return weighted_mean(vectors, torch.ones_like(vectors[:, 0]), row, num_rows)


class AttentionPooling(nn.Module):
    """A learned weighted mean: a row's weights are the softmax of w · tanh(V x) (Ilse et al., ICML 2018).

    Args:
        width: width of a vector.
        hidden: width of the hidden layer.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False))

    def forward(self, vectors: Tensor, row: Tensor, num_rows: int) -> Tensor:
        """As `MeanPooling.forward`."""
        score = self.score(vectors).squeeze(1)
        highest = score.detach().new_full((num_rows,), -torch.inf).scatter_reduce(0, row, score.detach(), "amax")
        return weighted_mean(vectors, torch.exp(score - highest[row]), row, num_rows)


def build_pooling(name: str, width: int) -> nn.Module:
    """The pooling module named `mean` or `attention`."""
    return AttentionPooling(width) if name == "attention" else MeanPooling()


def weighted_mean(vectors: Tensor, weight: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Weighted mean of the vectors of each group; zero for an empty group.

    Args:
        vectors: (n, width) float.
        weight: (n,) float, above 0.
        group: (n,) int64.
        num_groups: G.

    Returns:
        (G, width) float.
    """
    # At least float32: with autocast vectors and weights may be of two types, and bfloat16 sums lose small terms.
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    weight = weight.to(exact.dtype)
    total = exact.new_zeros(num_groups).index_add(0, group, weight)
    share = weight / total[group]
    return exact.new_zeros(num_groups, vectors.shape[1]).index_add(0, group, exact * share[:, None])
