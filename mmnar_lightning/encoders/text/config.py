"""How texts become what the model reads."""

from dataclasses import dataclass, field, fields
from typing import Literal

READ = {
    "hashed_ngrams": {"width"},
    "transformers": {"model", "window", "overlap", "max_windows", "batch_windows", "bf16"},
    "small": {"window", "max_windows", "batch_windows", "bf16", "lr_scale", "vocabulary", "dim"},
}
"""Settings that not every encoder reads, by those that do."""
READ_TRAINED = {"lr_scale", "trainable", "top_layers", "lora_rank", "gradient_checkpointing"}
"""What transformers reads besides, where it learns."""
SMALL_RATE = 30.0
"""Learning rate of the small encoder as a multiple of the model's: of its vectors few learn in a batch."""


def unread(encoder: str, mode: str) -> set[str]:
    """Settings that an encoder would ignore.

    >>> sorted(unread("transformers", "trained"))
    ['dim', 'vocabulary', 'width']
    """
    if encoder == "none":
        return set()
    learns = READ_TRAINED if encoder == "transformers" and mode == "trained" else set()
    return set.union(*READ.values(), READ_TRAINED) - READ[encoder] - learns


@dataclass(kw_only=True)
class TextConfig:
    """Encoder of notes and reports, and how long or many texts are cut and joined."""

    encoder: Literal["none", "hashed_ngrams", "transformers", "small"] = "none"
    """none leaves texts out; hashed_ngrams counts words and pairs of words; transformers is a pretrained model; small
    is a little one that is trained from nothing."""
    mode: Literal["auto", "frozen", "trained"] = "auto"
    """frozen: every text is encoded once; trained: the encoder learns with the model; auto: trained for small, else
    frozen."""
    model: str = "emilyalsentzer/Bio_ClinicalBERT"
    """transformers: a local folder, or a name on the Hugging Face hub."""
    window: int = 512
    """Tokens of a window, those that the model adds included; long texts are cut into several."""
    overlap: int = 64
    """Tokens that neighbouring windows share."""
    max_windows: int = 0
    """Windows of a text that are kept, the first ones; 0 keeps all."""
    sections: list[str] = field(default_factory=list)
    """Sections that are kept of a text, by their headings (Brief Hospital Course); empty keeps the whole text."""
    pooling: Literal["mean", "attention"] = "mean"
    """How several texts of a row become one vector: their mean, or a learned attention."""
    batch_windows: int = 32
    """Windows that pass through the encoder together."""
    bf16: bool = False
    """Whether the encoder computes in bfloat16."""
    trainable: Literal["all", "top_k", "lora"] = "all"
    """trained transformers: what of it learns: everything, its last layers, or low-rank additions (needs peft)."""
    top_layers: int = 2
    """trainable=top_k: how many of the last layers learn."""
    lora_rank: int = 8
    """trainable=lora: rank of the additions."""
    gradient_checkpointing: bool = False
    """trained transformers: compute activations twice, and keep those of batch_windows windows at a time."""
    lr_scale: float | None = None
    """trained: learning rate of the encoder as a multiple of optim.lr; null is 1, and 30 for small; 0.1 suits a
    pretrained one."""
    width: int = 1024
    """hashed_ngrams: floats of a text's vector."""
    vocabulary: int = 16384
    """small: entries that words, and pairs of words, are hashed into."""
    dim: int = 64
    """small: floats of a word, and of a pair."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        least = {"window": 8, "overlap": 0, "max_windows": 0, "batch_windows": 1, "top_layers": 1, "lora_rank": 1}
        for key, lowest in {**least, "width": 16, "vocabulary": 16, "dim": 4}.items():
            if getattr(self, key) < lowest:
                raise ValueError(f"embed.text.{key}={getattr(self, key)} must be at least {lowest}")
        if self.encoder != "small" and self.overlap > self.window // 2:
            raise ValueError(
                f"embed.text.overlap={self.overlap} must be at most half of embed.text.window={self.window}"
            )
        if self.lr_scale is not None and not 0 < self.lr_scale <= 100:
            raise ValueError(f"embed.text.lr_scale={self.lr_scale} must be above 0 and at most 100")
        if self.encoder == "small" and self.mode == "frozen":
            raise ValueError("embed.text.mode=frozen: embed.text.encoder=small knows nothing before it is trained")
        if self.encoder == "hashed_ngrams" and self.mode == "trained":
            raise ValueError("embed.text.mode=trained: embed.text.encoder=hashed_ngrams has nothing to train")
        if self.encoder == "hashed_ngrams" and self.pooling == "attention":
            raise ValueError(
                "embed.text.pooling=attention: embed.text.encoder=hashed_ngrams joins the texts of a row before it "
                "counts; use mean"
            )
        if any(not name.strip() for name in self.sections):
            raise ValueError("embed.text.sections: a heading must not be empty")
        self._refuse_unread()

    def _refuse_unread(self) -> None:
        ignored = unread(self.encoder, self.mode)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ignored and value != entry.default:
                raise ValueError(
                    f"embed.text.{entry.name}={value} has no meaning for embed.text.encoder={self.encoder}, "
                    f"embed.text.mode={self.mode}; leave it out"
                )

    @property
    def trained(self) -> bool:
        """Whether the encoder sits in the model and learns with it."""
        return self.mode == "trained" or self.encoder == "small"

    @property
    def rate(self) -> float:
        """Learning rate of the encoder as a multiple of the model's."""
        if self.lr_scale is None:
            return SMALL_RATE if self.encoder == "small" else 1.0
        return self.lr_scale
