"""Stopping while training: all ranks save and stop together at the end of a batch."""

from typing import Any, NoReturn

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from mmnar_lightning.distributed import signals


class Preemption(Callback):
    """Saves `last.ckpt` on all ranks after the batch in which one of them was asked to stop, and stops.

    Nothing is saved inside a signal's handler, where a step may be half done. At the last batch of an epoch and during
    validation the epoch is finished first: its own checkpoint comes a moment later.

    Args:
        path: of the checkpoint.
        every_steps: also save after so many steps; 0 = only when asked to stop.
    """

    def __init__(self, path: str, every_steps: int = 0) -> None:
        self.path = path
        self.every_steps = every_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, stop if it was asked for."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a gradient that is half gathered is in no checkpoint
        asked = signals.is_requested()
        if asked or self._is_due(trainer):
            trainer.save_checkpoint(self.path)
        if asked:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs; the checkpoint is there."""
        if trainer.current_epoch and signals.is_requested():
            self._stop(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        return self.every_steps > 0 and trainer.global_step % self.every_steps == 0

    def _stop(self, trainer: Trainer) -> NoReturn:
        signals.raise_preempted(f" after step {trainer.global_step}; {self.path} is saved")


class DisabledSignalConnector(_SignalConnector):
    """Lightning's place for handlers, without any: those of the command stay in every stage.

    Its own broadcast between ranks inside the handler of SIGTERM, where a rank may be in the middle of anything.
    """

    def register_signal_handlers(self) -> None:
        """Leave the handlers as they are."""
        self.received_sigterm = False
