"""Trains a run again without each part of the method, and compares them out of fold (`diagnostics.parts`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from mmnar_lightning.config.compose import save
from mmnar_lightning.config.experiment import DiagnosticsConfig, ExperimentConfig
from mmnar_lightning.config.parts import parts_of, without
from mmnar_lightning.console import say
from mmnar_lightning.distributed import signals
from mmnar_lightning.evaluation.gains import gains as differences
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.evaluation.prediction_table import predictions
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, done, fit, folders, gather
from mmnar_lightning.runs.resume import read_best
from mmnar_lightning.runs.run import Run

FOLDER = "parts"
"""Subfolder of the run: predictions.parquet of the held-out rows, and a folder for each training without a part."""


def announce(config: ExperimentConfig) -> None:
    """Print the cost, and refuse a part that cannot be left out, before anything is trained."""
    if not _is_on(config):
        return
    names = parts_of(config)
    for name in names:
        without(config, name)
    say(f"diagnostics.parts: {len(names)} + 1 trainings, one without each of {', '.join(names) or 'no part'}")


def gains(run: Run, trainer: Trainer) -> dict[str, Any] | None:
    """Train the run without each of its parts, and compare the rows of the inner folds; every rank must call it.

    No test row is read. A training that is done is not repeated, and an unfinished one is resumed.

    Args:
        run: trained.
        trainer: of the run.

    Returns:
        part -> task -> paired differences on the rows of train and val, each predicted where it was held out: with all
        parts minus without this one. None without `diagnostics.parts`; empty on all ranks but rank zero.
    """
    if not _is_on(run.config):
        return None
    names = parts_of(run.config)
    folder = run.folder / FOLDER
    with signals.deferred(trainer.world_size > 1):
        _write(run, _held_out(run, trainer), folder)
        for name in names:
            signals.raise_if_requested()
            _train_without(run, name, folder / name)
        if not trainer.is_global_zero:
            return {}
        full = _read(folder, run.cohort.tasks)
        return {name: _compared(run, _read(folder / name, run.cohort.tasks), full) for name in names}


def _is_on(config: ExperimentConfig) -> bool:
    is_possible = config.baseline.name == "none" and config.evaluation.inner_folds > 0
    return config.diagnostics.parts and is_possible and config.evaluate


def _settings(config: ExperimentConfig, name: str) -> ExperimentConfig:
    """The settings of the training without a part, which can also run on its own."""
    return replace(
        without(config, name),
        evaluate=False,
        resume="",
        diagnostics=DiagnosticsConfig(),
        evaluation=replace(config.evaluation, blend=False),
        wandb=replace(config.wandb, enabled=False),  # its runs are those of the user
    )


def _train_without(run: Run, name: str, folder: Path) -> None:
    if (folder / folders.DONE).is_file():
        return
    config = _settings(run.config, name)
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    part = Run(config, datamodule, folder)
    _save_settings(part)
    trained = fit.train(part)
    _write(part, _held_out(part, trained.trainer), folder)
    _mark_done(folder)


@rank_zero_only
def _save_settings(part: Run) -> None:
    part.folder.mkdir(parents=True, exist_ok=True)
    save(part.config, part.folder / folders.CONFIG)


@rank_zero_only
def _mark_done(folder: Path) -> None:
    done.mark(folder)


def _held_out(run: Run, trainer: Trainer) -> ScoredRows:
    """Predict the rows of train and val with the best weights, each by the members that it was held out from."""
    path = run.folder / folders.BEST
    module = build.build_module(run.config, run.cohort, initialised=False)
    load_weights(module, read_best(run.folder, run.cohort.fingerprint)["state_dict"], str(path))
    device, context = trainer.strategy.root_device, trainer.precision_plugin.forward_context
    return predict(module.to(device), run.datamodule.val_dataloader(), device, context)


@rank_zero_only
def _write(run: Run, rows: ScoredRows, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    table = predictions(rows, run.cohort.table, run.cohort.tasks, run.cohort.train_patterns)
    table.write_parquet(folder / folders.PREDICTIONS)


def _read(folder: Path, tasks: list[str]) -> ScoredRows:
    done.verify(folder)
    return gather.as_rows(pl.read_parquet(folder / folders.PREDICTIONS), tasks, gather.LOGIT)


def _compared(run: Run, less: ScoredRows, full: ScoredRows) -> dict[str, Any]:
    assert less.row_id.equal(full.row_id), "the folds hold the same rows"
    found: dict[str, Any] = to_json(differences(less, full, run.cohort.tasks, run.scoring))
    return found
