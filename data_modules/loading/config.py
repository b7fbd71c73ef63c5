"""Settings of the loaders."""

from dataclasses import dataclass
from typing import Literal

from data_modules.settings import check_minima


@dataclass(kw_only=True)
class LoaderConfig:
    """Batch sizes the rows of training, and the held-out pattern."""

    batch_size: int = 128
    """Rows per training step over all devices."""
    eval_batch_size: int = 1024
    """Rows per evaluation step on each device."""
    device: Literal["auto", "host", "device"] = "auto"
    """Where batches are gathered. `device`: from standardised arrays in the memory of the model's device; `host`: from
    the mapped files, for a GPU pinned and ahead of the step; `auto`: `device` on a GPU if they take at most half of its
    free memory, else `host`."""
    max_train_rows: int = 0
    """Only so many rows of the train split are trained on, the same in every epoch; 0 = all. For debug/overfit."""
    held_pattern: list[str] | None = None
    """Rows with exactly these modalities are excluded from train, calibration and val, so that their pattern is unseen
    before test; null excludes none. `evaluation.protocol=leave_pattern_out` holds out each pattern in turn."""

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        check_minima(self, "loader", batch_size=1, eval_batch_size=1, max_train_rows=0)
