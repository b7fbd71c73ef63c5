"""τ⁰: what is left of each pattern's effect, estimated while the model trains, and a part of it from then on."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from data_modules.datamodule import CohortDataModule
from mmnar_lightning.distributed.collectives import full_parameters
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.rectifier.config import RectifierConfig


class LossOffsetFit(Callback):
    """Fits the offset of the loss on half A of the calibration split, at the start of an epoch.

    That is before the epoch's validation and after the checkpoint of the epoch before, so that every checkpoint holds
    the offset that its scores were made with. A run resumed inside the epoch holds it already and does not fit again.

    Args:
        config: when.
        pretrain_epochs: first epochs, in which the heads saw no label; `start_epoch` counts from there.
    """

    def __init__(self, config: RectifierConfig, pretrain_epochs: int = 0) -> None:
        self.first_epoch = pretrain_epochs + config.start_epoch
        self.fitted_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """The epoch of the last fit."""
        return {"fitted_epoch": self.fitted_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.fitted_epoch = state_dict["fitted_epoch"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit it if it is time."""
        if self._is_due(trainer.current_epoch):
            self._fit(trainer, pl_module)
            self.fitted_epoch = trainer.current_epoch

    def _is_due(self, epoch: int) -> bool:
        return epoch >= self.first_epoch and self.fitted_epoch < 0

    def _fit(self, trainer: Trainer, module: LightningModule) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]  # set by fit, untyped
        assert isinstance(datamodule, CohortDataModule)
        assert isinstance(module, MMNARModule)
        assert module.loss_offset is not None
        loader = datamodule.rows_dataloader(datamodule.cohort.calibration_half("A"))
        with full_parameters(trainer.strategy.model):
            rows = predict(module.model, loader, module.device, trainer.precision_plugin.forward_context)
        module.loss_offset.fit_centred(**rows.labelled, cohort=module.cohort)
