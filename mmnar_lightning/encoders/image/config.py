"""Settings of the image encoder, `embed.image.*`."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, expand_paths, path_setting, read_when
from mmnar_lightning.encoders.backbone_config import BackboneConfig

OTHERS = "*"
"""In `views`: every view not listed there, and images without a view."""
RANDOM, PRETRAINED = "none", "pretrained"
"""In `weights`: random initialisation, and the weights that timm publishes for the model."""


@dataclass(kw_only=True)
class ImageConfig(BackboneConfig):
    """The image encoder and the images of each row."""

    group = "embed.image"

    encoder: Literal["none", "release", "vectors", "timm", "small"] = "none"
    """none leaves images out; release reads the published image embeddings; vectors reads a file of the user's; timm
    runs a model of that library; small trains a small network from scratch."""
    model: str = field(default="", metadata=read_when(".encoder = timm"))
    """timm: name of the model, for example densenet121."""
    weights: str = field(default="", metadata=read_when(".encoder = timm") | path_setting())
    """timm: a local file (safetensors, or a state dict of torch.save); `pretrained`, the weights that timm publishes,
    or a hub name (owner/name@commit), both downloaded once; `none`, random initialisation, to train from scratch."""
    views: list[str] = field(default_factory=lambda: ["AP", "PA"], metadata=read_when(".encoder != none"))
    """View positions that are read, in order of preference; '*' stands for all others."""
    colour: bool = field(default=False, metadata=read_when(".encoder = timm"))
    """timm: read images in colour; grey images, such as chest radiographs, take a third of the space."""
    max_images: int = field(default=4, metadata=read_when(".encoder != none"))
    """Maximum number of images of a row: the preferred views first, then the latest."""
    lr_scale: float = field(default=1.0, metadata=read_when(".encoder = small or .encoder = timm and .mode = trained"))
    """trained: learning rate of the network as a multiple of optim.lr; 0.1 suits a pretrained one."""
    batch_size: int = field(default=64, metadata=read_when(".encoder = timm, small"))
    """Images per forward pass without gradients."""
    num_workers: int = field(default=4, metadata=read_when(".encoder = timm, small, release"))
    """Threads that read and decode images; 0 = the main thread only. The tensors do not depend on the number."""
    max_unreadable_share: float = field(default=0.01, metadata=read_when(".encoder != none"))
    """Share of images that may be unreadable or without a vector; above it the stage stops."""
    path: str = field(default="", metadata=read_when(".encoder = vectors") | path_setting())
    """vectors: a .parquet or .npy file as docs/text_and_images.md describes."""

    def __post_init__(self) -> None:
        """Expand `~`; reject invalid values."""
        expand_paths(self)
        check_minima(self, self.group, max_images=1, batch_size=1, num_workers=0)
        if not 0 <= self.max_unreadable_share <= 1:
            raise UserError(f"embed.image.max_unreadable_share={self.max_unreadable_share} must be between 0 and 1")
        if not self.views or len(set(self.views)) < len(self.views):
            raise UserError(f"embed.image.views={self.views}: expected views, each once, for example [AP,PA]")
        self.check_training()
        if self.encoder != "none":  # encoder=none alone leaves images out, whatever else is set
            self._check_source()
            self._check_mode()

    def _check_source(self) -> None:
        given = {"path": self.path, "model": self.model, "weights": self.weights}
        needed = {"vectors": ("path",), "timm": ("model", "weights")}.get(self.encoder, ())
        for key in needed:
            if not given[key]:
                raise UserError(f"embed.image.{key} is empty, but embed.image.encoder={self.encoder} needs it")

    def _check_mode(self) -> None:
        if self.encoder in ("release", "vectors") and self.trained:
            raise UserError(f"embed.image.mode=trained: encoder={self.encoder} has no network to train; use frozen")
        if self.weights == RANDOM and not self.trained:
            raise UserError(
                "embed.image.weights=none: a frozen network of random weights carries no information; name a file"
            )
        if self.weights == RANDOM and self.trainable != "all":
            raise UserError(f"embed.image.trainable={self.trainable}: random weights must all be trained; use all")
