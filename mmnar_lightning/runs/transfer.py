"""A trained model on the test rows of another cohort, its target (docs/transfer.md)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from torch import Tensor

from data_modules import patterns
from data_modules.datamodule import CohortDataModule
from data_modules.loading.alignment import align
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.evaluation import rectify
from mmnar_lightning.evaluation.predict import PredictedRows, predict
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.report.tables import show_cohort
from mmnar_lightning.runs import build, results
from mmnar_lightning.runs import estimator as fitting

FOLDER = "target"
"""Of the run: predictions.parquet and figures of the target's test rows."""


class Target(NamedTuple):
    """A cohort that is read with the tasks, modalities and scales of the source.

    Attributes:
        config: of the target, with what the source decides.
        datamodule: opened; its calibration split is what a rectifier may be fitted on.
        seen: pattern ids of the source's train rows.
    """

    config: ExperimentConfig
    datamodule: CohortDataModule
    seen: Tensor


def open_target(config: ExperimentConfig, source: OpenedCohort) -> Target | None:
    """Build and open the target of an experiment; None where it has none.

    Raises:
        ConfigError: when its release is not named, or its calibration split is needed and empty.
        TransferError: when a model of the source cannot read it.
    """
    if not config.transfer.target:
        return None
    settings = target_config(config)
    datamodule = build.build_datamodule(settings)
    datamodule.prepare_data()
    datamodule.setup()
    datamodule.use(align(datamodule.cohort, source))
    for split in ("test", "calibration") if _is_refitted(config) else ("test",):
        if not len(datamodule.cohort.rows(split)):
            raise ConfigError(f"transfer.target={config.transfer.target}: its {split} split has no row")
    return Target(settings, datamodule, source.train_patterns)


def target_config(config: ExperimentConfig) -> ExperimentConfig:
    """The settings of the target: its cohort is its own, how rows are read and scored is the source's.

    Raises:
        ConfigError: when one of the two is simulated and the other is not.
    """
    # paths.cohort is the source's own: a target that someone wrote names its folder itself.
    paths = [f"paths.{key}={json.dumps(value)}" for key, value in vars(config.paths).items() if key != "cohort"]
    own = load([f"experiment={config.transfer.target}", *paths])
    if own.simulated != config.simulated:
        real, simulated = (config, own) if own.simulated else (own, config)
        raise ConfigError(
            f"transfer.target={config.transfer.target}: paths.{simulated.dataset}_root names no release, so patients "
            f"of {simulated.dataset} would be simulated and those of {real.dataset} real; name both or none"
        )
    shared = ("seed", "simulate", "embed", "rectifier", "evaluation", "privacy")
    loader = replace(config.loader, held_pattern=None)  # a pattern that the source does not learn from
    return replace(own, experiment=config.experiment, loader=loader, **{name: getattr(config, name) for name in shared})


def check(config: ExperimentConfig, source: OpenedCohort) -> None:
    """Show the target, and refuse what could not be tested, before hours are spent on training."""
    target = open_target(config, source)
    if target is None:
        return
    say(f"target: {config.transfer.target}")
    show_cohort(target.datamodule.cohort.manifest, config.privacy.min_count)
    for line in (*target.datamodule.cohort.manifest["dropped"], *target.datamodule.cohort.left_out):
        warn(f"target: {line}")


def score(
    config: ExperimentConfig, source: OpenedCohort, module: MMNARModule, folder: Path, trainer: Trainer
) -> dict[str, Any] | None:
    """Predict and score the target's test rows; all ranks must call it, the first one writes.

    The module belongs to the target afterwards.

    Args:
        config: of the source.
        source: opened.
        module: trained, with a fitted rectifier if it has one.
        folder: of the run.
        trainer: of the run.

    Returns:
        What results.json says of the target; None where there is none, and on all ranks but the first.
    """
    target = open_target(config, source)
    if target is None:
        return None
    target.datamodule.trainer = trainer
    module.cohort = target.datamodule.cohort.fingerprint
    tested = _predict(target, module, "test", trainer)
    calibration = _rectifier_of(target, config, module, tested, trainer)
    if not trainer.is_global_zero:
        return None
    rows = {
        "row_id": tested.row_id,
        "pattern": patterns.encode(tested.present),
        "probability": torch.sigmoid(tested.logits),
        "label": tested.label.where(tested.label_mask, 0.0),
        "label_mask": tested.label_mask,
    }
    after = rectify.rectify(module, rows, calibration, target.datamodule.cohort) if calibration else None
    fitted = {"rectifier": config.transfer.rectifier if after else None}
    return _told(target, folder, rows, fitted, after)


def score_at_once(
    config: ExperimentConfig, source: OpenedCohort, estimator: Estimator, folder: Path
) -> dict[str, Any] | None:
    """As `score`, of an estimator, which has no rectifier."""
    target = open_target(config, source)
    if target is None:
        return None
    rows = fitting.test_rows(config, target.datamodule, estimator)
    return _told(target, folder, rows, {"rectifier": None}, None)


def _is_refitted(config: ExperimentConfig) -> bool:
    has_rectifier = config.rectifier.fit != "none" and not build.is_fitted_at_once(config)
    return has_rectifier and config.transfer.rectifier == "target"


def _predict(target: Target, module: MMNARModule, split: str, trainer: Trainer) -> PredictedRows:
    device = trainer.strategy.root_device
    loader = target.datamodule.eval_dataloader(split)
    return predict(module.to(device), loader, device, trainer.precision_plugin.forward_context)


def _rectifier_of(
    target: Target, config: ExperimentConfig, module: MMNARModule, tested: PredictedRows, trainer: Trainer
) -> PredictedRows | None:
    """Fit the rectifier again on the target's calibration rows, or carry it over; gives the rows that it may know.

    Carried over, no label of the target is used: the rows are none.
    """
    if module.rectifier is None:
        return None
    if config.transfer.rectifier == "source":
        return PredictedRows(**{name: column[:0] for name, column in vars(tested).items()})
    calibration = _predict(target, module, "calibration", trainer)
    module.rectifier = build.build_rectifier(config, target.datamodule)
    module.rectifier.fit(**calibration.labelled, cohort=module.cohort)
    return calibration


def _told(
    target: Target,
    folder: Path,
    rows: Mapping[str, Tensor],
    fitted: Mapping[str, Any],
    after: rectify.Rectification | None,
) -> dict[str, Any]:
    """Write what the test rows leave; patterns are unseen that no train row of the source has."""
    (folder / FOLDER).mkdir(exist_ok=True)
    content = results.leave(target.config, target.datamodule, folder / FOLDER, rows, fitted, after, target.seen)
    return {**content, "run_id": folder.name}
