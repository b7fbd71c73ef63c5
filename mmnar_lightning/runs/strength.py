"""Chooses how much the network counts beside the additive head, on the rows that chose its epoch."""

import math
from collections.abc import Sequence

from lightning import Trainer
from torch.nn import functional

from data_modules.vocabulary import TaskKind
from mmnar_lightning.callbacks.checkpoints import INNER_MONITOR, AtomicCheckpointIO
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.console import say
from mmnar_lightning.distributed import signals
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.losses.multitask import DELTA
from mmnar_lightning.model import NOT_CHOSEN, set_strength, strength_of
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, folders
from mmnar_lightning.runs.resume import read_best
from mmnar_lightning.runs.run import Run


def choose(run: Run, trainer: Trainer, metrics: PatternMetrics) -> None:
    """Choose the strength of a trained network by the loss of its held-out rows; every rank must call it.

    The rows are those of val; with inner folds those of train and val, each predicted where it was held out. `best` is
    written again with the strength, and the loss is logged, by which trials are compared. A `best` that has it, or a
    network without an additive head, is left as it is.

    Args:
        run: trained.
        trainer: of the run.
        metrics: of the run; the loss is logged as they log theirs, after a training.
    """
    with signals.deferred(trainer.world_size > 1):
        checkpoint = read_best(run.folder, run.cohort.fingerprint)
        module = build.build_module(run.config, run.cohort, initialised=False)
        load_weights(module, checkpoint["state_dict"], str(run.folder / folders.BEST))
        if strength_of(module.model) != NOT_CHOSEN:
            return
        device, context = trainer.strategy.root_device, trainer.precision_plugin.forward_context
        module.to(device)

        def held_out(strength: float) -> ScoredRows:
            set_strength(module.model, strength)
            return predict(module, run.datamodule.val_dataloader(), device, context)

        kind = module.objective.kind
        chosen, loss = best_of(run.config.model.additive.strengths, held_out(0.0), held_out(1.0), kind)
        set_strength(module.model, chosen)
        checkpoint["state_dict"] = {name: value.cpu() for name, value in module.state_dict().items()}
        if trainer.is_global_zero:
            AtomicCheckpointIO().save_checkpoint(checkpoint, run.folder / folders.BEST)
            if kind == "binary":
                _log(trainer, metrics, loss)
        trainer.strategy.barrier()
        say(f"strength of the network beside the additive head: {chosen:g}")


def _log(trainer: Trainer, metrics: PatternMetrics, loss: float) -> None:
    """Log the loss as the metrics of the last epoch, of the same rows, were: two digits where a task is hidden."""
    if not metrics.latest:
        return
    totals = [value for key, value in metrics.latest.items() if key.startswith("count/") and key.count("/") == 1]
    shown = round(loss, 2) if any(map(math.isnan, totals)) else loss
    for logger in trainer.loggers:
        logger.log_metrics({INNER_MONITOR: shown}, step=trainer.global_step)
        logger.save()


def best_of(candidates: Sequence[float], without: ScoredRows, whole: ScoredRows, kind: TaskKind) -> tuple[float, float]:
    """Choose among strengths by the loss, averaged over the tasks with known labels; of equal ones the largest.

    Args:
        candidates: strengths.
        without: rows with the logits of strength 0, the same on every rank.
        whole: the same rows with those of strength 1.
        kind: of the tasks: log-loss, of numbers Huber's loss.

    Returns:
        The chosen strength, and its loss; NaN without any label.
    """
    known = whole.label_mask

    def loss(strength: float) -> float:
        logits = without.logits.lerp(whole.logits, strength)
        if kind == "value":
            each = functional.huber_loss(logits, whole.label, reduction="none", delta=DELTA)
        else:
            each = functional.binary_cross_entropy_with_logits(logits, whole.label, reduction="none")
        return float((each.where(known, 0.0).sum(0) / known.sum(0)).nanmean())

    chosen = min(sorted(candidates, reverse=True), key=loss)
    return chosen, loss(chosen)
