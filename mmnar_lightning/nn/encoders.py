"""Encoders: from a modality's input to an encoding of width D."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_modules.batch import Batch, Items
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.nn.inputs import InputMap, InputMaps
from mmnar_lightning.nn.item_pooling import build_pooling
from mmnar_lightning.nn.mlp import projection

LR_SCALE = "lr_scale"
"""Attribute of a parameter: its learning rate as a multiple of the model's; 1 if absent."""


class ArrayEncoder(nn.Module):
    """A vector of a modality (a table or a frozen embedding) -> encoding (B, D).

    Ends in LayerNorm, which fixes the scale of the reconstruction target.

    Args:
        width: width of the vector.
        dim: D.
        dropout: inside the projection.
        mapped: the fixed map that the vector passes first; None = none.
    """

    def __init__(self, width: int, dim: int, dropout: float, mapped: InputMap | None = None) -> None:
        super().__init__()
        self.mapped = mapped
        self.project = projection(width if mapped is None else mapped.width, dim, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, values: Tensor) -> Tensor:
        """(B, width) float -> (B, D) float."""
        read = values if self.mapped is None else self.mapped(values)
        encoding: Tensor = self.norm(self.project(read))
        return encoding


@dataclass(frozen=True)
class ItemParts:
    """Backbone and pooling for the items of a modality.

    Attributes:
        backbone: values of `Items` -> their vectors, (n, width) float; None if the items are vectors, named `vectors`.
        pooling: `mean` or `attention` over the items of a row.
        lr_scale: learning rate of the backbone as a multiple of the model's.
    """

    backbone: nn.Module | None
    pooling: str
    lr_scale: float = 1.0


class ItemEncoder(nn.Module):
    """Items of rows (documents, images or their vectors) -> encoding (B, D).

    Args:
        parts: backbone and pooling.
        width: width of an item's vector.
        dim: D.
        dropout: inside the projection.
    """

    def __init__(self, parts: ItemParts, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.backbone = parts.backbone
        self.pooling = build_pooling(parts.pooling, width)
        self.encode = ArrayEncoder(width, dim, dropout)
        for parameter in self.backbone.parameters() if self.backbone is not None else ():
            setattr(parameter, LR_SCALE, parts.lr_scale)

    def forward(self, items: Items, present: Tensor) -> Tensor:
        """Encode rows.

        Args:
            items: of the rows; items of absent rows are ignored.
            present: (B,) bool.

        Returns:
            (B, D) float.
        """
        encoding: Tensor = self.encode(torch.where(present[:, None], self.pool(items, present), 0.0))
        return encoding

    def pool(self, items: Items, present: Tensor) -> Tensor:
        """One vector per row, (B, width) float; zero for a row without items."""
        if self.backbone is None:
            vectors = items.values["vectors"]
        elif len(items.row):
            vectors = self.backbone(items.values)
        else:
            vectors = items.row.new_zeros((0, self.width), dtype=torch.float32)
        # Zeroed before the pooling: afterwards, NaN would remain in the gradient of the pooling weights.
        shown = torch.where(present[items.row, None], vectors, 0.0)
        pooled: Tensor = self.pooling(shown, items.row, len(present))
        return pooled + self._touch() if self.backbone is not None and not len(items.row) else pooled

    def _touch(self) -> Tensor:
        """A zero that depends on the backbone: every rank must have a gradient for every parameter (plain DDP)."""
        assert self.backbone is not None
        used = [parameter.flatten()[:1].sum() for parameter in self.backbone.parameters() if parameter.requires_grad]
        return 0.0 * torch.stack(used).sum() if used else torch.zeros(())


class Encoders(nn.Module):
    """One encoder per modality, in the order of the pattern's bits.

    Absent inputs are replaced by zero before the encoder, so that NaN does not propagate, and the encoding of an
    absent modality is zero.

    Args:
        modalities: M modalities; those that are not arrays need an entry in `items`.
        dim: D.
        dropout: inside the projections.
        maps: modality -> the fixed map that its vectors pass first.
        items: modality name -> backbone and pooling of its items.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        dim: int,
        dropout: float,
        maps: InputMaps | None = None,
        items: Mapping[str, ItemParts] | None = None,
    ) -> None:
        super().__init__()
        parts, fixed = items or {}, maps or {}
        assert all(modality.kind in ARRAY_KINDS or modality.name in parts for modality in modalities)
        self.encoders = nn.ModuleDict(
            {
                f"{modality.name}_encoder": ItemEncoder(parts[modality.name], modality.width, dim, dropout)
                if modality.name in parts
                else ArrayEncoder(modality.width, dim, dropout, fixed.get(modality.name))
                for modality in modalities
            }
        )
        self.names = [modality.name for modality in modalities]

    def forward(self, batch: Batch) -> Tensor:
        """The encodings of a batch, (B, M, D) float."""
        encodings = []
        for position, (name, encoder) in enumerate(zip(self.names, self.encoders.values(), strict=True)):
            present = batch.present[:, position]
            encoding = self._encode(encoder, batch.inputs[name], present)
            encodings.append(torch.where(present[:, None], encoding, 0.0))
        return torch.stack(encodings, dim=1)

    def _encode(self, encoder: nn.Module, given: Tensor | Items, present: Tensor) -> Tensor:
        if isinstance(given, Items):
            encoding: Tensor = encoder(given, present)
        else:
            encoding = encoder(torch.where(present[:, None], given, 0.0))
        return encoding
