"""The parent folder of a protocol's runs: opens it, shares it between jobs, and gathers its runs."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from lightning.pytorch.utilities import rank_zero_only

from data_modules import locks, patterns, stage
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.distributed.collectives import rank
from mmnar_lightning.evaluation.blend import Blended, compare
from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.prediction_table import GROUP
from mmnar_lightning.evaluation.results import BlendScores, Gain, Groups, Results, SplitCounts, TaskScores
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.evaluation.scores import Scoring, score_groups
from mmnar_lightning.metrics.suppression import withheld_tasks
from mmnar_lightning.report.figures import draw_results
from mmnar_lightning.report.public import public
from mmnar_lightning.report.public_cells import counts_of
from mmnar_lightning.report.summary import show_summary
from mmnar_lightning.runs import done, folders, gather, gather_values, loggers, results, single, wandb_run
from mmnar_lightning.runs.plan import FOLDED, Child
from mmnar_lightning.runs.run import scoring_of
from mmnar_lightning.runs.scoring import score_each, with_bar

CHILD_KEYS = ("cohort", "checkpoint", "unseen_pattern_rows", "rectifier", "mean_risk", "diagnostics")
"""Keys of each run's results that the parent's results.json includes."""


def open_parent(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> Path:
    """Open the folder of a protocol; launched ranks, and jobs that share it, find it by its name."""
    launched = folders.parent_of_launched()
    if launched is not None:
        return launched
    if config.evaluation.part is not None:
        return _shared_parent(config, protocol, children)
    with folders.opened(config, folders.CHILDREN) as parent:
        if rank() == 0:
            stage.write_json(parent / folders.CHILDREN, _plan_of(protocol, children))
    return parent


def _shared_parent(config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> Path:
    """Open the parent's folder that several jobs share under one name."""
    part = config.evaluation.part
    assert part is not None
    if part >= len(children):
        raise ConfigError(f"evaluation.part={part}: there are {len(children)} runs, numbered from 0")
    if folders.RUN_ID_VARIABLE not in os.environ:
        raise ConfigError(
            f"evaluation.part={part}: all parts share one folder of runs/{config.experiment}/; name it with "
            f"{folders.RUN_ID_VARIABLE} in the environment, as experiments/slurm/train.sbatch does"
        )
    parent = folders.named_run(replace(config, evaluation=replace(config.evaluation, part=None)))
    folders.forget_run()
    with locks.locked(parent / folders.OPENING):
        if not (parent / folders.CHILDREN).is_file():
            stage.write_json(parent / folders.CHILDREN, _plan_of(protocol, children))
        _, planned = read_children(parent)
    if planned != list(children):
        raise ConfigError(
            f"{parent} consists of {len(planned)} runs, but these settings need {len(children)}; use the settings of "
            "the first job, or name another folder"
        )
    return parent


def finish_if_last(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Gather the runs if all of them are finished, which holds in the last job."""
    with locks.locked(parent / ".gather.lock"):
        unfinished = [child.name for child in children if not single.is_finished(parent / child.name, config)]
        if unfinished:
            say(f"{', '.join(unfinished)} are not finished; the job that finishes last gathers them")
        elif not (parent / folders.DONE).is_file():
            finish(parent, config, protocol, children)


def _plan_of(protocol: str, children: Sequence[Child]) -> dict[str, Any]:
    return {"protocol": protocol, "children": [child.to_json() for child in children]}


def read_children(parent: Path) -> tuple[str, list[Child]]:
    """The protocol and the runs of a parent's folder."""
    planned = stage.read_json(parent / folders.CHILDREN)
    return planned["protocol"], [Child(**child) for child in planned["children"]]


@rank_zero_only
def finish(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Gather the runs if `evaluate` is set, and mark the parent as done."""
    if config.evaluate:
        gather_runs(parent, config, protocol, children)
    else:
        say(f"test rows are not read; `mmnar evaluate run={parent}` reads and gathers them")
    done.mark(parent)
    results.say_folder(parent)


def gather_runs(parent: Path, config: ExperimentConfig, protocol: str, children: Sequence[Child]) -> None:
    """Write predictions.parquet, results.json and figures over all runs, and print the results."""
    found = [results.read(parent / child.name) for child in children]
    pooled = gather.pool(children, [tested(parent / child.name, protocol, child) for child in children])
    is_value = found[0].values is not None
    if protocol == "crossfit":
        pooled = (gather_values if is_value else gather).average_folds(pooled)
    gather.require_once(pooled)
    pooled.write_parquet(parent / folders.PREDICTIONS)
    whole = _gathered(parent, config, protocol, children, found, pooled)
    min_count = config.privacy.min_count
    shown = public(whole, min_count, withheld=_withheld(children, found, min_count))
    if config.evaluation.figures and not is_value:
        draw_results(shown, parent / "figures")
    results.write(parent, whole, shown)
    if loggers.start_parent(config, parent):
        wandb_run.log_results(parent, shown, config)
        wandb_run.finish()
    show_summary(shown)


def _withheld(children: Sequence[Child], found: Sequence[Results], min_count: int) -> set[str]:
    """Tasks whose total shows a small one of some folds, which these hide, because the other folds show theirs."""
    withheld: set[str] = set()
    for seed in {child.seed for child in children if child.fold is not None and child.pattern is None}:
        of_seed = [results for child, results in zip(children, found, strict=True) if child.seed == seed]
        tables = {
            task: counts_of({str(place): (one.values or one.tasks)[task].all for place, one in enumerate(of_seed)})
            for task in of_seed[0].task_names
        }
        withheld |= withheld_tasks(tables, min_count)
    return withheld


def _gathered(
    parent: Path,
    config: ExperimentConfig,
    protocol: str,
    children: Sequence[Child],
    found: Sequence[Results],
    pooled: pl.DataFrame,
) -> Results:
    """Compute the results over all runs."""
    first, scoring = found[0], scoring_of(config)
    once = pooled.filter(pl.col("seed") == children[0].seed)  # each row once, so that counts are of rows
    rectifier, mean_risk = _rectifiers(children, found) if first.rectifier is not None else (None, None)
    of_kind = _of_outcomes if first.values is None else _of_numbers
    return Results(
        experiment=first.experiment,
        run_id=parent.name,
        seed=config.seed,
        protocol=protocol,
        dataset=first.dataset,
        simulated=first.simulated,
        versions=first.versions,
        environment=first.environment,
        modalities=first.modalities,
        dropped=sorted({line for one in found for line in one.dropped}),
        children=[{**child.to_json(), **_of_child(one)} for child, one in zip(children, found, strict=True)],
        intervals=results.intervals_of(scoring),
        split=SplitCounts(name="test", rows=once.height, subjects=once["subject_id"].n_unique()),
        **of_kind(pooled, scoring, protocol, first),
        rectifier=rectifier,
        mean_risk=mean_risk,
    )


def _of_outcomes(pooled: pl.DataFrame, scoring: Scoring, protocol: str, first: Results) -> dict[str, Any]:
    """The scores of tasks that are yes or no, and what follows from them."""
    scores = _scores(pooled, scoring, protocol, first.tasks)
    return {
        "tasks": scores["tasks"],
        "rectified": scores.get("rectified"),
        "rectified_gain": _gains(pooled, scoring, protocol, first.rectified_gain, gather.RECTIFIED),
        "recalibrated_gain": _gains(pooled, scoring, protocol, first.recalibrated_gain, gather.RECALIBRATED),
        "blend": _blend(pooled, scoring, protocol, first) if first.blend is not None else None,
        "groups": _groups(pooled, scoring, protocol, first),
        **_breakdowns(pooled, scoring, protocol, first),
    }


def _of_numbers(pooled: pl.DataFrame, scoring: Scoring, _: str, first: Results) -> dict[str, Any]:
    return {"tasks": {}, **gather_values.scores_of(pooled, scoring, first)}


def _of_child(found: Results) -> dict[str, Any]:
    content = to_json(found)
    return {key: content[key] for key in CHILD_KEYS if key in content}


def _rectifiers(children: Sequence[Child], found: Sequence[Results]) -> gather.Rectifiers:
    held = [child.pattern for child in children if child.pattern is not None]
    return gather.rectifiers_of_left_out(held, found) if held else gather.average_rectifiers(found)


def tested(folder: Path, protocol: str, child: Child) -> pl.DataFrame:
    """The test rows that the parent scores a run on: all, or those of its held-out pattern or its next era."""
    predicted = pl.read_parquet(folder / folders.PREDICTIONS)
    if protocol == "temporal":
        return predicted.filter(pl.col("fold") == child.fold)
    return predicted if child.pattern is None else predicted.filter(pl.col("pattern") == child.pattern)


def _scores(
    pooled: pl.DataFrame, scoring: Scoring, protocol: str, listed: dict[str, TaskScores]
) -> dict[str, dict[str, TaskScores]]:
    """Score the logits before and, where present, after the rectifier."""
    tasks = list(listed)
    labels = list(listed[tasks[0]].patterns)
    prefixes = {name: prefix for name, prefix in gather.SCORES.items() if prefix + tasks[0] in pooled.columns}
    return score_each(
        {name: gather.as_rows(pooled, tasks, prefix) for name, prefix in prefixes.items()},
        tasks,
        [patterns.parse(label) for label in labels],
        scoring,
        fold=gather.tensor(pooled["fold"]) if protocol in FOLDED else None,
        repeat=gather.tensor(pooled["seed"]),
    )


def _gains(
    pooled: pl.DataFrame, scoring: Scoring, protocol: str, first: dict[str, Gain] | None, corrected: str
) -> dict[str, Gain] | None:
    """The paired differences of corrected logits and those before, averaged as the scores are; None without them."""
    if first is None:
        return None
    before, after = (gather.as_rows(pooled, list(first), prefix) for prefix in (gather.LOGIT, corrected))
    fold = gather.tensor(pooled["fold"]) if protocol in FOLDED else None
    repeat = gather.tensor(pooled["seed"])
    return with_bar(
        "comparing predictions",
        len(first),
        lambda advance: gains(before, after, list(first), scoring, fold=fold, repeat=repeat, advance=advance),
    )


def _blend(pooled: pl.DataFrame, scoring: Scoring, protocol: str, first: Results) -> BlendScores:
    """The scores of the blended logits, averaged as the scores are."""
    tasks, network = list(first.tasks), gather.LOGIT if first.rectified is None else gather.RECTIFIED
    alone, trees, both = (gather.as_rows(pooled, tasks, prefix) for prefix in (network, gather.TREES, gather.BLEND))
    blended = Blended(network=alone, trees=trees, both=both)
    codes = [patterns.parse(label) for label in first.tasks[tasks[0]].patterns]
    fold = gather.tensor(pooled["fold"]) if protocol in FOLDED else None
    return compare(blended, tasks, codes, scoring, fold=fold, repeat=gather.tensor(pooled["seed"]))


def _groups(pooled: pl.DataFrame, scoring: Scoring, protocol: str, first: Results) -> Groups | None:
    """Scores by group: each row once, with its logits averaged over seeds, and compared within its fold."""
    if first.groups is None:
        return None
    tasks, rows = list(first.tasks), gather.average_seeds(pooled)
    fold = gather.tensor(rows["fold"]) if protocol in FOLDED else None
    found = score_groups(gather.as_rows(rows, tasks, gather.LOGIT), rows[GROUP], tasks, scoring, fold)
    return Groups(by=first.groups.by, min_rows=scoring.min_count, tasks=found)


def _breakdowns(pooled: pl.DataFrame, scoring: Scoring, protocol: str, first: Results) -> dict[str, Any]:
    """Subgroups, decision curves and labels: each row once, with its final logits averaged over seeds."""
    tasks, rows = list(first.tasks), gather.average_seeds(pooled)
    final = gather.as_rows(rows, tasks, gather.LOGIT if first.rectified is None else gather.RECTIFIED)
    fold = gather.tensor(rows["fold"]) if protocol in FOLDED else None
    codes = [patterns.parse(label) for label in first.tasks[tasks[0]].patterns]
    return results.breakdowns(final, rows, tasks, codes, scoring, fold)
