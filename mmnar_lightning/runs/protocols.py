"""Runs protocols (docs/protocols.md): trains one run per seed and fold in a parent folder, and gathers them."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from data_modules import stage
from data_modules.cohorts.build import BUILD, COHORT
from data_modules.cohorts.labels import OneClassWarning, check_outcomes, has_both_classes
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.runs import build, folders, requests, results, single
from mmnar_lightning.runs.newest import run_of
from mmnar_lightning.runs.parent import finish, finish_if_last, open_parent, read_children
from mmnar_lightning.runs.plan import LEAVE_PATTERN_OUT, Child, child_config, of_one_run, plan, protocol_of


@signals.handled()
def train(config: ExperimentConfig) -> Path:
    """Train a single run, or all runs of a protocol, which are then gathered.

    Returns:
        The folder.

    Raises:
        ConfigError: if `evaluation.part` is given for a single run.
    """
    protocol = protocol_of(config)
    if protocol is None and config.evaluation.part is not None:
        raise ConfigError(
            f"evaluation.part={config.evaluation.part}: these settings define a single run, which has no parts"
        )
    return single.train(config) if protocol is None else train_all(config, protocol)


def train_all(config: ExperimentConfig, protocol: str) -> Path:
    """Train the unfinished runs of a protocol and gather all.

    Args:
        config: of the parent.
        protocol: as of `protocol_of`.

    Returns:
        The parent's folder.

    Raises:
        ConfigError: if the protocol fits rectifiers and the baseline has none.
    """
    for line in check_ignored(config):
        warn(line)
    if protocol == "crossfit" and build.is_estimator(config):
        raise ConfigError(f"rectifier.fit=crossfit: {config.baseline.name} has no rectifier; use rectifier.fit=none")
    launch.init_process_group()
    children = plan(config, protocol)
    cohorts = _build_cohorts(config, protocol, children)
    parent = open_parent(config, protocol, children)
    for number, child in enumerate(children, start=1):
        folder = parent / child.name
        signals.raise_if_requested_here()
        if config.evaluation.part not in {None, number - 1}:
            continue
        if single.is_finished(folder, config):
            _check_cohort(folder, cohorts[child.fold])
            continue
        say(f"run {number} of {len(children)}: {folder}")
        _run_child(child_config(config, protocol, child), folder)
    if config.evaluation.part is None:
        finish(parent, config, protocol, children)
    else:
        finish_if_last(parent, config, protocol, children)
    return parent


@signals.handled()
def evaluate(config: ExperimentConfig) -> Path:
    """Evaluate the test split with the best checkpoint of a run, or of every run of a parent, and gather these."""
    parent = run_of(config, folders.BEST, folders.FIT, folders.CHILDREN, parents=True)
    requests.refuse_other_settings(parent, config, "evaluate")
    config = config if config.run else replace(config, run=str(parent))
    if not (parent / folders.CHILDREN).is_file():
        return single.evaluate(config)
    protocol, children = read_children(parent)
    for child in children:
        signals.raise_if_requested_here()
        single.evaluate(replace(config, run=str(parent / child.name), evaluation=of_one_run(config)))
        _end_logging(config)
    settings = replace(folders.settings_of(parent, config), evaluate=True)
    finish(parent, settings, protocol, children)
    return parent


def _run_child(config: ExperimentConfig, folder: Path) -> None:
    with folders.child_run(folder):
        single.train(config)
    _end_logging(config)


def _end_logging(config: ExperimentConfig) -> None:
    """Finish the W&B run of this process, so that the next child does not log into it."""
    if config.wandb.enabled:
        import wandb

        wandb.finish()


def _check_cohort(folder: Path, fingerprint: str) -> None:
    """Refuse to gather a finished run whose cohort has since changed."""
    found = results.read(folder).cohort if results.is_done(folder) else fingerprint
    if found != fingerprint:
        raise ConfigError(
            f"{folder} was trained on the cohort {found}, but its fold is now {fingerprint}; use the release or cohort "
            "folder that the finished runs were trained on, unchanged"
        )


def _build_cohorts(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> dict[int | None, str]:
    """Build the cohorts of all folds, and refuse invalid folds before any run is trained.

    A fold without subjects, or with too few classes to train on or to choose a checkpoint by, raises a `ConfigError`.

    Returns:
        Fold -> fingerprint of its cohort.
    """
    lacking: dict[str, list[int]] = {}
    fingerprints: dict[int | None, str] = {}
    for child in children:
        if child.fold in fingerprints:
            continue
        folder = build.build_datamodule(child_config(config, protocol, child)).build()
        manifest = stage.verify(folder, BUILD)
        fingerprints[child.fold] = manifest["fingerprint"]
        if child.fold is None or protocol == LEAVE_PATTERN_OUT:
            continue
        _check_fold(pl.read_parquet(folder / COHORT, columns=["split", "fold"]), manifest, child.fold, protocol)
        for task in () if "values" in manifest else manifest["tasks"]:
            if not has_both_classes(manifest["prevalence"][task].get("test")):
                lacking.setdefault(task, []).append(child.fold)
    for task, folds in lacking.items() if protocol == "kfold" else ():
        listed = ", ".join(map(str, folds))
        warn(f"{task}: fold {listed} lacks positives or negatives and is excluded from the mean AUROC")
    return fingerprints


def _check_fold(cohort: pl.DataFrame, manifest: dict[str, Any], fold: int, protocol: str) -> None:
    split = manifest["config"]["split"]
    share, num_folds = split["target_calibration"], split["num_folds"]
    drawn = set(cohort.filter(pl.col("fold") == fold)["split"])
    if ("calibration" if protocol == "crossfit" else "test") not in drawn and not (drawn and share):
        raise ConfigError(
            f"fold {fold} has no subjects: cohort.split.num_folds={num_folds} is too many for "
            f"{manifest['subjects']} subjects, or for their hospitals; lower it"
        )
    if share and not ("test" in drawn and "calibration" in set(cohort["split"])):
        raise ConfigError(
            f"fold {fold}: cohort.split.target_calibration={share} leaves no row of its few subjects for test, or none "
            "for calibration; use another share, or fewer folds"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OneClassWarning)  # each run prints its own
            check_outcomes(manifest)
    except ValueError as error:
        raise ConfigError(f"fold {fold}: {error}, or fewer folds") from None
