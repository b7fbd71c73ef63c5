"""Flex-MoE: a bank of learned tokens for absent modalities, and experts for patterns (Yun and others, NeurIPS 2024)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.baselines.config import NUM_EXPERTS, FlexMoEConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.terms import masked_mean, total_over_ranks
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.fusion import ColumnBlock
from mmnar_lightning.outputs import ModelOutputs

DIM = 128
"""Width of a modality's encoding and of a token."""
NUM_HEADS = 4
"""Attention heads."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit."""
BANK_SCALE = 0.02
"""Standard deviation of the bank's initial tokens."""
MOST_MODALITIES = 12
"""The bank has tokens for each of 2^M patterns."""
ROUTING_WEIGHT = 0.01
"""Weight of the term of the routers, as in the paper."""
TINY = 1e-10
"""Keeps the variation of an unused group of experts finite."""


@dataclass(frozen=True)
class Routing:
    """How a layer sent tokens to experts.

    Attributes:
        clean: (B, M, E) float, logits of the router without noise.
        gate: (B, M, E) float, the weight of each expert; 0 but for k of them.
        load: (B, M, E) float, the probability that another draw of the noise chooses the expert.
    """

    clean: Tensor
    gate: Tensor
    load: Tensor


class Experts(nn.Module):
    """E feed-forward networks; a token gets the weighted mean of the k that its router chooses.

    The choice depends on the token alone: an expert has no capacity that other rows could use up. All experts are
    computed, and those that are not chosen have the weight 0.

    Args:
        dim: D.
        top_k: k, the experts of a token.
    """

    def __init__(self, dim: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(dim, NUM_EXPERTS, bias=False)
        self.noise = nn.Linear(dim, NUM_EXPERTS, bias=False)
        self.first_weight, self.first_bias = _stacked(dim, 2 * dim)
        self.second_weight, self.second_bias = _stacked(2 * dim, dim)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Routing]:
        """(B, M, D) float -> (B, M, D) float, and how the tokens were routed."""
        clean = self.router(tokens)
        spread = functional.softplus(self.noise(tokens)) + 0.01
        noisy = clean + spread * torch.randn_like(clean) if self.training else clean + 0.0 * spread
        highest, place = noisy.topk(self.top_k + 1, dim=-1)
        chosen = torch.zeros_like(noisy, dtype=torch.bool).scatter(-1, place[..., :-1], True)
        gate = noisy.masked_fill(~chosen, -torch.inf).softmax(-1)
        rest = torch.where(chosen, highest[..., -1:], highest[..., -2:-1])  # the k-th highest of the other experts
        load = torch.special.ndtr((clean - rest) / spread)
        hidden = torch.einsum("bmd,ehd->bmeh", tokens, self.first_weight) + self.first_bias
        each = torch.einsum("bmeh,edh->bmed", functional.gelu(hidden), self.second_weight) + self.second_bias
        return (gate.unsqueeze(-1) * each).sum(2), Routing(clean, gate, load)


class ExpertBlock(ColumnBlock):
    """A pre-norm self-attention block whose feed-forward network is a mixture of experts.

    Args:
        dim: D.
        num_heads: attention heads.
        top_k: experts of a token.
    """

    def __init__(self, dim: int, num_heads: int, top_k: int) -> None:
        super().__init__(dim, num_heads)
        self.feed_forward = nn.Sequential(nn.LayerNorm(dim))
        self.experts = Experts(dim, top_k)

    def routed(self, tokens: Tensor, attended: Tensor) -> tuple[Tensor, Routing]:
        """As `forward`, with how the tokens were routed."""
        tokens = self.attend(tokens, attended)
        mixed, routing = self.experts(self.feed_forward(tokens))
        return tokens + mixed, routing


class FlexMoE(nn.Module):
    """Tokens of present modalities and of a bank, through a mixture of experts and a dense block.

    token_m = e_m where present, else bank[pattern, m], plus a token of the modality. The router of the experts is
    trained to send rows without all modalities to the expert of their pattern.

    Args:
        inputs: modalities, prior.
        config: experts of a token.

    Raises:
        UserError: if there are too many modalities for a bank of all patterns.
    """

    def __init__(self, inputs: BaselineInputs, config: FlexMoEConfig) -> None:
        super().__init__()
        count = len(inputs.modalities)
        if count > MOST_MODALITIES:
            raise UserError(
                f"flex_moe has tokens for each of 2^M patterns, but the cohort has {count} modalities; choose at most "
                f"{MOST_MODALITIES} of them by cohort.modalities"
            )
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.bank = nn.Parameter(BANK_SCALE * torch.randn(2**count, count, DIM))
        self.kind = nn.Parameter(BANK_SCALE * torch.randn(count, DIM))
        self.sparse = ExpertBlock(DIM, NUM_HEADS, config.top_k)
        self.dense = ColumnBlock(DIM, NUM_HEADS)
        self.hidden = nn.Sequential(
            nn.LayerNorm(count * DIM), nn.Linear(count * DIM, DIM), nn.GELU(), nn.Dropout(DROPOUT)
        )
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training with the term of the routers."""
        encodings = self.encoders(batch)
        tokens = torch.where(batch.present.unsqueeze(-1), encodings, self.bank[batch.pattern]) + self.kind
        every = torch.ones_like(batch.present)
        tokens, routing = self.sparse.routed(tokens, every)
        hidden = self.hidden(self.dense(tokens, every).flatten(1))
        terms = {"routing": ROUTING_WEIGHT * routing_loss(routing, batch)} if self.training else {}
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=encodings, terms=terms)


def routing_loss(routing: Routing, batch: Batch) -> Tensor:
    """Compute the term of a router over the rows of all ranks.

    CV²(importance) + CV²(load) of the experts, apart for rows with all modalities and for the others, whose first
    expert is left out; and the cross-entropy of the router with the expert of the pattern, over the others' tokens.

    Args:
        routing: of the tokens of a layer.
        batch: B rows.

    Returns:
        Scalar.
    """
    whole = batch.present.all(1)
    balance = [
        _variation(torch.where(rows[:, None, None], part, 0.0).sum((0, 1)), first)
        for rows, first in ((whole, 0), (~whole, 1))
        for part in (routing.gate, routing.load)
    ]
    target = expert_of(batch.pattern, batch.present.shape[1])
    others = (~whole).unsqueeze(1).expand_as(batch.present)
    logits = routing.clean.log_softmax(-1)
    missed = -logits.gather(-1, target[:, None, None].expand(*others.shape, 1)).squeeze(-1)
    return torch.stack(balance).sum() + masked_mean(missed, others)


def expert_of(pattern: Tensor, num_modalities: int) -> Tensor:
    """Number the expert of each pattern: 0 where all modalities are present; with more than 4 modalities some share.

    Args:
        pattern: (B,) int64, ids.
        num_modalities: M.

    Returns:
        (B,) int64.

    >>> expert_of(torch.tensor([0, 5, 15]), 4).tolist()
    [1, 6, 0]
    """
    return torch.where(pattern == 2**num_modalities - 1, 0, 1 + pattern % (NUM_EXPERTS - 1))


def _variation(own: Tensor, first: int) -> Tensor:
    """The squared coefficient of variation over the experts from `first`, of sums over all ranks, (E,) -> scalar."""
    total = total_over_ranks(own)[first:]
    return total.var(correction=0) / (total.mean().square() + TINY)


def _stacked(in_dim: int, out_dim: int) -> tuple[nn.Parameter, nn.Parameter]:
    """New weights, (E, out_dim, in_dim), and biases, (E, out_dim), of a linear layer of each expert."""
    made = [nn.Linear(in_dim, out_dim) for _ in range(NUM_EXPERTS)]
    weight, bias = ([getattr(layer, name).detach() for layer in made] for name in ("weight", "bias"))
    return nn.Parameter(torch.stack(weight)), nn.Parameter(torch.stack(bias))
