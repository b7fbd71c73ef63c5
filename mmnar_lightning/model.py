"""The model: encoders, fusion conditioned on the pattern, task heads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.fusion import Fusion, FusionConfig
from mmnar_lightning.nn.heads import TaskHeads
from mmnar_lightning.outputs import ModelOutputs


@dataclass(kw_only=True)
class ModelConfig:
    """The parts of the model."""

    fusion: FusionConfig = field(default_factory=FusionConfig)
    """Width, heads, blocks, dropout."""


class MMNARModel(nn.Module):
    """CRL-MMNAR's backbone for any number of modalities and tasks.

    Args:
        modalities: M modalities, in the order of the pattern's bits.
        num_tasks: T.
        config: its parts.
    """

    def __init__(self, modalities: Sequence[Modality], num_tasks: int, config: ModelConfig) -> None:
        super().__init__()
        dim, dropout = config.fusion.dim, config.fusion.dropout
        self.encoders = Encoders(modalities, dim, dropout)
        self.fusion = Fusion(len(modalities), config.fusion)
        self.heads = TaskHeads(num_tasks, dim, dropout)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Encode, fuse and predict."""
        encodings = self.encoders(batch)
        representation = self.fusion(encodings, batch.present)
        return ModelOutputs(logits=self.heads(representation), representation=representation, encodings=encodings)
