"""Settings of the text encoder, `embed.text.*`."""

from dataclasses import dataclass, field, fields
from typing import Literal

from mmnar_lightning.encoders.backbone_config import BackboneConfig

READ = {
    "hashed_ngrams": {"width"},
    "transformers": {"model", "window", "overlap", "max_windows", "batch_windows", "bf16"},
    "small": {"window", "max_windows", "batch_windows", "bf16", "lr_scale", "vocabulary", "dim"},
}
"""Encoder -> settings that it reads and not every other encoder does."""
READ_TRAINED = {"lr_scale", "trainable", "top_layers", "lora_rank", "gradient_checkpointing"}
"""Settings that transformers reads as well when it is trained."""
SMALL_RATE = 30.0
"""Learning rate of the small encoder as a multiple of the model's: a batch updates few of its vectors."""


def unread(encoder: str, mode: str) -> set[str]:
    """Settings that an encoder ignores.

    Args:
        encoder: `embed.text.encoder`.
        mode: `embed.text.mode`.

    Returns:
        Names of settings.

    >>> sorted(unread("transformers", "trained"))
    ['dim', 'vocabulary', 'width']
    """
    if encoder == "none":
        return set()
    learns = READ_TRAINED if encoder == "transformers" and mode == "trained" else set()
    return set.union(*READ.values(), READ_TRAINED) - READ[encoder] - learns


@dataclass(kw_only=True)
class TextConfig(BackboneConfig):
    """The text encoder and how texts are cut into windows and pooled."""

    group = "embed.text"
    max_lr_scale = 100.0

    encoder: Literal["none", "hashed_ngrams", "transformers", "small"] = "none"
    """none leaves texts out; hashed_ngrams counts words and pairs of words; transformers is a pretrained model; small
    trains a small network from scratch."""
    model: str = "emilyalsentzer/Bio_ClinicalBERT"
    """transformers: a local folder, or a name on the Hugging Face hub."""
    window: int = 512
    """Tokens of a window, special tokens included; longer texts are cut into several windows."""
    overlap: int = 64
    """Tokens that consecutive windows share."""
    max_windows: int = 0
    """Number of windows of a text that are kept, from its beginning; 0 keeps all."""
    sections: list[str] = field(default_factory=list)
    """Headings of the sections that are kept of a text (Brief Hospital Course); empty keeps the whole text."""
    batch_windows: int = 32
    """Windows per forward pass of the encoder."""
    lr_scale: float | None = None
    """trained: learning rate of the encoder as a multiple of optim.lr; null is 1, and 30 for small; 0.1 suits a
    pretrained one."""
    width: int = 1024
    """hashed_ngrams: width of a text's vector."""
    vocabulary: int = 16384
    """small: size of the hash tables of words and of pairs of words."""
    dim: int = 64
    """small: width of a word's vector and of a pair's."""

    def __post_init__(self) -> None:
        """Reject invalid values and settings that would be ignored."""
        windows = {"window": 8, "overlap": 0, "max_windows": 0, "batch_windows": 1}
        self.check_minima({**windows, "width": 16, "vocabulary": 16, "dim": 4})
        if self.encoder != "small" and self.overlap > self.window // 2:
            raise ValueError(
                f"embed.text.overlap={self.overlap} must be at most half of embed.text.window={self.window}"
            )
        self.check_training()
        if self.encoder == "hashed_ngrams" and self.mode == "trained":
            raise ValueError("embed.text.mode=trained: embed.text.encoder=hashed_ngrams has nothing to train")
        if self.encoder == "hashed_ngrams" and self.pooling == "attention":
            raise ValueError(
                "embed.text.pooling=attention: embed.text.encoder=hashed_ngrams joins the texts of a row before it "
                "counts words; use mean"
            )
        if any(not name.strip() for name in self.sections):
            raise ValueError("embed.text.sections: a heading must not be empty")
        self._reject_unread()

    def _reject_unread(self) -> None:
        ignored = unread(self.encoder, self.mode)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ignored and value != entry.default:
                raise ValueError(
                    f"embed.text.{entry.name}={value} is not read by embed.text.encoder={self.encoder}, "
                    f"embed.text.mode={self.mode}; leave it out"
                )

    @property
    def rate(self) -> float:
        """Learning rate of the encoder as a multiple of the model's."""
        return SMALL_RATE if self.lr_scale is None and self.encoder == "small" else super().rate
