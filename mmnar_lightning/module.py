"""The LightningModule: composes model, objective and optimiser."""

import math
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.distributed.collectives import clip_gradient
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.nn.watch import Watch
from mmnar_lightning.objective import Objective
from mmnar_lightning.optim import MAX_GRADIENT_NORM, OptimConfig, build_optimizer, restore_settings
from mmnar_lightning.outputs import ModelOutputs
from mmnar_lightning.rectifier.rectifier import Rectifier


class MMNARModule(LightningModule):
    """Trains any model that turns a `Batch` into `ModelOutputs`.

    Args:
        model: the network.
        objective: terms and their weighted sum.
        optim: optimiser and schedule.
        hyperparameters: plain nested values from which the model is rebuilt; stored in every checkpoint.
        loss_offset: τ⁰, added to the logits once it is fitted, f = g + τ⁰; None trains without it.
        rectifier: τ, fitted after training and not used in any loss; None reports f alone.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optim: OptimConfig,
        hyperparameters: dict[str, Any],
        loss_offset: Rectifier | None = None,
        rectifier: Rectifier | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optim = optim
        self.loss_offset = loss_offset
        self.rectifier = rectifier
        self.watch = Watch()
        self.cohort: str = hyperparameters["cohort_fingerprint"]
        self.save_hyperparameters(hyperparameters)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; logits are those of f."""
        return self._offset(self.model(batch), batch)

    def _offset(self, outputs: ModelOutputs, batch: Batch) -> ModelOutputs:
        """Add the offset of the loss to the logits."""
        if self.loss_offset is None:
            return outputs
        logits = self.loss_offset(outputs.logits, batch.present, batch.subject, self.cohort)
        return replace(outputs, logits=logits)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch, a scalar; the sum over members of inner folds, of which each has its own gradient."""
        parts = self.model.parts(batch) if isinstance(self.model, FoldEnsemble) else [(self.model, batch)]
        found = [self.objective.terms(self._offset(model(own), own), own) for model, own in parts]
        loss = torch.stack([self.objective(terms, self.current_epoch) for terms in found]).sum()
        terms = {name: torch.stack([own[name] for own in found]).mean() for name in found[0]}
        self.watch.step()
        for name, term in terms.items():
            self.watch.see(name, term)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # the Trainer's own argument, set untyped
        if (self.trainer.fit_loop.total_batch_idx + 1) % every == 0:
            self.log("train/loss", loss / len(found), prog_bar=True, batch_size=len(batch))
            self.log_dict({f"train/loss/{name}": term for name, term in terms.items()}, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits of a batch, (B, T), for the callbacks."""
        logits = self.forward(batch).logits
        self.watch.step()
        self.watch.see("probability", logits.sigmoid())
        return logits

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits of a batch, (B, T), for the callbacks."""
        return self.forward(batch).logits

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule, stepped after every batch."""
        num_steps = self._num_steps()
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer, schedule = build_optimizer(trainable, num_steps, self.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        # Not estimated_stepping_batches, which opens the loader before its position is restored in a resumed run.
        trainer: Any = self.trainer
        batches = len(trainer.datamodule.train_dataloader())
        steps: int = trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches)
        return steps

    def on_train_start(self) -> None:
        """Restore learning rate and weight decay from the settings; a checkpoint brings its own."""
        config = self.trainer.lr_scheduler_configs[0]
        restore_settings(self.trainer.optimizers[0], config.scheduler, self.optim)  # type: ignore[arg-type]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient, of each member of inner folds on its own."""
        # Not self.clip_gradients: under mixed precision Lightning rejects it with a fused optimiser.
        root = self.trainer.strategy.model
        if isinstance(self.model, FoldEnsemble):
            for member in self.model.members:
                self.watch.see("gradient", clip_gradient(member, MAX_GRADIENT_NORM))
        else:
            self.watch.see("gradient", clip_gradient(self if root is None else root, MAX_GRADIENT_NORM))
