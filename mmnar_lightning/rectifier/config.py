"""Settings of the rectifier (docs/method.md, section 3)."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class RectifierConfig:
    """How the offsets of the patterns are estimated and used."""

    fit: Literal["none", "calibration", "crossfit"] = "calibration"
    """Subjects that give them: half of the calibration split, or every fold of train and calibration in turn."""
    loss_offset: bool = True
    """Whether an offset τ⁰, from the other half of the calibration split, is part of the loss and the model."""
    start_epoch: int = 5
    """Epoch at whose start τ⁰ is fitted, counted from the first one with labels."""
    max_offset: float = 2.0
    """Largest absolute value of τ⁰."""
    min_rows: int = 20
    """Fewest rows of a pattern, or of a number of modalities, for an offset of its own."""
    min_class_rows: int = 5
    """Fewest positives, and fewest negatives, among them."""
    gate: bool = True
    """Scale τ by a strength in [0, 1] that cross-validation chooses; 0 unless it helps by a standard error."""

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted."""
        lowest = {"start_epoch": 0, "min_rows": 1, "min_class_rows": 1}
        for key, least in lowest.items():
            if getattr(self, key) < least:
                raise ValueError(f"rectifier.{key}={getattr(self, key)} must be at least {least}")
        if not 0 < self.max_offset < math.inf:
            raise ValueError(f"rectifier.max_offset={self.max_offset} must be above 0 and finite")
