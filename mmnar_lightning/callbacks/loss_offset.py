"""τ⁰: the residual effect of each pattern, estimated during training and part of the model from then on."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from data_modules.datamodule import CohortDataModule
from mmnar_lightning.distributed.collectives import full_parameters
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.rectifier.config import RectifierConfig


class LossOffsetFit(Callback):
    """Fits the loss offset on half A of the calibration split at the start of an epoch.

    This is after the checkpoint of the previous epoch and before validation, so that every checkpoint holds the offset
    used for its scores. A run resumed within the epoch has the offset already and does not fit it again.

    Args:
        config: first epoch of the fit.
        pretrain_epochs: first epochs, trained without labels; `start_epoch` counts from there.
    """

    def __init__(self, config: RectifierConfig, pretrain_epochs: int = 0) -> None:
        self.first_epoch = pretrain_epochs + config.start_epoch
        self.fitted_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """The epoch of the last fit."""
        return {"fitted_epoch": self.fitted_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epoch of the last fit."""
        self.fitted_epoch = state_dict["fitted_epoch"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the offset if it is due."""
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
