"""A single run: trains a network or an estimator, and evaluates it once."""

import warnings
from dataclasses import replace
from pathlib import Path

import polars as pl

from data_modules.cohorts.labels import check_outcomes
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.console import say, warn, warn_of_all_runs
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.report.cohort import show_cohort
from mmnar_lightning.runs import (
    blend,
    build,
    done,
    elsewhere,
    estimator,
    folders,
    model_folder,
    network,
    requests,
    results,
    transfer,
    value_results,
)
from mmnar_lightning.runs.cohorts import print_simulated
from mmnar_lightning.runs.devices import check_cores
from mmnar_lightning.runs.newest import run_of
from mmnar_lightning.runs.run import Run


@signals.handled()
def train(config: ExperimentConfig) -> Path:
    """Build the cohort and the model, fit, and evaluate the test split unless `evaluate=false`; returns the folder."""
    for line in check_ignored(config):
        warn(line)
    print_simulated(config)
    launch.init_process_group()
    is_estimator = build.is_estimator(config)
    if not is_estimator:
        check_cores(config)
    datamodule = _open(config)
    transfer.check(config, datamodule.cohort)
    blend.check(config, datamodule.cohort)
    needed = (folders.CONFIG,) if is_estimator else (folders.LAST, folders.PREVIOUS)
    with folders.opened(config, *needed) as folder:
        run = Run(config, datamodule, folder)
        if is_finished(folder, config):
            _print_finished(run)
        elif is_estimator:
            estimator.train(run)
            finish(folder)
        elif network.train(run):
            finish(folder)
    _print_dropped(datamodule)
    print_simulated(config)
    results.say_folder(folder)
    return folder


@signals.handled()
def evaluate(config: ExperimentConfig) -> Path:
    """Evaluate the test split with the best checkpoint of a run; later calls only print the results.

    Another request than the one that the results answer is refused.

    Returns:
        The run's folder.

    Raises:
        ConfigError: when the folder has no trained run or, from `read_checkpoint`, was trained on another cohort.
    """
    folder = run_of(config, folders.BEST, folders.FIT)
    if not any((folder / name).is_file() for name in (folders.BEST, folders.FIT)):
        raise ConfigError(f"run={config.run}: {folder} has no {folders.BEST}")
    if config.evaluation.elsewhere != "none":
        return elsewhere.evaluate(folder, config)
    done.verify(folder)
    if results.is_done(folder):
        requests.refuse_other_request(folder, config)
        results.print_saved_results(folder, folders.settings_of(folder, config))
        _save_missing_model(folder, config)
        results.say_folder(folder)
        return folder
    trained = folders.settings_of(folder, config)
    requests.refuse_other_target(folder, trained, config)
    requests.refuse_unnamed_code(folder, trained, config)
    config = replace(trained, evaluate=True)
    run = Run(config, _open(config), folder)
    if build.is_estimator(config):
        estimator.evaluate(run, estimator.fit(run))
        finish(folder)
    elif network.evaluate(run):
        finish(folder)
    results.say_folder(folder)
    return folder


def _save_missing_model(folder: Path, config: ExperimentConfig) -> None:
    """Write the model folder of an evaluated run if it was removed, or if an earlier version wrote none."""
    if model_folder.is_there(folder) or not launch.is_rank_zero():
        return
    merged = folders.settings_of(folder, config)
    requests.refuse_unnamed_code(folder, merged, config)
    run = Run(merged, _open(merged), folder)
    if build.is_estimator(merged):
        estimator.save_model(run, estimator.fit(run))
    else:
        network.save_model(run)


def is_finished(folder: Path, config: ExperimentConfig) -> bool:
    """Whether a run is complete under these settings; a damaged one is refused."""
    done.verify(folder)
    return (folder / folders.DONE).is_file() and (results.is_done(folder) or not config.evaluate)


def finish(folder: Path) -> None:
    """Join the CSV files of all starts into metrics.csv, and mark the run as done."""
    paths = sorted((folder / "logs").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    whole = [text[: text.rfind("\n") + 1] for text in texts]  # a killed start may have written an incomplete line
    parts = [pl.read_csv(text.encode(), infer_schema_length=None) for text in whole if text]
    if parts:
        joined = pl.concat(parts, how="diagonal_relaxed")
        joined.write_csv(folder / "metrics.csv")
    done.mark(folder)


def _print_finished(run: Run) -> None:
    say(f"{run.folder} is finished (it has {folders.DONE})")
    if results.is_done(run.folder):
        requests.refuse_other_request(run.folder, run.config)
        results.print_saved_results(run.folder, run.config)


def _open(config: ExperimentConfig) -> CohortDataModule:
    """Build and open the cohort, and print its counts and warnings."""
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    if datamodule.cohort.kind == "value":
        value_results.refuse(config)
    if config.evaluate and not len(datamodule.cohort.rows("test")):
        raise ConfigError("the test split has no row; raise cohort.split.test, or train with evaluate=false")
    show_cohort(datamodule.cohort.manifest, config.privacy.min_count)
    _print_dropped(datamodule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_outcomes(datamodule.cohort.manifest)
    for entry in caught:
        warn(f"{entry.category.__name__}: {entry.message}")
    return datamodule


def _print_dropped(datamodule: CohortDataModule) -> None:
    for line in datamodule.cohort.manifest["dropped"]:
        warn_of_all_runs(line)
    for line in datamodule.cohort.left_out:
        warn(line)
