"""Settings of the model."""

from dataclasses import dataclass, field

from data_modules.errors import UserError
from data_modules.settings import check_minima, read_when


@dataclass(kw_only=True)
class FusionConfig:
    """Width and depth of the fusion."""

    dim: int = 128
    """D, the width of encodings and of the representation."""
    num_heads: int = 8
    """Attention heads; they share the width."""
    num_blocks: int = 1
    """Self-attention blocks over the modality tokens."""
    dropout: float = 0.1
    """Probability of dropping a hidden unit in projections."""
    conditioned: bool = True
    """Condition gates and representation on the missingness pattern; false is an ablation."""

    def __post_init__(self) -> None:
        """Reject invalid and inconsistent values."""
        check_minima(self, "model.fusion", dim=1, num_heads=1, num_blocks=1)
        if self.dim % self.num_heads:
            raise UserError(f"model.fusion.num_heads={self.num_heads} does not divide model.fusion.dim={self.dim}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.fusion.dropout={self.dropout} must be in [0, 1)")


@dataclass(kw_only=True)
class EncoderConfig:
    """Inputs of the encoders."""

    components: int = 0
    """Number of principal components, fitted on train rows, that a modality is reduced to; 0 = no reduction."""

    def __post_init__(self) -> None:
        """Reject a negative number."""
        check_minima(self, "model.encoder", components=0)


@dataclass(kw_only=True)
class LeaveOneOutConfig:
    """Hiding of modalities for the auxiliary terms."""

    sampled: int = field(
        default=0,
        metadata=read_when("objective.reconstruction > 0 or objective.contrast > 0 or objective.assignment > 0"),
    )
    """Number of present modalities hidden from each row in a step, drawn at random; 0 hides each in turn."""

    def __post_init__(self) -> None:
        """Reject a negative number."""
        check_minima(self, "model.loo", sampled=0)


@dataclass(kw_only=True)
class AdditiveConfig:
    """A linear head on the inputs, added to the heads on the representation."""

    inverse_penalty: float = 0.0
    """C of the logistic regression on the train rows that initialises it; 0 leaves the head out."""

    def __post_init__(self) -> None:
        """Reject a negative number."""
        check_minima(self, "model.additive", inverse_penalty=0)


@dataclass(kw_only=True)
class ModelConfig:
    """Settings of the model."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Inputs of the encoders."""
    fusion: FusionConfig = field(default_factory=FusionConfig)
    """Width, heads, blocks, dropout."""
    loo: LeaveOneOutConfig = field(default_factory=LeaveOneOutConfig)
    """Leave-one-out fusions."""
    additive: AdditiveConfig = field(default_factory=AdditiveConfig)
    """Additive head."""
    modality_dropout: float = 0.0
    """Probability of dropping a present modality in training, never the last one; 0 in the paper's model."""

    def __post_init__(self) -> None:
        """Reject an invalid probability."""
        if not 0 <= self.modality_dropout < 1:
            raise UserError(f"model.modality_dropout={self.modality_dropout} must be in [0, 1)")
