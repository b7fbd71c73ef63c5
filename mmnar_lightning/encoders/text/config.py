"""Settings of the text encoder, `embed.text.*`."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, expand_paths, path_setting, read_when
from mmnar_lightning.encoders.backbone_config import BackboneConfig

SMALL_RATE = 30.0
"""Learning rate of the small encoder as a multiple of the model's: a batch updates few of its vectors."""
SMALL_VOCABULARY = 16384
"""Size of the small encoder's hash tables of words and of pairs of words: clinical notes have fewer frequent words."""
SMALL_DIM = 64
"""Width of a word's vector, and of a pair's, of the small encoder."""
HASHED_WIDTH = 1024
"""Width of a text's vector of hashed_ngrams; `model.encoder.components` reduces it."""
OVERLAPS = 8
"""Consecutive windows share one of so many parts of a window, so that a sentence that one cuts stands in another."""


@dataclass(kw_only=True)
class TextConfig(BackboneConfig):
    """The text encoder and how texts are cut into windows and pooled."""

    group = "embed.text"
    max_lr_scale = 100.0

    encoder: Literal["none", "hashed_ngrams", "transformers", "small"] = "none"
    """none leaves texts out; hashed_ngrams counts words and pairs of words; transformers is a pretrained model; small
    trains a small network from scratch."""
    bf16: bool = field(default=False, metadata=read_when(".encoder = transformers"))
    """Run the encoder in bfloat16."""
    model: str = field(
        default="emilyalsentzer/Bio_ClinicalBERT@d5892b39a4adaed74b92212a44081509db72f87b",
        metadata=read_when(".encoder = transformers") | path_setting(),
    )
    """transformers: a local folder, or a model of the Hugging Face hub, owner/name@commit."""
    window: int = field(default=512, metadata=read_when(".encoder = transformers, small"))
    """Tokens of a window, special tokens included; longer texts are cut into several windows; those of
    transformers share an eighth of their tokens."""
    max_windows: int = field(default=0, metadata=read_when(".encoder = transformers, small"))
    """Number of windows of a text that are kept, from its beginning; 0 keeps all."""
    sections: list[str] = field(default_factory=list, metadata=read_when(".encoder != none"))
    """Headings of the sections that are kept of a text (Brief Hospital Course); empty keeps the whole text."""
    batch_windows: int = field(default=32, metadata=read_when(".encoder = transformers"))
    """Windows per forward pass of the encoder."""
    lr_scale: float | None = field(
        default=None, metadata=read_when(".encoder = small or .encoder = transformers and .mode = trained")
    )
    """trained: learning rate of the encoder as a multiple of optim.lr; null is 1, and 30 for small; 0.1 suits a
    pretrained one."""

    def __post_init__(self) -> None:
        """Expand `~`; reject invalid values."""
        expand_paths(self)
        check_minima(self, self.group, window=8, max_windows=0, batch_windows=1)
        self.check_training()
        if self.encoder == "hashed_ngrams" and self.mode == "trained":
            raise UserError("embed.text.mode=trained: embed.text.encoder=hashed_ngrams has nothing to train")
        if self.encoder == "hashed_ngrams" and self.pooling == "attention":
            raise UserError(
                "embed.text.pooling=attention: embed.text.encoder=hashed_ngrams joins the texts of a row before it "
                "counts words; use mean"
            )
        if any(not name.strip() for name in self.sections):
            raise UserError("embed.text.sections: a heading must not be empty")

    @property
    def overlap(self) -> int:
        """Tokens that consecutive windows share."""
        return self.window // OVERLAPS

    @property
    def rate(self) -> float:
        """Learning rate of the encoder as a multiple of the model's."""
        return SMALL_RATE if self.lr_scale is None and self.encoder == "small" else super().rate
