"""The progress bar of a training."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Shows what is logged for the bar, and not `v_num`, which would be the last four letters of the run's name."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The values that the bar shows."""
        found = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in found.items() if name != "v_num"}
