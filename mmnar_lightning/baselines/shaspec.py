"""ShaSpec: features that all modalities share, and features of each alone; absent ones are filled from the shared."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import ShaSpecConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.late_fusion import DIM
from mmnar_lightning.baselines.terms import each, masked_mean, masked_row_mean, pairs
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DROPOUT = 0.1
"""Probability of dropping a hidden unit."""


class ShaSpec(nn.Module):
    """f_m = s_m + W [s_m, p_m], and the mean of the present s where m is absent; logit = head([f_1, ..., f_M]).

    s_m = S(e_m) with one network S for all modalities, p_m = P_m(e_m) with one for each. In training the s of a row
    are drawn together, and a classifier predicts m from p_m.

    Source: Wang and others, Multi-modal learning with missing modality via shared-specific feature modelling, CVPR
    2023.

    Args:
        inputs: modalities, prior.
        config: weights of the terms.
    """

    def __init__(self, inputs: BaselineInputs, config: ShaSpecConfig) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.config = config
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.shared = projection(DIM, DIM, DROPOUT)
        self.specific = nn.ModuleList(projection(DIM, DIM, DROPOUT) for _ in range(count))
        self.join = nn.Linear(2 * DIM, DIM)
        self.classifier = nn.Linear(DIM, count)
        self.head = prior_head(count * DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training also the terms `alignment` and `modality`."""
        encodings, present = self.encoders(batch), batch.present
        shared = self.shared(encodings)
        specific = each(self.specific, encodings)
        fused = shared + self.join(torch.cat([shared, specific], dim=-1))
        filled = masked_row_mean(shared, present).unsqueeze(1)
        representation = torch.where(present.unsqueeze(-1), fused, filled).flatten(1)
        return ModelOutputs(
            logits=self.head(representation),
            representation=representation,
            encodings=encodings,
            terms=self._terms(shared, specific, present),
        )

    def _terms(self, shared: Tensor, specific: Tensor, present: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return {}
        first, second, both = pairs(present)
        distance = (shared[:, first] - shared[:, second]).abs().mean(-1)
        truth = torch.arange(present.shape[1], device=present.device).expand(present.shape)
        mistaken = functional.cross_entropy(self.classifier(specific).movedim(-1, 1), truth, reduction="none")
        return {
            "alignment": self.config.alignment * masked_mean(distance, both),
            "modality": self.config.modality * masked_mean(mistaken, present),
        }
