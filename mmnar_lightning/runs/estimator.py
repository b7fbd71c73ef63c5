"""Runs of estimators that are fitted at once, without Lightning; they leave the files of every other run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_modules import stage
from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from data_modules.loading.arrays import ModalityArray
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import warn
from mmnar_lightning.metrics.pattern import PatternMetric, mask_small_cells
from mmnar_lightning.runs import build, folders, results
from mmnar_lightning.runs.trainer import build_loggers


def fit(config: ExperimentConfig, datamodule: CohortDataModule, folder: Path) -> Estimator:
    """Fit on train, choose the number of iterations on val, and log both.

    The estimator itself is not stored: fitting again gives the same one, which is how `evaluate` comes by it.
    `fit.json` holds what it must agree with.

    Raises:
        ConfigError: when the run was fitted before, on another cohort or to another number of iterations.
    """
    estimator = build.build_estimator(config, datamodule)
    raw = build.reads_raw_tables(config)
    val = batch_of(datamodule, "val", raw_tables=raw)
    estimator.fit(batch_of(datamodule, "train", raw_tables=raw), val)
    for line in estimator.remarks:
        warn(line)
    content = {"cohort_fingerprint": datamodule.cohort.fingerprint, "iterations": estimator.iterations}
    path = folder / folders.FIT
    if path.is_file():
        _check_again(path, content)
    else:
        _log(config, datamodule, folder, estimator, val)
        stage.write_json(path, content)
    return estimator


def evaluate(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    estimator: Estimator,
    target: Mapping[str, Any] | None = None,
) -> None:
    """Predict the test rows and write what an evaluation leaves, and what was found on a target."""
    rows = test_rows(config, datamodule, estimator)
    without = len(datamodule.cohort.rows("test")) - len(rows["row_id"])
    if without:
        warn(f"{without} test rows have no prediction and are not scored; {len(rows['row_id'])} are")
    fitted = {"iterations": estimator.iterations, "rows_without_prediction": without}
    results.write(config, datamodule, folder, rows, fitted, target=target)


def test_rows(config: ExperimentConfig, datamodule: CohortDataModule, estimator: Estimator) -> dict[str, Tensor]:
    """The test rows of a cohort with their predictions, as `PatternMetric.rows` gives them."""
    batch = batch_of(datamodule, "test", raw_tables=build.reads_raw_tables(config))
    return score(datamodule, estimator, batch).rows()


def score(datamodule: CohortDataModule, estimator: Estimator, batch: Batch) -> PatternMetric:
    """The metric of a run, holding a batch and its predictions; rows without a prediction are left out."""
    names = [modality.name for modality in datamodule.cohort.modalities]
    metric = PatternMetric(datamodule.cohort.tasks, names, datamodule.cohort.patterns)
    probability: Tensor = estimator.predict(batch)
    made = probability.isfinite().all(1)
    metric.update(
        row_id=batch.row_id[made],
        present=batch.present[made],
        probability=probability[made],
        label=batch.label[made],
        label_mask=batch.label_mask[made],
    )
    return metric


def batch_of(datamodule: CohortDataModule, split: str, *, raw_tables: bool) -> Batch:
    """All rows of a split; raw tables are as they were stored, NaN where a value was not measured."""
    rows = datamodule.cohort.rows(split)
    batch = datamodule.cohort.arrays.gather(rows)
    if not raw_tables:
        return batch
    arrays = datamodule.cohort.arrays.arrays
    tables: dict[str, Any] = {
        modality.name: torch.from_numpy(array.values[rows.numpy()])
        for modality in datamodule.cohort.modalities
        if modality.kind == "table" and isinstance(array := arrays[modality.name], ModalityArray)
    }
    return replace(batch, inputs=batch.inputs | tables)


def _check_again(path: Path, content: dict[str, Any]) -> None:
    before = stage.read_json(path)
    if before != content:
        changed = ", ".join(f"{key}: {before.get(key)} then, {content[key]} now" for key in content)
        raise ConfigError(
            f"{path.parent} was fitted on another cohort, or by other versions of the libraries ({changed}); name the "
            "release, or the cohort folder, that the run was trained on, as it was then"
        )


def _log(
    config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, estimator: Estimator, val: Batch
) -> None:
    """Validation losses by iteration, and at the end the metrics of every task and pattern, to all loggers."""
    values = mask_small_cells(score(datamodule, estimator, val).compute(), config.privacy.min_count)
    last = max(map(len, estimator.losses.values()))
    for logger in build_loggers(config, folder, 0):
        for step in range(last):
            losses = {f"val/loss/{task}": curve[step] for task, curve in estimator.losses.items() if step < len(curve)}
            logger.log_metrics(losses, step=step + 1)
        logger.log_metrics({f"val/{key}": value for key, value in values.items()}, step=last)
        logger.save()
        logger.finalize("success")
