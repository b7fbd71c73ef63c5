"""The Trainer of a run, with its callbacks, loggers and devices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks, monitor_of
from mmnar_lightning.callbacks.divergence import Divergence
from mmnar_lightning.callbacks.loss_offset import LossOffsetFit
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.callbacks.preemption import DisabledSignalConnector, Preemption
from mmnar_lightning.callbacks.progress import Progress
from mmnar_lightning.callbacks.run_identity import RunIdentity
from mmnar_lightning.callbacks.step_seed import StepSeed
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.distributed.launch import Launch
from mmnar_lightning.runs.devices import check_compile, check_cores, check_precision, launch_of
from mmnar_lightning.runs.folders import LAST, run_id
from mmnar_lightning.runs.loggers import build_loggers
from mmnar_lightning.runs.named import build_named, refuse_unknown
from mmnar_lightning.runs.run import Run

LOG_EVERY_STEPS = 50
PROFILE = "profile"
"""Folder of the profiler's report, in that of the run."""


def build_pattern_metrics(run: Run) -> PatternMetrics:
    """Build the callback that scores every task and pattern."""
    cohort = run.cohort
    return PatternMetrics(
        cohort.tasks,
        cohort.names,
        cohort.scored_patterns,
        run.config.privacy.min_count,
        totals_only=run.scores_a_fold,
        deviations=run.cohort.deviations,
        returned=False,
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
    check_cores(config)
    check_precision(config)
    check_compile(config, [modality.name for modality in run.cohort.item_modalities])
    loggers = build_loggers(run, part, known_id)
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
        callbacks.append(Progress(refresh_rate=10))
    callbacks += build_named("callbacks", config.callbacks)
    num_batches = _limited(len(run.datamodule.train_dataloader()), settings.extra.get("limit_train_batches"))
    try:
        monitor = monitor_of(run.cohort.kind, inner_folds=config.evaluation.inner_folds > 0)
        return _trainer(config, folder, loggers, callbacks, num_batches, monitor)
    except MisconfigurationException as error:
        if settings.extra:
            raise ConfigError(f"trainer.extra={settings.extra} or other settings of the trainer: {error}") from None
        devices = f"trainer.accelerator={settings.accelerator} trainer.devices={settings.devices}"
        raise ConfigError(f"{devices}: {error} Use trainer.accelerator=auto or cpu.") from None


def _trainer(
    config: ExperimentConfig,
    folder: Path,
    loggers: list[Logger],
    callbacks: list[Callback],
    num_batches: int,
    monitor: str,
) -> Trainer:
    settings, launch = config.trainer, launch_of(config)
    plugins: list[Any] = [AtomicCheckpointIO(), launch.environment]
    arguments: dict[str, Any] = {
        "accelerator": settings.accelerator,
        "devices": settings.devices if launch.by == "mmnar" else launch.devices,
        "num_nodes": launch.num_nodes,
        "strategy": _strategy(config, launch),
        "precision": settings.precision,
        "max_epochs": settings.max_epochs,
        "accumulate_grad_batches": settings.accumulate,
        "logger": loggers,
        "callbacks": [
            *callbacks,
            *checkpoint_callbacks(folder / "checkpoints", settings.patience, config.objective.pretrain_epochs, monitor),
        ],
        "plugins": plugins,
        "log_every_n_steps": max(1, min(LOG_EVERY_STEPS, num_batches)),
        "num_sanity_val_steps": 0,
        "enable_progress_bar": settings.progress_bar,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "default_root_dir": folder,
        "deterministic": settings.deterministic,
        "profiler": _profiler(settings.profiler, folder / PROFILE),
    }
    try:
        trainer = Trainer(**arguments | _extra(settings.extra))
    except (TypeError, ValueError) as error:
        if not settings.extra:
            raise
        raise ConfigError(f"trainer.extra={settings.extra}: Lightning's Trainer refuses it ({error})") from error
    trainer._signal_connector = DisabledSignalConnector(trainer)
    _hold_signals_of_ranks(trainer)
    return trainer


def _strategy(config: ExperimentConfig, launch: Launch) -> str | Strategy:
    """The strategy; DDP with gradients that are views of its buckets, so that none is copied."""
    settings = config.trainer
    if settings.strategy == "fsdp" and not torch.cuda.is_available():
        raise ConfigError("trainer.strategy=fsdp shards over GPUs, but there is no CUDA device; use ddp")
    several = launch.world_size > 1 or (settings.num_devices is None and torch.cuda.device_count() > 1)
    if settings.strategy == "ddp" or (settings.strategy == "auto" and several):
        return DDPStrategy(gradient_as_bucket_view=True)
    return settings.strategy


def _limited(num_batches: int, limit: Any) -> int:
    """The batches of an epoch under `limit_train_batches`: a number of them, or a share."""
    if limit is None:
        return num_batches
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise ConfigError(f"trainer.extra.limit_train_batches={limit}: expected a number of batches, or a share")
    return min(num_batches, limit) if isinstance(limit, int) else int(num_batches * limit)


def _profiler(kind: str, folder: Path) -> Profiler | None:
    """The profiler of a name, which writes into a folder; None for `none`."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return kinds[kind](dirpath=folder, filename="report") if kind in kinds else None


def _extra(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `trainer.extra`; those that Lightning does not know raise a `ConfigError`."""
    refuse_unknown("trainer.extra", given, Trainer.__init__, "Lightning's Trainer")
    return dict(given)


def _hold_signals_of_ranks(trainer: Trainer) -> None:
    """Start other ranks with signals held back: one that died while it is imported would end the first by SIGKILL."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launch.name_first()
        launcher._call_children_scripts = signals.blocked()(launcher._call_children_scripts)  # type: ignore[method-assign]
