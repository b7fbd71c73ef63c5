"""Fits the network of a run with Lightning, from its last checkpoint if there is one."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from lightning import Trainer

from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.compiled import CompiledLosses, full_sizes
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.console import say
from mmnar_lightning.distributed import signals
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, folders, strength
from mmnar_lightning.runs.devices import threads_of_training
from mmnar_lightning.runs.resume import checkpoint_to_resume, print_ranks
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer
from mmnar_lightning.runs.weights import weighted


@dataclass(frozen=True)
class Trained:
    """The Trainer of a run, and its scoring callback."""

    trainer: Trainer
    metrics: PatternMetrics


def train(run: Run) -> Trained:
    """Fit the network of a run unless it is done; every rank must call it.

    Returns:
        Its Trainer; the weights are in the run's checkpoints.
    """
    resume_point = checkpoint_to_resume(run.folder, run.cohort.fingerprint)
    module = build.build_module(run.config, run.cohort, initialised=resume_point is None)
    if resume_point is not None:
        resume_point.check(module)
    trained = prepare(run, resume_point.run_id if resume_point else None)
    say(f"run: {run.folder}{f' (resumed {resume_point})' if resume_point else ''}")
    print_ranks(trained.trainer, run.config.loader.batch_size, resume_point)
    if not (run.folder / folders.DONE).is_file():
        _fit(run, trained.trainer, module, resume_point.path if resume_point else None)
        strength.choose(run, trained.trainer, trained.metrics)
    return trained


def prepare(run: Run, run_id: str | None = None) -> Trained:
    """Build the Trainer of a run.

    Args:
        run: to train or evaluate.
        run_id: of a run that was started before, from its checkpoint.

    Returns:
        The Trainer and its scoring callback.
    """
    metrics = build_pattern_metrics(run)
    part = len(list((run.folder / "logs").glob("*")))
    return Trained(build_trainer(run, metrics, part, run_id), metrics)


def _fit(run: Run, trainer: Trainer, module: MMNARModule, checkpoint: Path | None) -> None:
    run.datamodule.use(weighted(run.config, run.cohort))
    module.compiled = compiled_losses(run, trainer, module)
    threads = threads_of_training(run.config, run.cohort.item_modalities, trainer.strategy.root_device)
    with warnings.catch_warnings(), signals.deferred(), threads:
        if checkpoint is not None:
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, datamodule=run.datamodule, ckpt_path=checkpoint, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        signals.raise_if_requested(f" after step {trainer.global_step}, the last one; it is saved")


def compiled_losses(run: Run, trainer: Trainer, module: MMNARModule) -> CompiledLosses | None:
    """The compiled losses of a training; None unless `trainer.compile` asks for them."""
    config = run.config
    if config.trainer.compile == "none":
        return None
    if trainer.world_size > 1:
        raise ConfigError(
            f"trainer.compile={config.trainer.compile} is for one device, and there are {trainer.world_size}; omit it"
        )
    return CompiledLosses(
        module.model, config.trainer.compile, full_sizes(config.loader.batch_size, config.trainer.accumulate)
    )
