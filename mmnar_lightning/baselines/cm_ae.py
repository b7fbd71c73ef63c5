"""Cross-modal autoencoder: one bottleneck of all present modalities, from which each of them is decoded."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import CrossModalAutoencoderConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.late_fusion import DIM
from mmnar_lightning.baselines.terms import masked_mean
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.hiding import drop
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DROPOUT = 0.1
"""Probability of dropping a hidden unit."""


class CrossModalAutoencoder(nn.Module):
    """b = MLP([e_1, ..., e_M]), zeros where absent; ê_m = G_m(b); logit = head(b).

    In training some present modalities of a row are blanked before the bottleneck, never the last one, and all that are
    present are decoded: ‖ê_m − stopgrad(e_m)‖² / D. Without the stop-gradient the encodings collapse.

    Source: Ngiam and others, Multimodal deep learning, ICML 2011, adapted.

    Args:
        inputs: modalities, prior.
        config: weight of the term, and blanking.
    """

    def __init__(self, inputs: BaselineInputs, config: CrossModalAutoencoderConfig) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.config = config
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.bottleneck = projection(count * DIM, DIM, DROPOUT)
        self.decoders = nn.ModuleList(projection(DIM, DIM, DROPOUT) for _ in range(count))
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training also the term `autoencoding`."""
        encodings, present = self.encoders(batch), batch.present
        shown = drop(present, self.config.blanking) if self.training else present
        bottleneck = self.bottleneck(torch.where(shown.unsqueeze(-1), encodings, 0.0).flatten(1))
        return ModelOutputs(
            logits=self.head(bottleneck),
            representation=bottleneck,
            encodings=encodings,
            terms=self._terms(bottleneck, encodings.detach(), present),
        )

    def _terms(self, bottleneck: Tensor, target: Tensor, present: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return {}
        decoded = torch.stack([decoder(bottleneck) for decoder in self.decoders], dim=1)
        distance = (decoded - target).square().mean(-1)
        return {"autoencoding": self.config.reconstruction * masked_mean(distance, present)}
