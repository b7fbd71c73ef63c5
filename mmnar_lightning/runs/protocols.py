"""Protocols of several ordinary runs (docs/protocols.md): a parent folder with one run a seed and fold, gathered."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_only

from data_modules import patterns, stage
from data_modules.cohorts.build import COHORT
from data_modules.cohorts.labels import OneClassWarning, check_classes, has_both_classes
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import refuse_unread, switched_off
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.distributed.collectives import rank
from mmnar_lightning.evaluation import scores as results
from mmnar_lightning.report.tables import show_groups, show_parts, show_rectifier, show_results
from mmnar_lightning.runs import build, folders, single
from mmnar_lightning.runs import gather as pooling
from mmnar_lightning.runs import results as evaluation
from mmnar_lightning.runs.gather import SCORES
from mmnar_lightning.runs.plan import FOLDED, LEAVE_PATTERN_OUT, Child, child_config, of_one_run, plan, protocol_of

OF_A_RUN = ("cohort", "checkpoint", "unseen_pattern_rows", "rectifier", "mean_risk", "diagnostics")
"""What the parent's results.json tells of each run."""


@signals.handled()
def train(config: ExperimentConfig) -> Path:
    """One ordinary run, or all runs of a protocol and what they give together; returns the folder."""
    protocol = protocol_of(config)
    if protocol is None and config.evaluation.part is not None:
        raise ConfigError(
            f"evaluation.part={config.evaluation.part}: these settings ask for one run, which has no parts"
        )
    for line in switched_off(config):
        warn(line)
    return single.train(config) if protocol is None else train_all(config, protocol)


def train_all(config: ExperimentConfig, protocol: str) -> Path:
    """Train and gather all runs of a protocol, leaving out those that are finished; returns the parent's folder."""
    refuse_unread(config)
    if protocol == "crossfit" and build.is_fitted_at_once(config):
        raise ConfigError(f"rectifier.fit=crossfit: {config.baseline.name} has no rectifier; use rectifier.fit=none")
    launch.init_process_group()
    children = plan(config, protocol)
    cohorts = _build_cohorts(config, protocol, children)
    parent = _open_parent(config, protocol, children)
    for number, child in enumerate(children, start=1):
        folder = parent / child["name"]
        signals.raise_if_requested_here()
        if config.evaluation.part not in {None, number - 1}:
            continue
        if _is_finished(folder, config):
            _check_cohort(folder, cohorts[child["fold"]])
            continue
        say(f"run {number} of {len(children)}: {folder}")
        _run(child_config(config, protocol, child), folder)
    if config.evaluation.part is None:
        _finish(parent, config, protocol, children)
    else:
        _finish_if_last(parent, config, protocol, children)
    return parent


def _finish_if_last(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Gather in the job that finds all other jobs' runs finished."""
    with FileLock(parent / ".gather.lock"):
        left = [child["name"] for child in children if not _is_finished(parent / child["name"], config)]
        if left:
            say(f"{', '.join(left)} are not finished; the job that finishes last gathers them")
        elif not (parent / folders.DONE).is_file():
            _finish(parent, config, protocol, children)


@signals.handled()
def evaluate(config: ExperimentConfig) -> Path:
    """Read the test split with the best checkpoint of a run, or of every run of a parent, which are then gathered."""
    parent = Path(config.run)
    if not config.run or not (parent / folders.CHILDREN).is_file():
        return single.evaluate(config)
    planned = stage.read_json(parent / folders.CHILDREN)
    for child in planned["children"]:
        signals.raise_if_requested_here()
        single.evaluate(replace(config, run=str(parent / child["name"]), evaluation=of_one_run(config)))
        _end_logging(config)
    settings = replace(folders.settings_of(parent, config), evaluate=True)
    _finish(parent, settings, planned["protocol"], planned["children"])
    return parent


def _open_parent(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> Path:
    launched = folders.parent_of_launched()
    if launched is not None:
        return launched
    if config.evaluation.part is not None:
        return _shared_parent(config, protocol, children)
    with folders.opened(config, folders.CHILDREN) as parent:
        if rank() == 0:
            stage.write_json(parent / folders.CHILDREN, {"protocol": protocol, "children": list(children)})
    return parent


def _shared_parent(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> Path:
    """The parent's folder, which several jobs open under one name."""
    part = config.evaluation.part
    assert part is not None
    if part >= len(children):
        raise ConfigError(f"evaluation.part={part}: there are {len(children)} runs, counted from 0")
    if folders.RUN_ID_VARIABLE not in os.environ:
        raise ConfigError(
            f"evaluation.part={part}: all parts work in one folder of runs/{config.experiment}/; name it by "
            f"{folders.RUN_ID_VARIABLE} in the environment, as experiments/slurm/train.sbatch does"
        )
    parent = folders.named_run(replace(config, evaluation=replace(config.evaluation, part=None)))
    folders.forget_run()
    with FileLock(parent / folders.OPENING):
        if not (parent / folders.CHILDREN).is_file():
            stage.write_json(parent / folders.CHILDREN, {"protocol": protocol, "children": list(children)})
        begun = stage.read_json(parent / folders.CHILDREN)["children"]
    if begun != list(children):
        raise ConfigError(
            f"{parent} consists of {len(begun)} runs, but these settings ask for {len(children)}; give those of the "
            "first job, or name another folder"
        )
    return parent


def _run(config: ExperimentConfig, folder: Path) -> None:
    with folders.child_run(folder):
        single.train(config)
    _end_logging(config)


def _is_finished(folder: Path, config: ExperimentConfig) -> bool:
    return (folder / folders.DONE).is_file() and (evaluation.is_done(folder) or not config.evaluate)


def _end_logging(config: ExperimentConfig) -> None:
    """End the W&B run of this process, or the next child would log into it."""
    if config.wandb.enabled:
        import wandb

        wandb.finish()


def _check_cohort(folder: Path, fingerprint: str) -> None:
    """Refuse to gather a finished run of other files beside runs of these."""
    path = folder / folders.RESULTS
    found = stage.read_json(path)["cohort"] if path.is_file() else fingerprint
    if found != fingerprint:
        raise ConfigError(
            f"{folder} was trained on the cohort {found}, but its fold is {fingerprint} now; name the release, or the "
            "cohort folder, that the finished runs were trained on, as it was then"
        )


def _build_cohorts(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> dict[int | None, str]:
    """Build the cohorts of all folds, and refuse what some run would refuse, before hours are spent on the others.

    Returns:
        Fold -> fingerprint of its cohort.

    Raises:
        ConfigError: for a fold that holds nobody, or that leaves nothing to learn or to choose a checkpoint by.
    """
    lacking: dict[str, list[int]] = {}
    fingerprints: dict[int | None, str] = {}
    for child in children:
        if child["fold"] in fingerprints:
            continue
        folder = build.build_datamodule(child_config(config, protocol, child)).build()
        manifest = stage.read_json(folder / stage.MANIFEST)
        fingerprints[child["fold"]] = manifest["fingerprint"]
        if child["fold"] is None or protocol == LEAVE_PATTERN_OUT:
            continue
        _check_fold(pl.read_parquet(folder / COHORT, columns=["split", "fold"]), manifest, child["fold"], protocol)
        for task in manifest["tasks"]:
            if not has_both_classes(manifest["prevalence"][task].get("test")):
                lacking.setdefault(task, []).append(child["fold"])
    for task, folds in lacking.items() if protocol == "kfold" else ():
        listed = ", ".join(map(str, folds))
        warn(f"{task}: fold {listed} lacks positives or negatives; the mean AUROC leaves it out")
    return fingerprints


def _check_fold(cohort: pl.DataFrame, manifest: dict[str, Any], fold: int, protocol: str) -> None:
    held = cohort.filter(pl.col("fold") == fold, pl.col("split") == ("test" if protocol == "kfold" else "calibration"))
    if held.is_empty():
        num_folds = manifest["config"]["split"]["num_folds"]
        raise ConfigError(
            f"fold {fold} holds nobody: cohort.split.num_folds={num_folds} is too many for "
            f"{manifest['subjects']} subjects, or for their hospitals; lower it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OneClassWarning)  # each run says its own
            check_classes(manifest["prevalence"])
    except ValueError as error:
        raise ConfigError(f"fold {fold}: {error}, or fewer folds") from None


@rank_zero_only
def _finish(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Gather the runs unless their test rows are not to be read, and mark the parent as done."""
    if config.evaluate:
        gather(parent, config, protocol, children)
    else:
        say(f"test rows are not read; `mmnar evaluate run={parent}` reads and gathers them")
    (parent / folders.DONE).touch()
    say(f"run: {parent}")


def gather(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Write predictions.parquet, results.json and figures of all runs together, and show the results."""
    left = [stage.read_json(parent / child["name"] / folders.RESULTS) for child in children]
    frames = [_tested(parent / child["name"], child) for child in children]
    pooled = pooling.pool(children, frames)
    if protocol == "crossfit":
        pooled = pooling.average_folds(pooled)
    pooling.require_once(pooled)
    pooled.write_parquet(parent / folders.PREDICTIONS)
    scored = _score(pooled, config, protocol, left[0]["tasks"])
    rectified = _rectifiers(children, left) if "rectifier" in left[0] else {}
    first = pooled.filter(pl.col("seed") == children[0]["seed"])  # each row once, so that counts are of rows
    evaluation.draw(config, scored, parent / "figures", rectified.get("rectifier"))
    content = _content(parent, config, protocol, children, left, first)
    content |= {**_groups(pooled, config, left[0]), **scored, **rectified}
    stage.write_json(parent / folders.RESULTS, content)
    num_parts = len(pooled.select("seed", "fold").unique()) if protocol in FOLDED else pooled["seed"].n_unique()
    for name, cells in scored.items():
        say(f"{len(children)} runs ({protocol}), {evaluation.SCORED[name]}")
        show_results(cells, config.privacy.min_count, config.simulated)
        show_parts(cells, config.privacy.min_count, num_parts)
    if rectified:
        show_rectifier(content, config.privacy.min_count)
    if "groups" in content:
        show_groups(content["groups"], config.privacy.min_count)


def _rectifiers(children: Sequence[Child], left: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if "pattern" in children[0]:
        return pooling.rectifiers_of_left_out(children, left)
    return pooling.average_rectifiers(left)


def _tested(folder: Path, child: Child) -> pl.DataFrame:
    """The test rows that a run is asked about: all, or those of the pattern that it has not seen."""
    predicted = pl.read_parquet(folder / folders.PREDICTIONS)
    return predicted.filter(pl.col("pattern") == child["pattern"]) if "pattern" in child else predicted


def _score(
    pooled: pl.DataFrame, config: ExperimentConfig, protocol: str, listed: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Score the logits before and, where they are, after the rectifier."""
    tasks = list(listed)
    labels = list(listed[tasks[0]]["patterns"])
    subject = pooling.tensor(pooled["subject_id"].rank("dense").cast(pl.Int64))
    there = {key: scores for key, scores in SCORES.items() if scores + tasks[0] in pooled.columns}
    return {
        key: results.score(
            pooling.as_rows(pooled, tasks, scores),
            subject,
            tasks,
            [patterns.parse(label) for label in labels],
            len(labels[0]),
            num_replicates=config.evaluation.num_replicates,
            seed=config.seed,
            fold=pooling.tensor(pooled["fold"]) if protocol in FOLDED else None,
            repeat=pooling.tensor(pooled["seed"]),
        )
        for key, scores in there.items()
    }


def _groups(pooled: pl.DataFrame, config: ExperimentConfig, left: dict[str, Any]) -> dict[str, Any]:
    """`groups` of results.json: each row once, by the mean of what the seeds' models say of it."""
    if "groups" not in left:
        return {}
    tasks = list(left["tasks"])
    rows = pooling.average_seeds(pooled)
    subject = pooling.tensor(rows["subject_id"].rank("dense").cast(pl.Int64))
    found = evaluation.by_group(
        config, pooling.as_rows(rows, tasks, pooling.LOGIT), subject, rows[results.GROUP], tasks
    )
    return {"groups": {"by": left["groups"]["by"], **found}}


def _content(
    parent: Path,
    config: ExperimentConfig,
    protocol: str,
    children: Sequence[Child],
    left: Sequence[dict[str, Any]],
    rows: pl.DataFrame,
) -> dict[str, Any]:
    """What results.json says beside the scores."""
    same = ("experiment", "dataset", "simulated", "versions", "modalities")
    return {
        "run_id": parent.name,
        "seed": config.seed,
        "protocol": protocol,
        **{key: left[0][key] for key in same},
        "dropped": sorted({line for found in left for line in found["dropped"]}),
        "children": [
            {**child, **{key: found[key] for key in OF_A_RUN if key in found}}
            for child, found in zip(children, left, strict=True)
        ],
        "split": {"name": "test", "rows": rows.height, "subjects": rows["subject_id"].n_unique()},
        "intervals": {"level": 0.95, "num_replicates": config.evaluation.num_replicates, "clusters": "subjects"},
    }
