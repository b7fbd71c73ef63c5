"""Settings of the loader."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class LoaderConfig:
    """How rows become batches."""

    batch_size: int = 128
    """Rows of a training step over all devices."""
    eval_batch_size: int = 1024
    """Rows of an evaluation step on each device."""
    held_pattern: list[str] | None = None
    """Rows with exactly these modalities are left out of train, calibration and val, so that the model meets their
    pattern at test for the first time; null leaves none out. `evaluation.protocol=leave_pattern_out` takes each in
    turn."""

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        for key in ("batch_size", "eval_batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"loader.{key}={getattr(self, key)} must be at least 1")
