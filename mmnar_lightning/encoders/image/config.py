"""How images become vectors: the settings `embed.image.*`."""

from dataclasses import dataclass, field
from typing import Literal

OTHERS = "*"
"""In `views`: every view that is not named there, and images without one."""
RANDOM, PRETRAINED = "none", "pretrained"
"""In `weights`: freshly drawn, and timm's own of that model."""


@dataclass(kw_only=True)
class ImageConfig:
    """How images become vectors."""

    encoder: Literal["none", "release", "vectors", "timm", "small"] = "none"
    """none leaves images out; release reads the published image embeddings; vectors reads a file of one's own; timm
    runs a model of that library; small trains a small network from scratch."""
    mode: Literal["auto", "frozen", "trained"] = "auto"
    """frozen: every image is encoded once; trained: the network learns with the model; auto: trained for small, else
    frozen."""
    model: str = ""
    """timm: name of the model, for example densenet121."""
    weights: str = ""
    """timm: a local file (safetensors, or a state dict of torch.save); `pretrained`, timm's own, or a hub name
    (owner/name), both fetched once; `none`, random ones, to train from scratch."""
    views: list[str] = field(default_factory=lambda: ["AP", "PA"])
    """View positions that are read, the preferred first; '*' stands for all others."""
    colour: bool = False
    """timm: read pictures in colour; grey ones, as chest radiographs are, take a third of the room."""
    max_images: int = 4
    """Most images of a row: those of the preferred views, and of these the latest."""
    pooling: Literal["mean", "attention"] = "mean"
    """How several images of a row become one vector: their mean, or a learned attention."""
    trainable: Literal["all", "top_k", "lora"] = "all"
    """timm, trained: the whole network, its last `top_layers` layers, or low-rank updates (needs peft)."""
    top_layers: int = 2
    """Layers that trainable=top_k trains, as timm counts them."""
    lora_rank: int = 8
    """Rank of the updates of trainable=lora."""
    lr_scale: float = 1.0
    """trained: learning rate of the network as a share of optim.lr; 0.1 suits a pretrained one."""
    gradient_checkpointing: bool = False
    """timm, trained: compute activations again in the backward pass, which takes time and saves memory."""
    bf16: bool = False
    """Run the network in bfloat16."""
    batch_size: int = 64
    """Images that the network reads at once where it does not learn."""
    num_workers: int = 4
    """Threads that read and decode images; 0 = none beside the main one. The tensors are the same with any number."""
    max_unreadable_share: float = 0.01
    """Share of images that may be unreadable, or without a vector; with more, the stage stops."""
    path: str = ""
    """vectors: a .parquet or .npy file as docs/text_and_images.md describes."""

    @property
    def trained(self) -> bool:
        """Whether the network sits in the model and learns with it."""
        return self.mode == "trained" or self.encoder == "small"

    def __post_init__(self) -> None:
        """Refuse nonsense, and what would be ignored."""
        for key in ("max_images", "top_layers", "lora_rank", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"embed.image.{key}={getattr(self, key)} must be at least 1")
        if self.num_workers < 0:
            raise ValueError(f"embed.image.num_workers={self.num_workers} must be at least 0")
        if not 0 <= self.max_unreadable_share <= 1:
            raise ValueError(f"embed.image.max_unreadable_share={self.max_unreadable_share} must be between 0 and 1")
        if not 0 < self.lr_scale <= 1:
            raise ValueError(f"embed.image.lr_scale={self.lr_scale} must be above 0 and at most 1")
        if not self.views or len(set(self.views)) < len(self.views):
            raise ValueError(f"embed.image.views={self.views}: expected views, each once, for example [AP,PA]")
        if self.encoder != "none":  # so that images are left out with one word, whatever else was set
            self._check_source()
            self._check_mode()

    def _check_source(self) -> None:
        given = {"path": self.path, "model": self.model, "weights": self.weights}
        needed = {"vectors": ("path",), "timm": ("model", "weights")}.get(self.encoder, ())
        for key, value in given.items():
            if key in needed and not value:
                raise ValueError(f"embed.image.{key} is empty, but embed.image.encoder={self.encoder} needs it")
            if key not in needed and value:
                raise ValueError(f"embed.image.{key}={value} has no meaning for embed.image.encoder={self.encoder}")

        if self.colour and self.encoder != "timm":
            raise ValueError(f"embed.image.colour=true has no meaning for embed.image.encoder={self.encoder}")

    def _check_mode(self) -> None:
        if self.encoder in ("release", "vectors") and self.trained:
            raise ValueError(f"embed.image.mode=trained: encoder={self.encoder} has no network to train; use frozen")
        if self.encoder == "small" and self.mode == "frozen":
            raise ValueError("embed.image.mode=frozen: encoder=small knows nothing before it is trained; use trained")
        if self.weights == RANDOM and not self.trained:
            raise ValueError("embed.image.weights=none: a frozen network of random weights says nothing; name a file")
        if not (self.encoder == "timm" and self.trained):
            for key in ("trainable", "gradient_checkpointing"):
                if getattr(self, key) not in ("all", False):
                    raise ValueError(
                        f"embed.image.{key}={getattr(self, key)} belongs to a trained timm model, "
                        f"not to encoder={self.encoder}, mode={self.mode}"
                    )
        if self.weights == RANDOM and self.trainable != "all":
            raise ValueError(f"embed.image.trainable={self.trainable}: random weights must all be trained; use all")
