"""Settings of the model."""

import math
from dataclasses import dataclass, field
from typing import Literal

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
    """Number of principal components, fitted on train rows, that vectors are reduced to; 0 = no reduction. Tables are
    never reduced."""
    bins: int = 0
    """Most bins of a table's column in the piecewise-linear encoding, of equal mass among train rows, with a flag for
    values not measured; 0 = standardised values, the mean where not measured."""

    def __post_init__(self) -> None:
        """Reject negative numbers."""
        check_minima(self, "model.encoder", components=0, bins=0)


@dataclass(kw_only=True)
class LeaveOneOutConfig:
    """Hiding of modalities for the auxiliary terms."""

    sampled: int = field(
        default=1,
        metadata=read_when("objective.reconstruction > 0 or objective.contrast > 0 or objective.assignment > 0"),
    )
    """Number of present modalities hidden from each row in a step, drawn at random; 0 hides each in turn."""

    def __post_init__(self) -> None:
        """Reject a negative number."""
        check_minima(self, "model.loo", sampled=0)


@dataclass(kw_only=True)
class AdditiveConfig:
    """A linear head on the inputs, added to the heads on the representation."""

    inverse_penalties: list[float] = field(default_factory=list)
    """C of the logistic regression that initialises it; of several, held-out rows choose one per task by log-loss. An
    empty list leaves the head out."""
    slopes: Literal["shared", "presence", "pattern"] = field(
        default="shared", metadata=read_when(".inverse_penalties is set or baseline.name = logistic_regression")
    )
    """Slopes of the inputs: `shared`; with a deviation for each present modality; or with one for each pattern."""
    deviations: list[float] = field(
        default_factory=lambda: [0.0, 0.03, 0.3],
        metadata=read_when(
            ".slopes != shared and .inverse_penalties is set or "
            ".slopes != shared and baseline.name = logistic_regression"
        ),
    )
    """Variances of the deviations of slopes, relative to that of the shared slopes (a second penalty; 0 = none); of
    several, held-out rows choose one per task by log-loss."""

    curves: list[float] = field(
        default_factory=lambda: [0.0, 1.0],
        metadata=read_when(
            "model.encoder.bins > 0 and .inverse_penalties is set or "
            "model.encoder.bins > 0 and baseline.name = logistic_regression, pattern_submodels, modality_stack"
        ),
    )
    """Variances of the weights of a table's bins, relative to that of the slopes of its columns (0 = straight lines);
    of several, held-out rows choose one per task by log-loss."""

    canonical: int = field(
        default=0, metadata=read_when(".inverse_penalties is set or baseline.name = logistic_regression")
    )
    """Number of canonical axes of each modality, those that the other modalities predict best, which the head reads
    beside the inputs; found without labels on train rows and, for the model, on those of pre-training. 0 = none."""
    shares: list[float] = field(
        default_factory=lambda: [0.0, 0.5, 1.0],
        metadata=read_when(
            ".canonical > 0 and .inverse_penalties is set or .canonical > 0 and baseline.name = logistic_regression"
        ),
    )
    """Shares of the prior variance that the canonical axes have, from 0 to 1, where the inputs have the rest; of
    several, held-out rows choose one per task by log-loss."""

    strengths: list[float] = field(
        default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0],
        metadata=read_when(".inverse_penalties is set and baseline.name = none"),
    )
    """How much the network may count beside the head, from 0 to 1; of several, the rows that chose the epoch choose one
    for all tasks by their mean loss."""

    def __post_init__(self) -> None:
        """Reject values that are no penalty, shares and strengths outside of [0, 1], and negative numbers."""
        if not all(0 < value < math.inf for value in self.inverse_penalties):
            raise UserError(
                f"model.additive.inverse_penalties={self.inverse_penalties} must be numbers above 0; an empty list "
                "leaves the head out"
            )
        for name in ("deviations", "curves"):
            values = getattr(self, name)
            if not values or not all(0 <= value < math.inf for value in values):
                raise UserError(f"model.additive.{name}={values} must be one or more numbers of at least 0")
        for name in ("shares", "strengths"):
            values = getattr(self, name)
            if not values or not all(0 <= value <= 1 for value in values):
                raise UserError(f"model.additive.{name}={values} must be one or more numbers from 0 to 1")
        check_minima(self, "model.additive", canonical=0)


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
    heads: Literal["own", "shared"] = "own"
    """A small network for each task, or one for all of them: many tasks have rare ones, which learn from the others."""
    modality_dropout: float = 0.0
    """Probability of dropping a present modality in training, never the last one; 0 in the paper's model."""

    def __post_init__(self) -> None:
        """Reject an invalid probability."""
        if not 0 <= self.modality_dropout < 1:
            raise UserError(f"model.modality_dropout={self.modality_dropout} must be in [0, 1)")
