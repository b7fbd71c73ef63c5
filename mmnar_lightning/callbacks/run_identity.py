"""Which run a checkpoint belongs to."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class Identity(Callback):
    """Keeps the id of the run, which is also that of its W&B run, and the number of ranks in every checkpoint.

    Args:
        run_id: of the run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.world_size = 1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note how many ranks there are."""
        self.world_size = trainer.world_size

    def state_dict(self) -> dict[str, Any]:
        """The id and the number of ranks."""
        return {"run_id": self.run_id, "world_size": self.world_size}
