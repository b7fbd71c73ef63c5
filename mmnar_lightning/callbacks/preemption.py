"""Preemption during training: all ranks save and stop together at the end of a batch."""

from typing import Any, NoReturn

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from mmnar_lightning.distributed import signals


class Preemption(Callback):
    """Saves `last.ckpt` on all ranks and stops after the batch in which one of them received a stop request.

    Nothing is saved inside a signal handler, where a step may be incomplete. At the last batch of an epoch and during
    validation the epoch is finished first, since its own checkpoint follows shortly.

    Args:
        path: path of the checkpoint.
        every_steps: also save at this interval of steps; 0 = only on a stop request.
    """

    def __init__(self, path: str, every_steps: int = 0) -> None:
        self.path = path
        self.every_steps = every_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if due; stop if requested."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a checkpoint does not hold partially accumulated gradients
        requested = signals.is_requested()
        if requested or self._is_due(trainer):
            trainer.save_checkpoint(self.path)
        if requested:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs, after the checkpoint of the first."""
        if trainer.current_epoch and signals.is_requested():
            self._stop(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        return self.every_steps > 0 and trainer.global_step % self.every_steps == 0

    def _stop(self, trainer: Trainer) -> NoReturn:
        signals.raise_preempted(f" after step {trainer.global_step}; {self.path} is saved")


class DisabledSignalConnector(_SignalConnector):
    """Replaces Lightning's signal handlers, so that those of the command stay active in every stage.

    Lightning's SIGTERM handler broadcasts between ranks, which can interrupt a rank in another collective.
    """

    def register_signal_handlers(self) -> None:
        """Keep the current handlers."""
        self.received_sigterm = False
