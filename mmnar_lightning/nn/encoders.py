"""Encoders: a modality's input becomes an encoding of width D."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.nn.mlp import projection


class ArrayEncoder(nn.Module):
    """A vector of a modality (a table or a frozen embedding) -> encoding (B, D).

    Ends in LayerNorm, so that what is to be reconstructed has a scale.

    Args:
        width: floats a row.
        dim: D.
        dropout: inside the projection.
    """

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.project = projection(width, dim, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, values: Tensor) -> Tensor:
        """(B, width) float -> (B, D) float."""
        encoding: Tensor = self.norm(self.project(values))
        return encoding


class Encoders(nn.Module):
    """One encoder a modality, in the order of the pattern's bits.

    What stands in an absent input never matters: it is replaced by zero before the encoder (so that NaN cannot
    pass) and the encoding of an absent modality is zero.

    Args:
        modalities: M modalities of array kinds.
        dim: D.
        dropout: inside the projections.
    """

    def __init__(self, modalities: Sequence[Modality], dim: int, dropout: float) -> None:
        super().__init__()
        assert all(modality.kind in ARRAY_KINDS for modality in modalities)
        self.encoders = nn.ModuleDict(
            {f"{modality.name}_encoder": ArrayEncoder(modality.width, dim, dropout) for modality in modalities}
        )
        self.names = [modality.name for modality in modalities]

    def forward(self, batch: Batch) -> Tensor:
        """The encodings of a batch, (B, M, D) float."""
        encodings = []
        for position, (name, encoder) in enumerate(zip(self.names, self.encoders.values(), strict=True)):
            present = batch.present[:, position, None]
            given = batch.inputs[name]
            assert isinstance(given, Tensor)
            values = torch.where(present, given, 0.0)
            encodings.append(torch.where(present, encoder(values), 0.0))
        return torch.stack(encodings, dim=1)
