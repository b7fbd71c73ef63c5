"""AUROC, average precision, Brier score and count per task and missingness pattern, after each epoch."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from data_modules.batch import Batch
from mmnar_lightning.metrics.pattern import PatternMetric, mask_small_cells
from mmnar_lightning.outputs import ScoredRows


class PatternMetrics(Callback):
    """Scores the val and test splits per task and pattern and logs the scalars.

    Small cells are masked before logging (docs/privacy.md). After a test evaluation `rows` holds its rows.

    Args:
        tasks: T task names.
        modalities: M modality names.
        patterns: pattern ids of the cohort; they determine the logged keys.
        min_count: `privacy.min_count`.
        totals_only: whether every pattern is masked, because other runs score other folds of the same rows.
        deviations: as of `PatternMetric`.
        returned: whether `validate` and `test` of the Trainer return the scalars, for which Lightning takes a
            millisecond per key; otherwise the loggers alone have them.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        modalities: Sequence[str],
        patterns: Sequence[int],
        min_count: int,
        *,
        totals_only: bool = False,
        deviations: Sequence[float] | None = None,
        returned: bool = True,
    ) -> None:
        self.metrics = {split: PatternMetric(tasks, modalities, patterns, deviations) for split in ("val", "test")}
        self.min_count, self.totals_only, self.returned = min_count, totals_only, returned
        self.latest: dict[str, float] = {}
        self.rows: ScoredRows | None = None

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Add the rows of a batch."""
        _update(self.metrics["val"], outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Add the rows of a batch."""
        _update(self.metrics["test"], outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the epoch."""
        self._finish("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the test split and keep its rows."""
        self.rows = self.metrics["test"].rows()
        self._finish("test", trainer, pl_module)

    def _finish(self, split: str, trainer: Trainer, pl_module: LightningModule) -> None:
        values = self.metrics[split].compute()
        self.metrics[split].reset()
        if trainer.sanity_checking:
            return
        self.latest = mask_small_cells(values, self.min_count, totals_only=self.totals_only)
        logged = {f"{split}/{key}": value for key, value in self.latest.items()}
        is_fitting = trainer.state.fn == TrainerFn.FITTING
        if self.returned and not is_fitting:
            # Float64, which a float would lose.
            device = "cpu" if pl_module.device.type == "mps" else pl_module.device
            pl_module.log_dict(
                {key: torch.tensor(value, dtype=torch.float64, device=device) for key, value in logged.items()}
            )
            return
        for logger in trainer.loggers:  # directly, which is quicker than through Lightning
            logger.log_metrics({**logged, "epoch": trainer.current_epoch}, step=trainer.global_step)
            logger.save()  # before the checkpoint of the epoch, from which a killed run resumes
        if not is_fitting:
            return
        score, loss = self.metrics[split].means
        pl_module.log(f"{split}/{score}", values[score], logger=False, prog_bar=True)
        pl_module.log(f"{split}/{loss}", values[loss], logger=False)


def _update(metric: PatternMetric, logits: Tensor, batch: Batch) -> None:
    """Add a batch; logits are float64, so that the probabilities of large ones keep their order."""
    device = torch.device("cpu") if logits.device.type == "mps" else logits.device  # mps has no float64
    metric.to(device)
    metric.update(
        row_id=batch.row_id.to(device),
        subject=batch.subject.to(device),
        present=batch.present.to(device),
        logits=logits.to(device).double(),
        label=batch.label.to(device),
        label_mask=batch.label_mask.to(device),
    )
