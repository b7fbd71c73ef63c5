"""The commands: build the parts and run them."""

import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from lightning import Trainer

from data_modules.cohorts.labels import check_classes
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import refuse_unread
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.evaluation import diagnose, rectify
from mmnar_lightning.evaluation.predict import PredictedRows, predict
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.report.tables import show_cohort
from mmnar_lightning.runs import build, folders, results, transfer
from mmnar_lightning.runs import estimator as fitting
from mmnar_lightning.runs.resume import checkpoint_to_resume, identity, read_checkpoint, say_ranks
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer

SIMULATED = (
    "simulated data: no release was named, so patients are drawn from the causal model of docs/simulation.md; "
    "set MIMIC_ROOT or EICU_ROOT for real ones"
)


class Run(NamedTuple):
    """What trains a network and scores it."""

    trainer: Trainer
    metrics: PatternMetrics


@signals.handled()
def train(config: ExperimentConfig) -> Path:
    """Cohort, model, fit, and the test split unless `evaluate=false`; returns the run's folder."""
    refuse_unread(config)
    say_simulated(config)
    launch.init_process_group()
    datamodule = _open(config)
    transfer.check(config, datamodule.cohort)
    at_once = build.is_fitted_at_once(config)
    needed = (folders.CONFIG,) if at_once else (folders.LAST, folders.PREVIOUS)
    with folders.opened(config, *needed) as folder:
        if _is_finished(folder, config):
            _show_finished(config, folder)
        elif at_once:
            _fit_at_once(config, datamodule, folder)
        else:
            _train(config, datamodule, folder)
    _say_dropped(datamodule)
    say_simulated(config)
    return folder


def _is_finished(folder: Path, config: ExperimentConfig) -> bool:
    return (folder / folders.DONE).is_file() and (results.is_done(folder) or not config.evaluate)


def _show_finished(config: ExperimentConfig, folder: Path) -> None:
    say(f"{folder} is finished (it holds {folders.DONE}); there is nothing to go on with")
    if results.is_done(folder):
        results.show_again(folder, config)


def _train(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path) -> None:
    """Fit a network, from the last checkpoint if there is one."""
    start = checkpoint_to_resume(folder, datamodule.cohort.fingerprint)
    module = build.build_module(config, datamodule)
    run = _prepare(config, datamodule, folder, start.run_id if start else None)
    say(f"run: {folder}{f' (resumed {start})' if start else ''}")
    say_ranks(run.trainer, config.loader.batch_size, start)
    if not (folder / folders.DONE).is_file():
        _fit(run.trainer, module, datamodule, start.path if start else None)
    if results.is_done(folder):
        results.show_again(folder, config)
    else:
        _rectify_and_evaluate(config, datamodule, folder, run)
    if run.trainer.is_global_zero:
        _finish(folder)


def _prepare(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, run_id: str | None = None) -> Run:
    metrics = build_pattern_metrics(config, datamodule)
    part = len(list((folder / "logs").glob("*")))
    return Run(build_trainer(config, datamodule, folder, metrics, part, run_id), metrics)


def _fit_at_once(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path) -> None:
    """Fit an estimator; a resumed run is fitted again unless it was evaluated."""
    say(f"run: {folder}")
    estimator = fitting.fit(config, datamodule, folder)
    if config.evaluate:
        _evaluate_at_once(config, datamodule, folder, estimator)
    _finish(folder)


def _evaluate_at_once(
    config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, estimator: Estimator
) -> None:
    found = transfer.score_at_once(config, datamodule.cohort, estimator, folder)
    fitting.evaluate(config, datamodule, folder, estimator, found)


def _fit(trainer: Trainer, module: MMNARModule, datamodule: CohortDataModule, checkpoint: Path | None) -> None:
    with warnings.catch_warnings(), signals.deferred():
        if checkpoint is not None:
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        signals.raise_if_requested(f" after step {trainer.global_step}, the last one; it is saved")


@signals.handled()
def evaluate(config: ExperimentConfig) -> Path:
    """Read the test split with the best checkpoint of a run; done once, then only shown."""
    folder = Path(config.run) if config.run else folders.newest_run(config, folders.BEST, folders.FIT)
    if not any((folder / name).is_file() for name in (folders.BEST, folders.FIT)):
        raise ConfigError(f"run={config.run}: {folder} holds no {folders.BEST}")
    if results.is_done(folder):
        results.show_again(folder, config)
        return folder
    config = folders.settings_of(folder, config)
    datamodule = _open(config)
    if build.is_fitted_at_once(config):
        _evaluate_at_once(config, datamodule, folder, fitting.fit(config, datamodule, folder))
        _finish(folder)
        return folder
    run_id = identity(read_checkpoint(folder / folders.BEST, datamodule.cohort.fingerprint))["run_id"]
    run = _prepare(config, datamodule, folder, run_id)
    _rectify_and_evaluate(replace(config, evaluate=True), datamodule, folder, run)
    if run.trainer.is_global_zero:
        _finish(folder)
    return folder


def _open(config: ExperimentConfig) -> CohortDataModule:
    """Build and open the cohort, and say what a person must know of it."""
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    if config.evaluate and not len(datamodule.cohort.rows("test")):
        raise ConfigError("the test split has no row; raise cohort.split.test, or train with evaluate=false")
    show_cohort(datamodule.cohort.manifest, config.privacy.min_count)
    _say_dropped(datamodule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_classes(datamodule.cohort.manifest["prevalence"])
    for entry in caught:
        warn(f"{entry.category.__name__}: {entry.message}")
    return datamodule


def say_simulated(config: ExperimentConfig) -> None:
    if config.simulated:
        warn(SIMULATED)


def _say_dropped(datamodule: CohortDataModule) -> None:
    for line in (*datamodule.cohort.manifest["dropped"], *datamodule.cohort.left_out):
        warn(line)


def _rectify_and_evaluate(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, run: Run) -> None:
    """Fit the rectifier on the best weights unless that was done, then read the test rows if they are asked for.

    Several ranks stop together, between these stages; one process stops where it is.
    """
    with signals.deferred(run.trainer.world_size > 1):
        _rectify_and_score(config, datamodule, folder, run)


def _rectify_and_score(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, run: Run) -> None:
    module = build.build_module(config, datamodule)
    checkpoint = read_checkpoint(folder / folders.BEST, datamodule.cohort.fingerprint)
    module.load_state_dict(checkpoint["state_dict"])
    if module.loss_offset is not None and not module.loss_offset.is_fitted:
        warn(
            f"the best epoch is {checkpoint['epoch']}, before rectifier.start_epoch={config.rectifier.start_epoch}: "
            "its model has no offset of the loss"
        )
    calibration = _fit_rectifier(module, checkpoint, datamodule, folder, run.trainer)
    signals.raise_if_requested()
    if config.evaluate:
        # Under fsdp the Trainer leaves a module in shards; what else reads the rows needs it whole.
        tested = deepcopy(module) if config.trainer.strategy == "fsdp" else module
        run.trainer.test(tested, datamodule=datamodule, verbose=False)
        signals.raise_if_requested()
        fitted = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]}
        diagnostics = diagnose.diagnose(
            module.to(run.trainer.strategy.root_device),
            datamodule.cohort,
            datamodule.test_dataloader(),
            run.trainer.precision_plugin.forward_context,
            num_replicates=config.evaluation.num_replicates,
            seed=config.seed,
        )
        rectified = rectify.rectify(module, run.metrics.rows, calibration, datamodule.cohort) if calibration else None
        target = transfer.score(config, datamodule.cohort, module, folder, run.trainer)
        signals.raise_if_requested()
        if run.trainer.is_global_zero:
            results.write(config, datamodule, folder, run.metrics.rows, fitted, rectified, diagnostics, target)


def _fit_rectifier(
    module: MMNARModule, checkpoint: dict[str, Any], datamodule: CohortDataModule, folder: Path, trainer: Trainer
) -> PredictedRows | None:
    """Fit it on half B unless the checkpoint holds it; gives half B as f predicts it, None without a rectifier.

    The checkpoint is written again with what was fitted, whole or not, before a test row is read.
    """
    if module.rectifier is None:
        return None
    device = trainer.strategy.root_device
    loader = datamodule.rows_dataloader(datamodule.cohort.calibration_half("B"))
    rows = predict(module.to(device), loader, device, trainer.precision_plugin.forward_context)
    if module.rectifier.is_fitted:
        module.rectifier.recount(**rows.labelled)
    else:
        module.rectifier.fit(**rows.labelled, cohort=module.cohort)
        checkpoint["state_dict"] = {name: value.cpu() for name, value in module.state_dict().items()}
        if trainer.is_global_zero:
            AtomicCheckpointIO().save_checkpoint(checkpoint, folder / folders.BEST)
    return rows


def _finish(folder: Path) -> None:
    """Join the CSV files of all starts into metrics.csv, and mark the run as done."""
    paths = sorted((folder / "logs").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    whole = [text[: text.rfind("\n") + 1] for text in texts]  # a start that was killed may have written half a line
    parts = [pl.read_csv(text.encode(), infer_schema_length=None) for text in whole if text]
    if parts:
        joined = pl.concat(parts, how="diagonal_relaxed")
        joined.write_csv(folder / "metrics.csv")
    (folder / folders.DONE).touch()
    say(f"run: {folder}")
