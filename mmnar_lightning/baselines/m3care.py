"""M3Care: absent modalities are filled in from similar patients (Zhang and others, KDD 2022)."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.memory import FrozenMemory
from mmnar_lightning.baselines.terms import each, masked_mean
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.fusion import ColumnBlock
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DIM = 128
"""Width of a modality's encoding."""
NUM_HEADS = 4
"""Attention heads."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit."""
BANDWIDTHS = (0.5, 1.0, 2.0)
"""Of the three kernels, as multiples of the mean squared distance within the memory."""
THRESHOLD = -1.0
"""Initial logit of the threshold of similarities."""
STABILITY = 1e-3
"""Weight of the term that keeps the lengths of mapped encodings near their own."""
TINY = 1e-6
"""Smallest scale of distances, and smallest sum of similarities."""


class M3Care(nn.Module):
    """Similarities to the frozen memory, messages from similar patients, and self-attention over the modalities.

    K_m(i, j) = (1 - a_m) k(φ_m(e_i), φ_m(e_j)) + a_m k(e_i, e_j); S(i, j) is the mean of K_m over the modalities that
    both have, and those below a learned threshold are 0. Two graph convolutions of each modality over the patients that
    have it give a message, which stands for an absent modality and is mixed with a present one by gates.

    Args:
        inputs: modalities, prior, memory.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.memory = FrozenMemory(inputs.modalities, inputs.memory)
        self.mapped = nn.ModuleList(projection(DIM, DIM, 0.0) for _ in range(count))
        self.mixing = nn.Parameter(torch.zeros(count))
        self.threshold = nn.Parameter(torch.tensor(THRESHOLD))
        self.messages = nn.ModuleList(Messages(DIM) for _ in range(count))
        self.own_gate = nn.ModuleList(nn.Linear(DIM, 1) for _ in range(count))
        self.message_gate = nn.ModuleList(nn.Linear(DIM, 1) for _ in range(count))
        self.kind = nn.Parameter(torch.zeros(count, DIM))
        self.block = ColumnBlock(DIM, NUM_HEADS)
        self.hidden = nn.Sequential(nn.LayerNorm(count * DIM), nn.Linear(count * DIM, DIM), nn.GELU())
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training with the term of the maps' lengths."""
        encodings, memory = self.encoders(batch), self.memory.encode(self.encoders)
        mapped, mapped_memory = each(self.mapped, encodings), each(self.mapped, memory)
        similar, among = self._similarities((encodings, mapped), (memory, mapped_memory), batch.present)
        tokens = torch.stack(
            [
                self._token(m, encodings[:, m], batch.present[:, m], similar, memory[:, m], among)
                for m in range(batch.present.shape[1])
            ],
            dim=1,
        )
        every = torch.ones_like(batch.present)
        hidden = self.hidden(self.block(tokens + self.kind, every).flatten(1))
        terms = {}
        if self.training:
            changed = (mapped.norm(dim=-1) - encodings.norm(dim=-1)).abs()
            terms["stability"] = STABILITY * masked_mean(changed, batch.present)
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=encodings, terms=terms)

    def _similarities(
        self, rows: tuple[Tensor, Tensor], memory: tuple[Tensor, Tensor], present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """S of the rows and the memory, (B, S), and within the memory, (S, S), below the threshold 0."""
        share, held = self.mixing.sigmoid(), self.memory.present
        scales = [[distance_scale(side[:, m], held[:, m]) for side in memory] for m in range(held.shape[1])]
        totals: list[Tensor] = []
        for side, shown in ((rows, present), (memory, held)):
            both = shown[:, None] & held
            total = torch.zeros_like(both[..., 0], dtype=share.dtype)
            for m, of_both in enumerate(scales):
                own, deep = (
                    kernel(left[:, m], right[:, m], scale)
                    for left, right, scale in zip(side, memory, of_both, strict=True)
                )
                mixed = (1 - share[m]) * deep + share[m] * own
                total = total + torch.where(both[..., m], mixed, 0.0)
            totals.append(self._keep(total / both.sum(-1).clamp(min=1)))
        return totals[0], totals[1]

    def _keep(self, similarity: Tensor) -> Tensor:
        """Similarities above the threshold, which has a gradient; 0 elsewhere."""
        limit = self.threshold.sigmoid()
        return torch.where(similarity > limit, functional.relu(similarity - limit) + limit.detach(), 0.0)

    def _token(self, m: int, own: Tensor, present: Tensor, similar: Tensor, memory: Tensor, among: Tensor) -> Tensor:
        """The modality of every row, (B, D): the message where absent, a gated mean of both where present."""
        has = self.memory.present[:, m]
        # A patient is the most similar to itself: S(i, i) = 1.
        message = self.messages[m](own, present.to(own), similar * has, memory, among * has)
        weight = torch.cat([self.own_gate[m](own), self.message_gate[m](message)], dim=1).sigmoid()
        weight = weight / weight.sum(1, keepdim=True)
        mixed = weight[:, :1] * own + weight[:, 1:] * message
        return torch.where(present[:, None], mixed, message)


class Messages(nn.Module):
    """Two graph convolutions from patients that have a modality to all: A ReLU(A e W_1) W_2, rows of A sum to 1.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.second = nn.Linear(dim, dim)

    def forward(self, own: Tensor, itself: Tensor, similar: Tensor, memory: Tensor, among: Tensor) -> Tensor:
        """Messages to rows.

        Args:
            own: (B, D) float, encodings of the rows.
            itself: (B,) float, weight of the row itself; 0 where it lacks the modality.
            similar: (B, S) float, weights of the memory; 0 of those that lack the modality.
            memory: (S, D) float, encodings of the memory.
            among: (S, S) float, weights within the memory.

        Returns:
            (B, D) float; 0 of a row without any neighbour.
        """
        total = (similar.sum(1) + itself).clamp(min=TINY)[:, None]
        similar, itself = similar / total, itself[:, None] / total
        among = among / among.sum(1, keepdim=True).clamp(min=TINY)
        for_memory, for_rows = self.first(memory), self.first(own)
        rows = functional.relu(similar @ for_memory + itself * for_rows)
        held = functional.relu(among @ for_memory)
        message: Tensor = similar @ self.second(held) + itself * self.second(rows)
        return message


def kernel(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Mean of Gaussian kernels with three bandwidths.

    Args:
        left: (B, D) float.
        right: (S, D) float.
        scale: scalar, the unit of squared distances.

    Returns:
        (B, S) float in [0, 1].

    >>> kernel(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor(1.0))
    tensor([[1., 1., 1.]])
    """
    distance = squared_distance(left, right) / scale
    return torch.stack([torch.exp(-distance / width) for width in BANDWIDTHS]).mean(0)


def squared_distance(left: Tensor, right: Tensor) -> Tensor:
    """Squared distances by one product of matrices, since (B, S, D) differences of a large memory take gigabytes.

    Args:
        left: (B, D) float.
        right: (S, D) float.

    Returns:
        (B, S) float, not below 0.

    >>> squared_distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0], [4.0, 6.0]]))
    tensor([[ 0., 25.]])
    """
    device = left.device.type
    # What is subtracted below needs all digits: no bfloat16, and no common offset of all vectors.
    with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
        centre = right.detach().float().mean(0)
        left, right = left.float() - centre, right.float() - centre
        lengths = left.square().sum(-1)[:, None] + right.square().sum(-1)
        return (lengths - 2 * left @ right.T).clamp(min=0)


@torch.no_grad()
def distance_scale(values: Tensor, shown: Tensor) -> Tensor:
    """Mean squared distance of two different vectors, without a gradient.

    Args:
        values: (S, D) float.
        shown: (S,) bool, the vectors that count.

    Returns:
        Scalar, twice the sum of the variances; D without two vectors.

    >>> distance_scale(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([True, True, False]))
    tensor(4.)
    """
    count = shown.sum()
    centre = torch.where(shown[:, None], values, 0.0).sum(0) / count.clamp(min=1)
    spread = torch.where(shown[:, None], (values - centre).square(), 0.0).sum()
    mean = 2 * spread / (count - 1).clamp(min=1)
    return torch.where(count > 1, mean, float(values.shape[1])).clamp(min=TINY)
