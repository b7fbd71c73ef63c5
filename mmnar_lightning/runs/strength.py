"""Chooses how much the network counts beside the additive head, on the rows that chose its epoch."""

from collections.abc import Sequence

from lightning import Trainer
from torch import nn

from data_modules.vocabulary import TaskKind
from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO
from mmnar_lightning.console import say
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.losses.multitask import RunningLoss
from mmnar_lightning.model import NOT_CHOSEN, MMNARModel
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, folders
from mmnar_lightning.runs.resume import read_best
from mmnar_lightning.runs.run import Run


def choose(run: Run, trainer: Trainer) -> None:
    """Choose the strength of a trained network by the log-loss of its held-out rows; every rank must call it.

    The rows are those of val; with inner folds those of train and val, each predicted where it was held out. `best` is
    written again with the strength. One that has it, or a network without an additive head, is left as it is.

    Args:
        run: trained.
        trainer: of the run.
    """
    candidates = run.config.model.additive.strengths
    checkpoint = read_best(run.folder, run.cohort.fingerprint)
    module = build.build_module(run.config, run.cohort, initialised=False)
    load_weights(module, checkpoint["state_dict"], str(run.folder / folders.BEST))
    if of(module.model) != NOT_CHOSEN:
        return
    device, context = trainer.strategy.root_device, trainer.precision_plugin.forward_context
    module.to(device)

    def held_out(strength: float) -> ScoredRows:
        _set(module.model, strength)
        return predict(module, run.datamodule.val_dataloader(), device, context)

    chosen = best_of(candidates, held_out(0.0), held_out(1.0), module.objective.kind)
    _set(module.model, chosen)
    checkpoint["state_dict"] = {name: value.cpu() for name, value in module.state_dict().items()}
    if trainer.is_global_zero:
        AtomicCheckpointIO().save_checkpoint(checkpoint, run.folder / folders.BEST)
    trainer.strategy.barrier()
    say(f"strength of the network beside the additive head: {chosen:g}")


def best_of(candidates: Sequence[float], without: ScoredRows, whole: ScoredRows, kind: TaskKind) -> float:
    """Choose among strengths by the mean loss of the tasks; of equal ones the largest.

    Args:
        candidates: strengths.
        without: rows with the logits of strength 0.
        whole: the same rows with those of strength 1.
        kind: of the tasks.

    Returns:
        The chosen strength.
    """

    def loss(strength: float) -> float:
        running = RunningLoss(0.0, kind)
        running.add(without.logits.lerp(whole.logits, strength), whole.label, whole.label_mask)
        return float(running.means().mean())

    return min(sorted(candidates, reverse=True), key=loss)


def of(model: nn.Module) -> float | None:
    """The strength of a network; None without an additive head."""
    found = [member.strength for member in _members(model)]
    return None if not found or found[0] is None else float(found[0])


def _set(model: nn.Module, strength: float) -> None:
    for member in _members(model):
        assert member.strength is not None
        member.strength.fill_(strength)


def _members(model: nn.Module) -> list[MMNARModel]:
    members = model.members if isinstance(model, FoldEnsemble) else [model]
    return [member for member in members if isinstance(member, MMNARModel)]
