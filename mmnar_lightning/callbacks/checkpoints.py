"""Checkpoints, written atomically: `best.ckpt` by the monitored metric and `last.ckpt` after every epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from data_modules import files
from data_modules.errors import UserError
from data_modules.vocabulary import TaskKind
from mmnar_lightning.callbacks import digests
from mmnar_lightning.callbacks.digests import BEST, LAST, PREVIOUS

MONITOR = "val/auroc"
"""Mean AUROC over the tasks in which it is defined on val."""
INNER_MONITOR = "val/log_loss"
"""Mean log-loss over the tasks of the rows of all inner folds, each predicted where it was held out."""
VALUE_MONITOR, INNER_VALUE_MONITOR = "val/r2", "val/mse"
"""The same of tasks that are numbers: mean R², and mean squared error of standardised numbers."""
MODES = {MONITOR: "max", INNER_MONITOR: "min", VALUE_MONITOR: "max", INNER_VALUE_MONITOR: "min"}
"""Monitored metric -> whether a larger or a smaller value is better."""
OPTIMIZERS = "optimizer_states"
"""Key of the optimiser's state in a checkpoint: two numbers for every weight."""


def monitor_of(kind: TaskKind, *, inner_folds: bool) -> str:
    """Choose the metric that chooses the epoch.

    Args:
        kind: of the tasks.
        inner_folds: whether there are inner folds.

    Returns:
        One of `MODES`.

    >>> monitor_of("value", inner_folds=False)
    'val/r2'
    """
    if kind == "value":
        return INNER_VALUE_MONITOR if inner_folds else VALUE_MONITOR
    return INNER_MONITOR if inner_folds else MONITOR


class CheckpointError(UserError):
    """A checkpoint could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a file beside it, flushes it to disk, records its digest and renames it.

    `last` becomes `previous`. `best` is written without the state of the optimiser, which only a resumed run reads.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save; a run that is killed meanwhile keeps the previous checkpoint.

        Args:
            checkpoint: its content.
            path: of the file.
            storage_options: of Lightning's interface.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f"{target.name}.partial")
        if target.name == BEST:
            checkpoint = {**checkpoint, OPTIMIZERS: []}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, partial)  # Lightning writes through a file in /tmp, which may be small
            files.flush(partial)
            digests.record(target, files.describe(partial))
            if target.name == LAST and target.is_file():
                target.replace(target.with_name(PREVIOUS))
            partial.replace(target)
            files.flush(target.parent)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path} could not be written ({error}); free disk space and run the same command again, which resumes "
                "from the previous checkpoint"
            ) from error


class RelocatableCheckpoint(ModelCheckpoint):
    """Stores file names instead of paths, so that the folder of a run can be moved and its path stays private."""

    saved_as = "Movable"
    """Name that keys the state in a checkpoint; older checkpoints hold it."""

    @property
    def state_key(self) -> str:
        """As of `ModelCheckpoint`, with `saved_as` for the name of the class."""
        return self.saved_as + super().state_key.removeprefix(type(self).__qualname__)

    def state_dict(self) -> dict[str, Any]:
        """As of `ModelCheckpoint`, without the folder."""
        return _renamed(super().state_dict(), lambda path: Path(path).name) | {"dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, in the current folder."""
        folder = Path(str(self.dirpath))
        super().load_state_dict(_renamed(state_dict, lambda name: str(folder / name)) | {"dirpath": self.dirpath})


def _renamed(state: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The state with all file names changed; an empty name means no file."""
    names = ("best_model_path", "kth_best_model_path", "last_model_path")
    changed = {name: change(state[name]) if state[name] else "" for name in names}
    best = {change(path): score for path, score in state["best_k_models"].items()}
    return {**state, **changed, "best_k_models": best}


class BestCheckpoint(RelocatableCheckpoint):
    """The checkpoint with the best metric among the epochs trained with labels.

    Args:
        pretrain_epochs: first epochs, trained without labels.
        settings: as of `ModelCheckpoint`.
    """

    saved_as = "Best"

    def __init__(self, pretrain_epochs: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.pretrain_epochs = pretrain_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the epoch is the best; Lightning validates before this hook."""
        if trainer.current_epoch >= self.pretrain_epochs:
            super().on_train_epoch_end(trainer, pl_module)
            self._log_best(trainer)

    def _log_best(self, trainer: Trainer) -> None:
        """Log the metric of the best checkpoint and flush the loggers: a sweep compares trials by it."""
        if self.best_model_score is None:
            return
        for logger in trainer.loggers:
            values = {f"{self.monitor}_best": float(self.best_model_score), "epoch": trainer.current_epoch}
            logger.log_metrics(values, step=trainer.global_step)
            logger.save()


class PretrainAwareEarlyStopping(EarlyStopping):
    """Early stopping that does not count epochs trained without labels.

    Args:
        pretrain_epochs: first epochs, trained without labels.
        settings: as of `EarlyStopping`.
    """

    def __init__(self, pretrain_epochs: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.pretrain_epochs = pretrain_epochs

    @property
    def state_key(self) -> str:
        """As of `EarlyStopping`, under the class name that older checkpoints hold."""
        return "Patience" + super().state_key.removeprefix(type(self).__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with the configured patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a resumed run at once if it had already stopped early."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check for improvement, in epochs with labels."""
        if trainer.current_epoch >= self.pretrain_epochs:
            super().on_train_epoch_end(trainer, pl_module)


def checkpoint_callbacks(folder: Path, patience: int, pretrain_epochs: int = 0, monitor: str = MONITOR) -> list[Any]:
    """Early stopping, the best checkpoint and the last checkpoint.

    `last` has no monitor and is saved at the end of each epoch: Lightning's `save_last` writes only together with a new
    best.

    Args:
        folder: of the checkpoints.
        patience: number of epochs without improvement before training stops.
        pretrain_epochs: first epochs, trained without labels.
        monitor: metric that chooses the best epoch, one of `MODES`.

    Returns:
        The three callbacks, in this order.
    """
    best = BestCheckpoint(
        pretrain_epochs,
        dirpath=folder,
        filename="best",
        monitor=monitor,
        mode=MODES[monitor],
        auto_insert_metric_name=False,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    last = RelocatableCheckpoint(
        folder, "last", auto_insert_metric_name=False, enable_version_counter=False, save_on_train_epoch_end=True
    )
    stop = PretrainAwareEarlyStopping(
        pretrain_epochs,
        monitor=monitor,
        mode=MODES[monitor],
        patience=patience,
        check_finite=True,
        check_on_train_epoch_end=True,
    )
    return [stop, best, last]
