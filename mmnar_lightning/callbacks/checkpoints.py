"""Checkpoints: `best.ckpt` by the monitored metric, `last.ckpt` after every epoch, each written whole or not."""

import os
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

MONITOR = "val/auroc"
"""Mean AUROC over the tasks in which it is defined on val."""
BEST = "val/auroc_best"
"""Its largest value so far, that of `best.ckpt`."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name, flushes it to the disk, and renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save; a run that is killed meanwhile keeps the checkpoint before."""
        partial = Path(f"{path}.partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)


class Best(ModelCheckpoint):
    """The checkpoint with the best metric, of epochs that saw labels.

    Args:
        pretrain_epochs: first epochs, which did not.
        settings: as of `ModelCheckpoint`.
    """

    def __init__(self, pretrain_epochs: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.pretrain_epochs = pretrain_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare; Lightning validates before this."""
        if trainer.current_epoch >= self.pretrain_epochs:
            super().on_train_epoch_end(trainer, pl_module)
            self._log_best(trainer)

    def _log_best(self, trainer: Trainer) -> None:
        """Log the metric of the checkpoint that is kept, and write it at once: a sweep compares trials by it."""
        if self.best_model_score is None:
            return
        for logger in trainer.loggers:
            values = {BEST: float(self.best_model_score), "epoch": trainer.current_epoch}
            logger.log_metrics(values, step=trainer.global_step)
            logger.save()


class Patience(EarlyStopping):
    """Early stopping that does not count epochs without labels.

    Args:
        pretrain_epochs: first epochs, which saw none.
        settings: as of `EarlyStopping`.
    """

    def __init__(self, pretrain_epochs: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.pretrain_epochs = pretrain_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare."""
        if trainer.current_epoch >= self.pretrain_epochs:
            super().on_train_epoch_end(trainer, pl_module)


def checkpoint_callbacks(folder: Path, patience: int, pretrain_epochs: int = 0) -> list[Any]:
    """Early stopping, the best checkpoint and the last one.

    `last` has no monitor and is saved at the very end of an epoch: Lightning's own `save_last` is only written
    together with a new best.
    """
    best = Best(
        pretrain_epochs,
        dirpath=folder,
        filename="best",
        monitor=MONITOR,
        mode="max",
        auto_insert_metric_name=False,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    last = ModelCheckpoint(
        folder, "last", auto_insert_metric_name=False, enable_version_counter=False, save_on_train_epoch_end=True
    )
    stop = Patience(
        pretrain_epochs,
        monitor=MONITOR,
        mode="max",
        patience=patience,
        check_finite=True,
        check_on_train_epoch_end=True,
    )
    return [stop, best, last]
