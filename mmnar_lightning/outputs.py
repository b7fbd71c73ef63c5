"""What a model gives back for a batch."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ModelOutputs:
    """Outputs of a model.

    Attributes:
        logits: (B, T) float, before the sigmoid.
        representation: (B, D) float, the fused representation.
        encodings: (B, M, D) float, one encoding a modality; zero where absent.
        terms: extra loss terms by name, each a scalar.
    """

    logits: Tensor
    representation: Tensor
    encodings: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
