"""Encoders: a modality's input becomes an encoding of width D."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.nn.mlp import projection


@dataclass(kw_only=True)
class EncoderConfig:
    """What an encoder reads."""

    components: int = 0
    """Principal components of its train rows that a modality is reduced to before anything is learnt; 0 = none."""

    def __post_init__(self) -> None:
        """Refuse a negative number."""
        if self.components < 0:
            raise ValueError(f"model.encoder.components={self.components} must be at least 0 (0 = every column)")


class ArrayEncoder(nn.Module):
    """A vector of a modality (a table or a frozen embedding) -> encoding (B, D).

    Ends in LayerNorm, so that what is to be reconstructed has a scale.

    Args:
        width: floats a row.
        dim: D.
        dropout: inside the projection.
        axes: (width, K) float, what the vector is projected on first; None reads every column.
    """

    axes: Tensor | None

    def __init__(self, width: int, dim: int, dropout: float, axes: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("axes", axes)
        self.project = projection(width if axes is None else axes.shape[1], dim, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, values: Tensor) -> Tensor:
        """(B, width) float -> (B, D) float."""
        reduced = values if self.axes is None else values @ self.axes
        encoding: Tensor = self.norm(self.project(reduced))
        return encoding


class Encoders(nn.Module):
    """One encoder a modality, in the order of the pattern's bits.

    What stands in an absent input never matters: it is replaced by zero before the encoder (so that NaN cannot
    pass) and the encoding of an absent modality is zero.

    Args:
        modalities: M modalities of array kinds.
        dim: D.
        dropout: inside the projections.
        axes: modality -> (width, K) float, what its vectors are projected on first.
    """

    def __init__(
        self, modalities: Sequence[Modality], dim: int, dropout: float, axes: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        assert all(modality.kind in ARRAY_KINDS for modality in modalities)
        reduced = axes or {}
        self.encoders = nn.ModuleDict(
            {
                f"{modality.name}_encoder": ArrayEncoder(modality.width, dim, dropout, reduced.get(modality.name))
                for modality in modalities
            }
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
