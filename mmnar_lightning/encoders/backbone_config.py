"""Settings that the text and the image encoder share: `embed.text.*` and `embed.image.*`."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, read_when


@dataclass(kw_only=True)
class BackboneConfig:
    """An encoder that is frozen or trained with the model.

    `group` prefixes the keys in errors; `max_lr_scale` bounds `lr_scale`.
    """

    group = "embed"
    max_lr_scale = 1.0

    encoder: str = "none"
    """Kind of encoder; none leaves the modality out."""
    mode: Literal["auto", "frozen", "trained"] = field(default="auto", metadata=read_when(".encoder != none"))
    """frozen: each item is encoded once; trained: the encoder is trained with the model; auto: trained for small, else
    frozen."""
    model: str = ""
    """Name of the pretrained model."""
    pooling: Literal["mean", "attention"] = field(default="mean", metadata=read_when(".encoder != none"))
    """How several items of a row become one vector: their mean, or learned attention."""
    trainable: Literal["all", "top_k", "lora"] = field(
        default="all", metadata=read_when(".encoder = transformers, timm and .mode = trained")
    )
    """trained, pretrained model: train the whole model, its last `top_layers` layers, or low-rank updates (needs
    peft)."""
    top_layers: int = field(
        default=2, metadata=read_when(".encoder = transformers, timm and .mode = trained and .trainable = top_k")
    )
    """trainable=top_k: number of last layers that are trained."""
    lr_scale: float | None = None
    """trained: learning rate as a multiple of optim.lr; null is the encoder's default."""
    gradient_checkpointing: bool = field(
        default=False, metadata=read_when(".encoder = transformers, timm and .mode = trained")
    )
    """trained, pretrained model: recompute activations in the backward pass, which saves memory and takes time."""
    bf16: bool = field(default=False, metadata=read_when(".encoder = transformers, timm, small"))
    """Run the encoder in bfloat16."""

    @property
    def trained(self) -> bool:
        """Whether the encoder is part of the model and trained with it."""
        return self.mode == "trained" or self.encoder == "small"

    @property
    def rate(self) -> float:
        """Learning rate of the encoder as a multiple of the model's."""
        return 1.0 if self.lr_scale is None else self.lr_scale

    def check_training(self) -> None:
        """Reject no layers, a learning rate out of range, and a small encoder that is not trained.

        Raises:
            UserError: naming the setting.
        """
        check_minima(self, self.group, top_layers=1)
        if self.lr_scale is not None and not 0 < self.lr_scale <= self.max_lr_scale:
            raise UserError(f"{self.group}.lr_scale={self.lr_scale} must be above 0 and at most {self.max_lr_scale:g}")
        if self.encoder == "small" and self.mode == "frozen":
            raise UserError(
                f"{self.group}.mode=frozen: {self.group}.encoder=small has random weights until it is trained; "
                f"use {self.group}.mode=trained"
            )
