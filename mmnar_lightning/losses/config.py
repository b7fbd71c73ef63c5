"""Settings of the objective."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from data_modules.errors import UserError
from data_modules.settings import check_minima, read_when

AUXILIARY = ("reconstruction", "contrast", "assignment")
"""Label-free terms."""
AUXILIARY_FLOOR = 0.1
"""Final common weight of these."""


class Weights(NamedTuple):
    """Weights of the two parts of the objective in an epoch, numbers or scalar tensors.

    Attributes:
        labelled: of the tasks and of the model's own terms.
        label_free: of the label-free terms together.
    """

    labelled: Any
    label_free: Any


@dataclass(kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms."""

    task_weights: dict[str, float] = field(default_factory=dict)
    """Task -> weight; 1 for tasks not listed."""
    task_weighting: Literal["fixed", "learned"] = "fixed"
    """`learned` also divides each task by a learned variance (homoscedastic uncertainty)."""
    focal_gamma: float = 0.0
    """Exponent of the focal loss; 0 is cross-entropy."""
    reconstruction: float = 1.0
    """Weight of the reconstruction of hidden modalities; 0 leaves it out."""
    contrast: float = 0.3
    """Weight of the contrast between encodings and reconstructions; 0 leaves it out."""
    assignment: float = 0.5
    """Weight of the prediction of presence from the other modalities; 0 leaves it out."""
    temperature: float = field(default=0.1, metadata=read_when("objective.contrast > 0"))
    """Temperature of the contrast."""
    pretrain_epochs: int = 0
    """Number of initial epochs trained with the label-free terms alone."""
    anneal_epochs: int = field(
        default=20,
        metadata=read_when("objective.reconstruction > 0 or objective.contrast > 0 or objective.assignment > 0"),
    )
    """Number of following epochs over which the weight of the label-free terms falls from 1 to 0.1."""

    def __post_init__(self) -> None:
        """Reject invalid weights and epochs."""
        for task, weight in self.task_weights.items():
            if not 0 <= weight < math.inf:
                raise UserError(f"objective.task_weights.{task}={weight} must be at least 0 and finite")
        for key in (*AUXILIARY, "focal_gamma", "pretrain_epochs"):
            if not 0 <= getattr(self, key) < math.inf:
                raise UserError(f"objective.{key}={getattr(self, key)} must be at least 0 and finite")
        if not 0 < self.temperature < math.inf:
            raise UserError(f"objective.temperature={self.temperature} must be above 0 and finite")
        check_minima(self, "objective", anneal_epochs=1)
        if self.pretrain_epochs and not self.auxiliary:
            raise UserError(
                f"objective.pretrain_epochs={self.pretrain_epochs}: no label-free term to train; set the weight "
                f"of one of {', '.join(AUXILIARY)}"
            )

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Label-free terms with a positive weight."""
        return tuple(name for name in AUXILIARY if getattr(self, name) > 0)

    def auxiliary_weight(self, epoch: int) -> float:
        """a(epoch), the common weight of the label-free terms.

        Args:
            epoch: from 0.

        Returns:
            In [0.1, 1].

        >>> config = ObjectiveConfig(pretrain_epochs=2, anneal_epochs=10)
        >>> [round(config.auxiliary_weight(epoch), 2) for epoch in (0, 2, 7, 12, 50)]
        [1.0, 1.0, 0.55, 0.1, 0.1]
        """
        share = (epoch - self.pretrain_epochs) / self.anneal_epochs
        return 1.0 - (1.0 - AUXILIARY_FLOOR) * min(max(share, 0.0), 1.0)

    def weights(self, epoch: int) -> Weights:
        """Weigh the two parts of the objective; the first `pretrain_epochs` train the label-free terms alone.

        Args:
            epoch: from 0.

        Returns:
            Numbers.

        >>> ObjectiveConfig(pretrain_epochs=2).weights(0)
        Weights(labelled=0.0, label_free=1.0)
        """
        return Weights(0.0 if epoch < self.pretrain_epochs else 1.0, self.auxiliary_weight(epoch))
