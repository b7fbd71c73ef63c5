"""Stopping on request: a signal sets a flag, and all ranks save and stop together at the end of a batch."""

import signal
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they kill."""


class PreemptedError(Exception):
    """The run was asked to stop, saved itself and is not finished."""


class Preemption(Callback):
    """Saves `last.ckpt` on all ranks after the batch in which one of them got SIGTERM or SIGUSR1, and stops.

    Nothing is saved inside the handler, where a step may be half done. At the last batch of an epoch and during
    validation the epoch is finished first: its own checkpoint comes a moment later.

    Args:
        path: of the checkpoint.
        every_steps: also save after so many steps; 0 = only when asked to stop.
    """

    def __init__(self, path: str, every_steps: int = 0) -> None:
        self.path = path
        self.every_steps = every_steps
        self.received: signal.Signals | None = None
        self._group: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A group of its own: on GPUs the flag must not wait for the step."""
        if stage == "fit" and trainer.world_size > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers, which it removes itself at the end; they stop with status 0."""
        if getattr(trainer, "received_sigterm", False):
            self.received = signal.SIGTERM
        for number in SIGNALS:
            signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, stop if it was asked for."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a gradient that is half gathered is in no checkpoint
        asked = self._any_rank()
        if asked or self._is_due(trainer):
            trainer.save_checkpoint(self.path)
        if asked:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs; the checkpoint is there."""
        if trainer.current_epoch and self._any_rank():
            self._stop(trainer)

    def _note(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)

    def _is_due(self, trainer: Trainer) -> bool:
        return self.every_steps > 0 and trainer.global_step % self.every_steps == 0

    def _any_rank(self) -> bool:
        if self._group is None:
            return self.received is not None
        flag = torch.tensor(0 if self.received is None else int(self.received))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        if flag.item():
            self.received = signal.Signals(int(flag))
        return bool(flag)

    def _stop(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.mark_preempting()
        name = self.received.name if self.received else "a signal"
        raise PreemptedError(f"stopped by {name} after step {trainer.global_step}; {self.path} is saved")
