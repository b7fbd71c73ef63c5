"""TabM: an ensemble of networks that share their weights (Gorishniy, Kotelnikov and Babenko, ICLR 2025)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import TabMConfig
from mmnar_lightning.baselines.inputs import BaselineInputs
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.outputs import ModelOutputs, SideHeads

DIM = 128
"""Width of a modality's encoding and of the hidden layers."""
NUM_MEMBERS = 32
"""Members, as in the paper."""
NUM_LAYERS = 2
"""Hidden layers."""


class SharedLinear(nn.Module):
    """A linear map of each member, whose weights all members share (BatchEnsemble; Wen, Tran and Ba, ICLR 2020).

    Member i maps x to s_i ⊙ W (r_i ⊙ x) + b_i. r and s start at 1, so that all members are equal; with `signs` r starts
    at random signs, which is what makes them differ.

    Args:
        in_dim: width of the input.
        out_dim: width of the output.
        members: k.
        signs: whether r starts at random signs, as in the first layer.
    """

    def __init__(self, in_dim: int, out_dim: int, members: int, *, signs: bool = False) -> None:
        super().__init__()
        shared = nn.Linear(in_dim, out_dim)
        self.weight = nn.Parameter(shared.weight.detach().clone())
        self.bias = nn.Parameter(shared.bias.detach().repeat(members, 1))
        drawn = torch.randint(2, (members, in_dim)) * 2.0 - 1.0
        self.before = nn.Parameter(drawn if signs else torch.ones(members, in_dim))
        self.after = nn.Parameter(torch.ones(members, out_dim))

    def forward(self, values: Tensor) -> Tensor:
        """(B, k, in_dim) float, or (B, 1, in_dim) for all members alike -> (B, k, out_dim) float."""
        return functional.linear(values * self.before, self.weight) * self.after + self.bias


class TabM(nn.Module):
    """k multilayer perceptrons with shared weights on [e_1, ..., e_M, present]; their mean probability is predicted.

    Every member is trained on its own loss alone: the prediction has no gradient, and `side` has the members' logits.

    Args:
        inputs: modalities, prior.
        config: dropout.
    """

    def __init__(self, inputs: BaselineInputs, config: TabMConfig) -> None:
        super().__init__()
        widths = [len(inputs.modalities) * (DIM + 1)] + [DIM] * NUM_LAYERS
        self.encoders = Encoders(inputs.modalities, DIM, config.dropout, inputs.maps, inputs.items)
        self.layers = nn.ModuleList(
            SharedLinear(before, after, NUM_MEMBERS, signs=place == 0)
            for place, (before, after) in enumerate(pairwise(widths))
        )
        self.dropout = nn.Dropout(config.dropout)
        bound = 1 / math.sqrt(DIM)
        self.weight = nn.Parameter(torch.empty(NUM_MEMBERS, DIM, len(inputs.prior)).uniform_(-bound, bound))
        self.bias = nn.Parameter(inputs.prior.repeat(NUM_MEMBERS, 1))

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; the representation is the mean of the members' last hidden layers."""
        encodings = self.encoders(batch)
        hidden = torch.cat([encodings.flatten(1), batch.present.to(encodings)], dim=1).unsqueeze(1)
        for layer in self.layers:
            hidden = self.dropout(functional.relu(layer(hidden)))
        logits = torch.einsum("bkd,kdt->bkt", hidden, self.weight) + self.bias
        return ModelOutputs(
            logits=mean_probability(logits.detach()),
            representation=hidden.mean(1),
            encodings=encodings,
            side=SideHeads(logits=logits, shown=torch.ones_like(logits[..., 0], dtype=torch.bool)),
        )


def mean_probability(logits: Tensor) -> Tensor:
    """Compute the logit of the mean probability of members.

    Args:
        logits: (B, k, T) float.

    Returns:
        (B, T) float.

    >>> mean_probability(torch.tensor([[[0.0], [40.0]]])).sigmoid()
    tensor([[0.7500]])
    """
    return functional.logsigmoid(logits).logsumexp(1) - functional.logsigmoid(-logits).logsumexp(1)
