"""The LightningModule: composes model, objective and optimiser."""

import math
from dataclasses import fields, replace
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.checkpoint import parts_of
from mmnar_lightning.compiled import CompiledLosses
from mmnar_lightning.distributed.collectives import clip_gradient, full_parameters
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.losses.config import Weights
from mmnar_lightning.losses.multitask import RunningLoss
from mmnar_lightning.model import NOT_CHOSEN, set_strength
from mmnar_lightning.nn.watch import Watch
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.objective import Objective
from mmnar_lightning.optim import MAX_GRADIENT_NORM, OptimConfig, build_optimizer, restore_settings
from mmnar_lightning.outputs import ModelOutputs
from mmnar_lightning.precision import take_precision
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
        self.running_loss = RunningLoss(objective.config.focal_gamma, objective.kind)
        self.watch = Watch()
        self.compiled: CompiledLosses | None = None
        self._shared: Tensor | int = 0
        self._seen = 0
        self.cohort: str = hyperparameters["cohort_fingerprint"]
        self.save_hyperparameters(hyperparameters)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **parts: Any,
    ) -> "MMNARModule":
        """Load a checkpoint of `mmnar train`, which determines the whole module; nothing is unpickled.

        Args:
            checkpoint_path: of the file.
            map_location: device; None is the CPU.
            hparams_file: of Lightning's interface, for given `parts`.
            strict: of Lightning's interface, for given `parts`; without them every tensor must fit.
            weights_only: of Lightning's interface, for given `parts`; None is True.
            **parts: arguments of `__init__` for a model of one's own; then all those without a default.

        Returns:
            The module. A checkpoint that does not determine it raises a `SavedModelError`.
        """
        if parts:
            safe = True if weights_only is None else weights_only  # Lightning unpickles what comes from a network
            given = (checkpoint_path, map_location, hparams_file, strict, safe)
            return super().load_from_checkpoint(*given, **parts)
        place = str(checkpoint_path)
        checkpoint = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=True)
        found = parts_of(checkpoint, place)
        module = cls(**{field.name: getattr(found, field.name) for field in fields(found)})
        load_weights(module, checkpoint["state_dict"], place)
        device = next(iter(checkpoint["state_dict"].values())).device
        return module.to(device)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; logits are those of f."""
        return self._offset(self.model(batch), batch)

    def _offset(self, outputs: ModelOutputs, batch: Batch) -> ModelOutputs:
        return replace(outputs, logits=self._shifted(outputs.logits, batch))

    def _shifted(self, logits: Tensor, batch: Batch) -> Tensor:
        """Logits with the offset of the loss."""
        if self.loss_offset is None:
            return logits
        # In training the subjects are checked at the end of the epoch: a check at every step would wait for the device.
        shifted: Tensor = self.loss_offset(logits, batch.present, batch.subject, self.cohort, guarded=not self.training)
        return shifted

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch, a scalar; the sum over members of inner folds, of which each has its own gradient."""
        weights = self.objective.config.weights(self.current_epoch)
        if self.compiled is not None and self.compiled.takes(batch):
            found = [self.compiled(self._losses, batch, weights)]
        else:
            parts = self.model.parts(batch) if isinstance(self.model, FoldEnsemble) else [(self.model, batch)]
            found = [self._losses(model, own, weights) for model, own in parts]
        loss = torch.stack([own for own, _ in found]).sum()
        terms = {name: torch.stack([own[name] for _, own in found]).mean() for name in found[0][1]}
        self.watch.step()
        self.watch.see(terms)
        self._see_subjects(batch)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # the Trainer's own argument, set untyped
        if (self.trainer.fit_loop.total_batch_idx + 1) % every == 0:
            self.log("train/loss", loss / len(found), prog_bar=True, batch_size=len(batch))
            self.log_dict({f"train/loss/{name}": term for name, term in terms.items()}, batch_size=len(batch))
        return loss

    def _losses(self, model: nn.Module, batch: Batch, weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch under a model, and its terms."""
        terms = self.objective.terms(self._offset(model(batch), batch), batch)
        return self.objective.weighted(terms, weights), terms

    def _see_subjects(self, batch: Batch) -> None:
        """Count the rows of an epoch whose subjects the loss offset was fitted on."""
        if self.loss_offset is not None:
            self._shared = self._shared + self.loss_offset.shared(batch.subject, self.cohort)
            self._seen += len(batch)

    def setup(self, stage: str) -> None:
        """Watch from the start, on the device of this Trainer; number formats are those of `precision.py`."""
        take_precision(self.trainer)
        self.watch = Watch()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of rows that the loss offset was fitted on."""
        self._refuse_shared()

    def on_train_epoch_start(self) -> None:
        """Begin the count of the epoch."""
        self._shared, self._seen = 0, 0

    def on_train_epoch_end(self) -> None:
        """Refuse an epoch with subjects that the loss offset was fitted on."""
        self._refuse_shared()

    def _refuse_shared(self) -> None:
        if self.loss_offset is not None:
            self.loss_offset.refuse_shared(int(self._shared), self._seen)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits of a batch, (B, T), for the callbacks."""
        if isinstance(self.model, FoldEnsemble):
            logits = self._shifted(self.model.logits(batch), batch)
        else:
            logits = self.forward(batch).logits
        self.watch.step()
        self.watch.see({"probability": logits.sigmoid()})
        self.running_loss.add(logits, batch.label, batch.label_mask)
        return logits

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits of a batch, (B, T), for the callbacks."""
        logits = self.forward(batch).logits
        self.running_loss.add(logits, batch.label, batch.label_mask)
        return logits

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Tensor]:
        """Predict a batch.

        Args:
            batch: B rows.
            batch_idx: its number.

        Returns:
            `row_id` (B,), `present` (B, M), `logit` (B, T) of f, and `rectified` (B, T), probabilities after the
            rectifier; without a fitted one, of f. Tasks that are numbers have both in standard deviations.
        """
        logit = self.forward(batch).logits
        after = logit
        if self.rectifier is not None:
            after = self.rectifier(logit, batch.present, batch.subject, self.cohort)
        rectified = after if self.objective.kind == "value" else after.sigmoid()
        return {"row_id": batch.row_id, "present": batch.present, "logit": logit, "rectified": rectified}

    def on_validation_epoch_start(self) -> None:
        """Begin the loss of the epoch."""
        self.running_loss.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the val split."""
        self._log_loss("val")

    def on_test_epoch_start(self) -> None:
        """Begin the loss of the test split."""
        self.running_loss.reset()

    def on_test_epoch_end(self) -> None:
        """Log the loss of the test split."""
        self._log_loss("test")

    def _log_loss(self, split: str) -> None:
        """Log the weighted losses of the tasks; label-free terms and those of side heads are not in it."""
        with full_parameters(self.trainer.strategy.model):
            self.log(f"{split}/loss", self.objective.supervised(self.running_loss.means()).detach())

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule, stepped after every batch."""
        num_steps = self._num_steps()
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer, schedule = build_optimizer(trainable, num_steps, self.optim, fused=not self._scales_gradients)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _scales_gradients(self) -> bool:
        """Whether gradients of float16 are scaled, and may then be infinite in a step that is skipped."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def _num_steps(self) -> int:
        """Optimiser steps of the whole training; without a number of epochs or of steps a `UserError`."""
        trainer: Any = self.trainer
        if trainer.max_epochs in {None, -1}:
            if trainer.max_steps < 1:
                raise UserError("the schedule of the learning rate needs a length: give the Trainer max_epochs")
            return int(trainer.max_steps)
        steps = trainer.max_epochs * math.ceil(_num_batches(trainer) / trainer.accumulate_grad_batches)
        return int(steps if trainer.max_steps < 1 else min(steps, trainer.max_steps))

    def on_fit_start(self) -> None:
        """Forget how much the network counts: what is trained on counts whole, until its held-out rows choose."""
        set_strength(self.model, NOT_CHOSEN)

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
        members = self.model.members if isinstance(self.model, FoldEnsemble) else [self if root is None else root]
        for member in members:
            norm = clip_gradient(member, MAX_GRADIENT_NORM)
            if not self._scales_gradients:
                self.watch.see({"gradient": norm})


def _num_batches(trainer: Any) -> int:
    """Batches of an epoch of training."""
    # Not estimated_stepping_batches, which opens the loader before its position is restored in a resumed run.
    batches, limit = len(trainer.fit_loop._data_source.dataloader()), trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
