"""The run that a checkpoint belongs to."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

IDENTITY_KEY = "Identity"
"""Key of the state in a checkpoint's `callbacks`; older checkpoints hold it."""


class RunIdentity(Callback):
    """Stores the run id, which is also the id of the W&B run, and the number of ranks in every checkpoint.

    Args:
        run_id: id of the run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.world_size = 1

    @property
    def state_key(self) -> str:
        """Independent of the class name, so that older checkpoints resume."""
        return IDENTITY_KEY

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record the number of ranks."""
        self.world_size = trainer.world_size

    def state_dict(self) -> dict[str, Any]:
        """The id and the number of ranks."""
        return {"run_id": self.run_id, "world_size": self.world_size}
