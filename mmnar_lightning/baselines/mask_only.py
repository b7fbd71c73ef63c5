"""Presence alone: the share of an outcome that presence predicts, whatever the content of the record."""

from torch import nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DIM = 32
"""Width of the hidden layer."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit."""


class MaskOnly(nn.Module):
    """MLP(present); the inputs are never read.

    Args:
        inputs: modalities, prior.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        self.hidden = nn.Sequential(projection(len(inputs.modalities), DIM, DROPOUT), nn.GELU())
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; the encoding of a modality is its presence."""
        present = batch.present.to(self.head.weight)
        hidden = self.hidden(present)
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=present.unsqueeze(-1))
