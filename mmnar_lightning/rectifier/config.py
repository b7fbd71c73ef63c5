"""Settings of the rectifier (docs/method.md, section 3)."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.settings import check_minima, read_when


@dataclass(kw_only=True)
class RectifierConfig:
    """Estimation and use of the pattern offsets."""

    fit: Literal["none", "calibration", "crossfit"] = "calibration"
    """Subjects for the estimate: half of the calibration split, or every fold of train and calibration in turn."""
    loss_offset: bool = field(default=True, metadata=read_when(".fit != none"))
    """Whether loss and model include an offset τ⁰, fitted on the other half of the calibration split."""
    start_epoch: int = field(default=5, metadata=read_when(".fit != none and .loss_offset = true"))
    """τ⁰ is fitted at the start of this epoch, counted from the first epoch with labels."""
    min_rows: int = field(default=20, metadata=read_when(".fit != none"))
    """Fewest rows of a pattern, or of a number of modalities, that get their own offset; a quarter of them must be
    positives, and a quarter negatives."""
    gate: bool = field(default=True, metadata=read_when(".fit != none"))
    """Scale τ by a strength in [0, 1] that cross-validation chooses; 0 unless it helps by a standard error."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_minima(self, "rectifier", start_epoch=0, min_rows=1)

    @property
    def min_class_rows(self) -> int:
        """Fewest positives, and fewest negatives, among `min_rows`."""
        return max(1, self.min_rows // 4)
