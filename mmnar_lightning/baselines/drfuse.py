"""DrFuse: what modalities share is pooled as logits, what each has alone is weighted for every task by attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import DrFuseConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.late_fusion import DIM
from mmnar_lightning.baselines.terms import each, masked_mean, masked_row_mean, pairs
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs, SideHeads

DROPOUT = 0.1
"""Probability of dropping a hidden unit."""
MARGIN = 0.1
"""By which the attention of the better of two tokens exceeds that of the other before the ranking term is zero."""


class DrFuse(nn.Module):
    """Shared s_m = W S_m(e_m), distinct d_m = D_m(e_m); logit_t = head_t(Σ_j α_tj V z_j), z = (shared, d_1, ..., d_M).

    shared = logit(mean of σ(s_m) over present m); α_t = softmax_j(q · K_t z_j / √D) over present tokens, q = Q(mean of
    these). In training the distributions σ(s_m) of a row are drawn together, s_m and d_m are kept orthogonal, and a
    token that predicts a label better alone gets the larger attention. Every token also has a head of its own.

    Source: Yao and others, DrFuse: Learning disentangled representation for clinical multi-modal fusion with missing
    modality and modal inconsistency, AAAI 2024; from two modalities to M.

    Args:
        inputs: modalities, tasks, prior.
        config: weights of the terms.
    """

    def __init__(self, inputs: BaselineInputs, config: DrFuseConfig) -> None:
        super().__init__()
        count, num_tasks = len(inputs.modalities), len(inputs.tasks)
        self.config = config
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.to_shared = nn.ModuleList(projection(DIM, DIM, DROPOUT) for _ in range(count))
        self.to_distinct = nn.ModuleList(projection(DIM, DIM, DROPOUT) for _ in range(count))
        self.common = nn.Linear(DIM, DIM)
        self.query = nn.Linear(DIM, DIM)
        self.keys = nn.Linear(DIM, num_tasks * DIM)
        self.value = nn.Linear(DIM, DIM)
        self.alone = nn.ModuleList(prior_head(DIM, inputs.prior) for _ in range(count + 1))
        self.weight = nn.Parameter(torch.empty(num_tasks, DIM))
        self.bias = nn.Parameter(inputs.prior.clone())
        nn.init.normal_(self.weight, std=DIM**-0.5)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training also the terms `alignment`, `orthogonality` and `ranking`."""
        encodings, present = self.encoders(batch), batch.present
        shared = self.common(each(self.to_shared, encodings))
        distinct = each(self.to_distinct, encodings)
        some = present.any(1, keepdim=True)
        pooled = torch.where(some, pool_logits(shared, present | ~some), 0.0)
        tokens = torch.cat([pooled.unsqueeze(1), distinct], dim=1)
        shown = torch.cat([torch.ones_like(some), present], dim=1)  # the shared token is zero in a row without any
        attention, attended = self._attend(tokens, shown)
        side = SideHeads(logits=each(self.alone, tokens), shown=torch.cat([some, present], dim=1))
        return ModelOutputs(
            logits=(attended * self.weight).sum(-1) + self.bias,
            representation=attended.mean(1),
            encodings=encodings,
            side=side,
            terms=self._terms(shared, distinct, attention, side, batch) if self.training else {},
        )

    def _attend(self, tokens: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of each task to each token, (B, T, M + 1), and the attended values, (B, T, D)."""
        query = self.query(masked_row_mean(tokens, shown))
        keys = self.keys(tokens).unflatten(-1, self.weight.shape)
        scores = torch.einsum("bd,bjtd->btj", query, keys) / DIM**0.5
        attention = scores.masked_fill(~shown.unsqueeze(1), -torch.inf).softmax(-1)
        return attention, attention @ self.value(tokens)

    def _terms(
        self, shared: Tensor, distinct: Tensor, attention: Tensor, side: SideHeads, batch: Batch
    ) -> dict[str, Tensor]:
        first, second, both = pairs(batch.present)
        divergence = jensen_shannon(shared[:, first], shared[:, second]).mean(-1)
        overlap = functional.cosine_similarity(shared, distinct, dim=-1).abs()
        weight = self.config.disentanglement
        return {
            "alignment": weight * masked_mean(divergence, both),
            "orthogonality": weight * masked_mean(overlap, batch.present),
            "ranking": self.config.ranking * ranking(attention, side, batch.label, batch.label_mask),
        }


def pool_logits(logits: Tensor, shown: Tensor) -> Tensor:
    """The logit of the mean probability.

    Args:
        logits: (B, M, D) float.
        shown: (B, M) bool, at least one in every row.

    Returns:
        (B, D) float, log(mean of σ(l)) − log(mean of σ(−l)).

    >>> pool_logits(torch.tensor([[[0.0], [100.0]]]), torch.tensor([[True, True]])).sigmoid()
    tensor([[0.7500]])
    """
    hidden = ~shown.unsqueeze(-1)
    high, low = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    return high.masked_fill(hidden, -torch.inf).logsumexp(1) - low.masked_fill(hidden, -torch.inf).logsumexp(1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of Bernoulli distributions, H(mean of the probabilities) − mean of H.

    Args:
        first: (B, P, D) float, logits.
        second: (B, P, D) float, logits.

    Returns:
        (B, P, D) float in nats, from 0 to log 2.

    >>> jensen_shannon(torch.tensor([[[-99.0, 1.0]]]), torch.tensor([[[99.0, 1.0]]])).abs()
    tensor([[[0.6931, 0.0000]]])
    """
    both = torch.stack([first, second]).flatten(1, -2).movedim(0, 1)
    shown = torch.ones(both.shape[:2], dtype=torch.bool, device=both.device)
    mean = pool_logits(both, shown).view(first.shape)
    return _entropy(mean) - (_entropy(first) + _entropy(second)) / 2


def ranking(attention: Tensor, side: SideHeads, label: Tensor, label_mask: Tensor) -> Tensor:
    """Mean of max(0, MARGIN − (α_better − α_worse)) over tasks with a known label and pairs of shown tokens.

    The better token of a pair is the one whose own head has the smaller cross-entropy, without a gradient.

    Args:
        attention: (B, T, H) float.
        side: heads of the H tokens.
        label: (B, T) float, 0 or 1; undefined where unknown.
        label_mask: (B, T) bool, True = known.

    Returns:
        Scalar; pairs of equal cross-entropy are left out.
    """
    known = torch.where(label_mask, label, 0.0).unsqueeze(1).expand_as(side.logits)
    each = functional.binary_cross_entropy_with_logits(side.logits.detach(), known, reduction="none").movedim(1, -1)
    first, second, both = pairs(side.shown)
    better = (each[..., second] - each[..., first]).sign()
    short = functional.relu(MARGIN - better * (attention[..., first] - attention[..., second]))
    return masked_mean(short, both.unsqueeze(1) & label_mask.unsqueeze(-1) & (better != 0))


def _entropy(logits: Tensor) -> Tensor:
    """Entropy of Bernoulli distributions in nats."""
    return functional.softplus(logits) - logits * torch.sigmoid(logits)
