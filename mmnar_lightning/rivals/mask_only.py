"""Presence alone: how much of an outcome is told by what was recorded, whatever was written in it."""

from dataclasses import dataclass

from torch import nn

from data_modules.batch import Batch
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs
from mmnar_lightning.rivals.problem import Problem, prior_head


@dataclass(kw_only=True)
class MaskOnlyConfig:
    """A network on presence alone."""

    dim: int = 32
    """Width of its hidden layers."""
    dropout: float = 0.1
    """Probability of dropping a hidden unit."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.dim < 1:
            raise ValueError(f"rival.mask_only.dim={self.dim} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"rival.mask_only.dropout={self.dropout} must be in [0, 1)")


class MaskOnly(nn.Module):
    """MLP(present); the inputs are never read.

    Args:
        problem: modalities, prior.
        config: sizes.
    """

    def __init__(self, problem: Problem, config: MaskOnlyConfig) -> None:
        super().__init__()
        self.hidden = nn.Sequential(projection(len(problem.modalities), config.dim, config.dropout), nn.GELU())
        self.head = prior_head(config.dim, problem.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; the encoding of a modality is its presence."""
        present = batch.present.to(self.head.weight)
        hidden = self.hidden(present)
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=present.unsqueeze(-1))
