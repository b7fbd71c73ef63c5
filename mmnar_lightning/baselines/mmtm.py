"""Multimodal transfer modules: each branch scales its channels by what all branches found."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.late_fusion import DIM
from mmnar_lightning.baselines.terms import each, masked_row_mean
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DROPOUT = 0.1
"""Probability of dropping a hidden unit."""
NUM_STAGES = 2
"""Depths of the branches at which they exchange."""
SQUEEZED = 4
"""The joint representation has this many times fewer channels than all branches together."""


class Stage(nn.Module):
    """A transfer module, then a layer of each branch, ã_m + MLP_m(ã_m).

    z = ReLU(W [a_1, ..., a_M] + b), zeros where absent; ã_m = 2 σ(W_m z + b_m) ⊙ a_m.

    Args:
        count: M.
        dim: D, channels of a branch.
    """

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        squeezed = count * dim // SQUEEZED
        self.squeeze = nn.Sequential(nn.Linear(count * dim, squeezed), nn.ReLU())
        self.excite = nn.Linear(squeezed, count * dim)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), projection(dim, dim, DROPOUT)) for _ in range(count)
        )

    def forward(self, branches: Tensor, present: Tensor) -> Tensor:
        """(B, M, D) float and (B, M) bool -> (B, M, D) float; what absent branches hold depends on no input."""
        shown = torch.where(present.unsqueeze(-1), branches, 0.0)
        gates = self.excite(self.squeeze(shown.flatten(1))).view(shown.shape)
        moved = 2 * torch.sigmoid(gates) * shown
        return moved + each(self.layers, moved)


class MMTM(nn.Module):
    """Branches with transfer modules between them; logit = mean of the heads of the present branches.

    A row without any modality gets a learned constant, which starts at the logit of the training prior.

    Source: Joze and others, MMTM: Multimodal transfer module for CNN fusion, CVPR 2020.

    Args:
        inputs: modalities, prior.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.stages = nn.ModuleList(Stage(count, DIM) for _ in range(NUM_STAGES))
        self.heads = nn.ModuleList(prior_head(DIM, inputs.prior) for _ in range(count))
        self.empty = nn.Parameter(inputs.prior.clone())

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings, present = self.encoders(batch), batch.present
        branches = encodings
        for stage in self.stages:
            branches = stage(branches, present)
        some = present.any(1, keepdim=True)
        return ModelOutputs(
            logits=torch.where(some, masked_row_mean(each(self.heads, branches), present), self.empty),
            representation=masked_row_mean(branches, present),
            encodings=encodings,
        )
