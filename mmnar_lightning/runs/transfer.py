"""Transfer: scores a trained model on the test rows of another cohort, the target (docs/transfer.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from data_modules.datamodule import CohortDataModule
from data_modules.loading.alignment import Source, align
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.evaluation import rectify
from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.scores import score as score_rows
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.report.cohort import show_cohort
from mmnar_lightning.runs import build, results
from mmnar_lightning.runs import estimator as runs_estimator
from mmnar_lightning.runs.run import Run, scoring_of

FOLDER = "target"
"""Subfolder of the run with predictions.parquet and figures of the target's test rows."""


@dataclass(frozen=True)
class Target:
    """A cohort that is read with the tasks, modalities and scales of the source.

    Attributes:
        config: of the target, with the settings that the source determines.
        datamodule: opened; a rectifier may be fitted on its calibration split.
        seen: pattern ids of the source's train rows.
    """

    config: ExperimentConfig
    datamodule: CohortDataModule
    seen: Tensor

    @property
    def cohort(self) -> OpenedCohort:
        """The opened cohort."""
        return self.datamodule.cohort


def open_target(config: ExperimentConfig, source: OpenedCohort) -> Target | None:
    """Build and open the target of an experiment.

    A cohort that a model of the source cannot read raises a `TransferError` in `align`.

    Returns:
        The target; None if the experiment has none.

    Raises:
        ConfigError: when its test split, or a calibration split that is needed, is empty, or from `target_config`.
    """
    if not config.transfer.target:
        return None
    settings = target_config(config)
    datamodule = build.build_datamodule(settings)
    datamodule.prepare_data()
    datamodule.setup()
    datamodule.use(align(datamodule.cohort, Source.of(source)))
    needed = ("test", "calibration") if _is_refitted(config) or config.baseline.refit != "none" else ("test",)
    for split in needed:
        if not len(datamodule.cohort.rows(split)):
            raise ConfigError(f"transfer.target={config.transfer.target}: its {split} split has no row")
    return Target(settings, datamodule, source.train_patterns)


def target_config(config: ExperimentConfig) -> ExperimentConfig:
    """The settings of the target: its own cohort, but read and scored as in the source.

    Returns:
        The settings.

    Raises:
        ConfigError: when only one of the two is simulated.
    """
    # paths.cohort belongs to the source; the experiment of a custom target names its own folder.
    paths = [f"paths.{key}={json.dumps(value)}" for key, value in vars(config.paths).items() if key != "cohort"]
    own = load([f"experiment={config.transfer.target}", *paths])
    if own.simulated != config.simulated:
        real, simulated = (config, own) if own.simulated else (own, config)
        raise ConfigError(
            f"transfer.target={config.transfer.target}: paths.{simulated.dataset}_root names no release, so subjects "
            f"of {simulated.dataset} would be simulated and those of {real.dataset} real; name both or neither"
        )
    shared = ("seed", "simulate", "embed", "rectifier", "evaluation", "privacy")
    loader = replace(config.loader, held_pattern=None)  # a pattern that the source does not learn from
    return replace(own, experiment=config.experiment, loader=loader, **{name: getattr(config, name) for name in shared})


def check(config: ExperimentConfig, source: OpenedCohort) -> None:
    """Show the target, and refuse one that cannot be scored, before training."""
    target = open_target(config, source)
    if target is None:
        return
    say(f"target: {config.transfer.target}")
    show_cohort(target.cohort.manifest, config.privacy.min_count)
    for line in (*target.cohort.manifest["dropped"], *target.cohort.left_out):
        warn(f"target: {line}")


def score(run: Run, module: MMNARModule, trainer: Trainer) -> Results | None:
    """Predict and score the target's test rows; every rank must call it, rank zero writes.

    Afterwards the module's cohort and, if refitted, its rectifier are those of the target.

    Args:
        run: of the source.
        module: trained, with a fitted rectifier if it has one.
        trainer: of the run.

    Returns:
        Results of the target; None without one, and on all ranks but rank zero.
    """
    target = open_target(run.config, run.cohort)
    if target is None:
        return None
    target.datamodule.trainer = trainer
    module.cohort = target.cohort.fingerprint
    tested = _predict(target, module, "test", trainer)
    carried = _carried(target, module, tested) if _is_refitted(run.config) else None
    calibration = _calibration_of(target, run.config, module, tested, trainer)
    if not trainer.is_global_zero:
        return None
    rectified = None
    if calibration is not None and module.rectifier is not None:
        rectified = rectify.rectify(module.rectifier, module.cohort, tested, calibration, target.cohort)
    fitted = {"rectifier": run.config.transfer.rectifier if rectified else None}
    return _with_carried(_results(run, target, tested, fitted, rectified), target, tested, carried)


def score_estimator(run: Run, estimator: Estimator) -> Results | None:
    """As `score`, for an estimator, which has no rectifier."""
    target = open_target(run.config, run.cohort)
    if target is None:
        return None
    rows = runs_estimator.test_rows(target.cohort, estimator)
    return _results(run, target, rows, {"rectifier": None}, None)


def _is_refitted(config: ExperimentConfig) -> bool:
    has_rectifier = config.rectifier.fit != "none" and not build.is_estimator(config)
    return has_rectifier and config.transfer.rectifier == "target"


def _predict(target: Target, module: MMNARModule, split: str, trainer: Trainer) -> ScoredRows:
    device = trainer.strategy.root_device
    loader = target.datamodule.eval_dataloader(split)
    return predict(module.to(device), loader, device, trainer.precision_plugin.forward_context)


def _calibration_of(
    target: Target, config: ExperimentConfig, module: MMNARModule, tested: ScoredRows, trainer: Trainer
) -> ScoredRows | None:
    """Refit the rectifier on the target's calibration rows, or carry it over.

    Returns:
        The rows that it was fitted on, or zero rows if it is carried over, because then no label of the target is
        used; None without a rectifier.
    """
    if module.rectifier is None:
        return None
    if config.transfer.rectifier == "source":
        return tested.select(torch.zeros(0, dtype=torch.int64))
    calibration = _predict(target, module, "calibration", trainer)
    module.rectifier = build.build_rectifier(config, target.cohort)
    module.rectifier.fit(**calibration.labelled, cohort=module.cohort)
    return calibration


def _carried(target: Target, module: MMNARModule, tested: ScoredRows) -> ScoredRows:
    """The test rows after the source's rectifier, before it is refitted."""
    none = tested.select(torch.zeros(0, dtype=torch.int64))
    assert module.rectifier is not None, "it is refitted later"
    return rectify.rectify(module.rectifier, module.cohort, tested, none, target.cohort).rows


def _with_carried(found: Results, target: Target, tested: ScoredRows, carried: ScoredRows | None) -> Results:
    """Add the scores after the source's rectifier, where that of the target is another."""
    if carried is None:
        return found
    cohort, scoring = target.cohort, scoring_of(target.config)
    return replace(
        found,
        carried=score_rows(carried, cohort.tasks, cohort.scored_patterns, scoring),
        carried_gain=gains(tested, carried, cohort.tasks, scoring),
    )


def _results(
    run: Run, target: Target, rows: ScoredRows, fitted: Mapping[str, Any], rectified: rectify.Rectification | None
) -> Results:
    """Score the target's test rows; a pattern is unseen if no train row of the source has it."""
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    own = Run(target.config, target.datamodule, folder)
    found = results.compute_results(own, rows, fitted, rectified=rectified, seen=target.seen)
    return replace(found, run_id=run.folder.name)
