"""Presence alone: how much of an outcome is told by what was recorded, whatever was written in it."""

from torch import nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import Problem, prior_head
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DIM = 32
"""Width of the hidden layer."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit."""


class MaskOnly(nn.Module):
    """MLP(present); the inputs are never read.

    Args:
        problem: modalities, prior.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.hidden = nn.Sequential(projection(len(problem.modalities), DIM, DROPOUT), nn.GELU())
        self.head = prior_head(DIM, problem.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; the encoding of a modality is its presence."""
        present = batch.present.to(self.head.weight)
        hidden = self.hidden(present)
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=present.unsqueeze(-1))
