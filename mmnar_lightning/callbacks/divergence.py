"""Stops a training whose loss, gradient or probabilities are NaN or infinite, before such weights are saved."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from data_modules.errors import UserError
from mmnar_lightning.nn.watch import Watch

LABEL_FREE = ("reconstruction", "contrast", "assignment")
"""Terms that have a weight of their own under `objective`."""


class DivergenceError(UserError):
    """A training has diverged."""


class Divergence(Callback):
    """Raises a `DivergenceError` at the next logged step, validation or checkpoint.

    The gradient is that of all ranks, so all ranks stop in the same place. No checkpoint is written afterwards: the
    last one is from before.

    Args:
        path: path of the last checkpoint.
        rate: `optim.lr`, for the message.
        precision: `trainer.precision`, for the message.
    """

    def __init__(self, path: str, rate: float, precision: str) -> None:
        self.path = path
        self.rate = rate
        self.precision = precision

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check at every logged step."""
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # set untyped
            self._check(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the epoch is scored."""
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check before anything is written."""
        self._check(trainer, pl_module)

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        watch = pl_module.watch
        assert isinstance(watch, Watch)
        broken = watch.broken()
        if broken:
            raise DivergenceError(
                f"the training diverged in epoch {trainer.current_epoch}, by step {trainer.global_step}: "
                f"{', '.join(broken)} became NaN or infinite. Try {', '.join(self._remedies(broken))}. {self._kept()}"
            )

    def _remedies(self, broken: list[str]) -> list[str]:
        terms = [f"objective.{name}=0" for name in LABEL_FREE if name in broken]
        precision = [] if self.precision == "32-true" else ["trainer.precision=32-true"]
        return [f"an optim.lr below {self.rate:g}", *terms, *precision]

    def _kept(self) -> str:
        if not Path(self.path).is_file():
            return "No checkpoint was written before"
        return f"{self.path} is from before, and resume_with=[optim.lr] resumes from it"
