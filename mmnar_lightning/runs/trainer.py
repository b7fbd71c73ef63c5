"""The Trainer of a run, with its callbacks, loggers and devices."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from mmnar_lightning.callbacks.checkpoints import INNER_MONITOR, MONITOR, AtomicCheckpointIO, checkpoint_callbacks
from mmnar_lightning.callbacks.divergence import Divergence
from mmnar_lightning.callbacks.loss_offset import LossOffsetFit
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.callbacks.preemption import DisabledSignalConnector, Preemption
from mmnar_lightning.callbacks.run_identity import RunIdentity
from mmnar_lightning.callbacks.step_seed import StepSeed
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.distributed import signals
from mmnar_lightning.distributed.launch import Launch, detect_launch
from mmnar_lightning.runs.folders import LAST, run_id
from mmnar_lightning.runs.loggers import build_loggers
from mmnar_lightning.runs.run import Run

LOG_EVERY_STEPS = 50


def build_pattern_metrics(run: Run) -> PatternMetrics:
    """Build the callback that scores every task and pattern."""
    cohort = run.cohort
    return PatternMetrics(
        cohort.tasks,
        cohort.names,
        cohort.scored_patterns,
        run.config.privacy.min_count,
        totals_only=run.scores_a_fold,
    )


def build_trainer(run: Run, metrics: PatternMetrics, part: int, known_id: str | None = None) -> Trainer:
    """Build the Trainer of a run; `part` and `known_id` are those of `build_loggers`.

    Returns:
        The Trainer.

    Raises:
        ConfigError: for devices that this machine does not have.
    """
    config, folder = run.config, run.folder
    settings = config.trainer
    if settings.strategy == "fsdp" and not torch.cuda.is_available():
        raise ConfigError("trainer.strategy=fsdp shards over GPUs, but there is no CUDA device; use ddp")
    loggers = build_loggers(run, part, known_id)
    check_cores(config)
    callbacks: list[Callback] = [
        Divergence(str(folder / LAST), config.optim.lr, settings.precision),
        Preemption(str(folder / LAST), settings.checkpoint_every_steps),
        RunIdentity(known_id or run_id(folder)),
        StepSeed(config.seed),
        metrics,
        LearningRateMonitor("step"),
    ]
    if config.rectifier.fit != "none" and config.rectifier.loss_offset:
        callbacks.append(LossOffsetFit(config.rectifier, config.objective.pretrain_epochs))
    if settings.progress_bar:
        callbacks.append(RichProgressBar(refresh_rate=10))
    num_batches = len(run.datamodule.train_dataloader())
    try:
        return _trainer(config, folder, loggers, callbacks, num_batches)
    except MisconfigurationException as error:
        devices = f"trainer.accelerator={settings.accelerator} trainer.devices={settings.devices}"
        raise ConfigError(f"{devices}: {error} Use trainer.accelerator=auto or cpu.") from None


def check_cores(config: ExperimentConfig) -> None:
    """Refuse more ranks on processors than this process may use: they would only wait for each other.

    Raises:
        ConfigError: with the number of cores.
    """
    on_processors = config.trainer.accelerator == "cpu" or not torch.cuda.is_available()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if detect_launch() is None and on_processors and config.trainer.devices > cores:
        raise ConfigError(
            f"trainer.devices={config.trainer.devices}: this process may use {cores} processor cores, and no GPU is "
            f"asked for; use trainer.devices={cores} or fewer"
        )


def _devices(config: ExperimentConfig) -> Launch:
    """The processes that torchrun or srun started, else `trainer.devices` on this machine."""
    launch, devices = detect_launch(), config.trainer.devices
    if launch is None:
        return Launch("mmnar", devices, 1)
    if devices not in {1, launch.devices}:
        raise ConfigError(
            f"trainer.devices={devices}, but {launch.by} started {launch.devices} processes on each machine; omit it"
        )
    return launch


def _trainer(
    config: ExperimentConfig, folder: Path, loggers: list[Logger], callbacks: list[Callback], num_batches: int
) -> Trainer:
    settings, launch = config.trainer, _devices(config)
    monitor = INNER_MONITOR if config.evaluation.inner_folds else MONITOR
    plugins: list[Any] = [AtomicCheckpointIO(), launch.environment]
    trainer = Trainer(
        accelerator=settings.accelerator,
        devices=launch.devices,
        num_nodes=launch.num_nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate,
        logger=loggers,
        callbacks=[
            *callbacks,
            *checkpoint_callbacks(folder / "checkpoints", settings.patience, config.objective.pretrain_epochs, monitor),
        ],
        plugins=plugins,
        log_every_n_steps=max(1, min(LOG_EVERY_STEPS, num_batches)),
        num_sanity_val_steps=0,
        enable_progress_bar=settings.progress_bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer._signal_connector = DisabledSignalConnector(trainer)
    _hold_signals_of_ranks(trainer)
    return trainer


def _hold_signals_of_ranks(trainer: Trainer) -> None:
    """Start other ranks with signals held back: one that died while it is imported would end the first by SIGKILL."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher._call_children_scripts = signals.blocked()(launcher._call_children_scripts)  # type: ignore[method-assign]
