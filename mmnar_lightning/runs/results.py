"""Computes the results of a run from its scored rows, saves them in its folder and prints them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import stage
from data_modules.cohorts.columns import groups_of
from data_modules.cohorts.subgroups import SUBGROUP, SUBGROUPS
from data_modules.databases import registry
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed.launch import is_rank_zero
from mmnar_lightning.evaluation.blend import Blended, compare
from mmnar_lightning.evaluation.diagnose import decision_tipping_points
from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.prediction_table import GROUP, predictions
from mmnar_lightning.evaluation.rectify import Rectification
from mmnar_lightning.evaluation.results import Gain, Groups, Intervals, Results, SplitCounts
from mmnar_lightning.evaluation.results_json import ResultsError, from_json, to_json
from mmnar_lightning.evaluation.scores import Scoring, score_groups
from mmnar_lightning.evaluation.subgroups import decision_curves, label_availability, score_subgroups
from mmnar_lightning.metrics.cells import FEW, MANY
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.report import figures
from mmnar_lightning.report.public import public
from mmnar_lightning.report.summary import show_summary
from mmnar_lightning.runs import done, environment, folders, model_folder, value_results, wandb_run
from mmnar_lightning.runs.run import Run, scores_a_fold
from mmnar_lightning.runs.scoring import score_each, with_bar


def is_done(folder: Path) -> bool:
    """Whether a run was evaluated; the test split is evaluated only once."""
    return (folder / folders.RESULTS).is_file()


def read(folder: Path, name: str = folders.RESULTS) -> Results:
    """The results in a run's folder; a file of a finished run that changed is a `DamagedRunError`.

    Args:
        folder: of the run.
        name: of the file.

    Returns:
        Its content.

    Raises:
        ResultsError: naming the file, when it is damaged or of another schema.
    """
    done.verify(folder)
    path = folder / name
    try:
        return from_json(Results, stage.read_json(path))
    except (ResultsError, ValueError) as error:
        raise ResultsError(f"{path}: {error}") from error


def print_saved_results(folder: Path, config: ExperimentConfig) -> None:
    """Print the results of a run that was evaluated before, and write results.public.json if it has none."""
    say(f"{folder} was evaluated before; the test split is evaluated only once")
    shown = public_of(read(folder), config)
    path = folder / folders.PUBLIC
    if not path.is_file() and is_rank_zero():
        stage.write_json(path, to_json(shown))
    show_summary(shown)


def say_folder(folder: Path) -> None:
    """Print, at the end of a command, where a run is and how to see more of it."""
    if is_done(folder):
        say(f"scores by pattern, rectifier, diagnostics and more: mmnar show run={folder}")
    say(f"run: {folder}")


def save_results(run: Run, results: Results) -> None:
    """Write results.public.json and results.json, and print the former."""
    shown = public_of(results, run.config)
    write(run.folder, results, shown)
    model_folder.save_card(run)
    wandb_run.log_results(run.folder, shown, run.config)
    show_summary(shown)


def write(folder: Path, results: Results, shown: Results) -> None:
    """Write both files of results; results.json, which counts as finished, last."""
    stage.write_json(folder / folders.PUBLIC, to_json(shown))
    stage.write_json(folder / folders.RESULTS, to_json(results))


def public_of(results: Results, config: ExperimentConfig) -> Results:
    """The results of a run that are shown and shared."""
    return public(results, config.privacy.min_count, totals_only=scores_a_fold(config))


def compute_results(
    run: Run,
    rows: ScoredRows,
    fitted: Mapping[str, Any],
    *,
    rectified: Rectification | None = None,
    blended: Blended | None = None,
    diagnostics: Mapping[str, Any] | None = None,
    seen: Tensor | None = None,
    target: Results | None = None,
) -> Results:
    """Score test rows, and write predictions and figures into the run's folder.

    Args:
        run: with the cohort of the rows.
        rows: N test rows.
        fitted: origin of the predictions, for example the epoch and step of a checkpoint.
        rectified: the same rows after the rectifier; None without one.
        blended: the same rows, predicted with boosted trees as well; None without them.
        diagnostics: of the model.
        seen: ids of the patterns of train rows, of a target those of its source; None looks them up in the cohort.
        target: results on the test rows of another cohort; None without one.

    Returns:
        The content of results.json.
    """
    cohort, scoring = run.cohort, run.scoring
    if cohort.kind == "value":
        common = _common(run, rows, fitted)
        return value_results.compute(run, rows, common, rectified, _attributes(run), diagnostics)
    after = rectified.rows if rectified else None
    is_compared = seen is not None or run.config.cohort.split.target_calibration > 0
    one_offset = rectified.recalibrated if rectified and is_compared else None
    corrected = {"rectified": after, "recalibrated": one_offset}
    others = {name: found for name, found in corrected.items() if found} | (blended.columns if blended else {})
    seen = cohort.train_patterns if seen is None else seen
    table = predictions(rows, cohort.table, cohort.tasks, seen, others, _attributes(run))
    table.write_parquet(run.folder / folders.PREDICTIONS)
    unseen = table.filter("unseen_pattern")["pattern"]
    versions = {"tasks": rows} | ({"rectified": after} if after else {})
    scored = score_each(versions, cohort.tasks, cohort.scored_patterns, scoring)
    tipping = decision_tipping_points(after or rows, cohort.tasks, cohort.scored_patterns)
    results = Results(
        **_common(run, rows, fitted),
        unseen_pattern_rows=len(unseen),
        unseen_patterns=sorted(unseen.unique()),
        diagnostics={"decision_tipping_point": tipping, **(diagnostics or {})},
        tasks=scored["tasks"],
        rectified=scored.get("rectified"),
        rectified_gain=_gains(run, rows, after if is_compared else None),
        recalibrated_gain=_gains(run, rows, one_offset),
        blend=compare(blended, cohort.tasks, cohort.scored_patterns, scoring) if blended else None,
        groups=_groups(run, rows, table),
        **breakdowns(after or rows, table, cohort.tasks, cohort.scored_patterns, scoring),
        rectifier=rectified.table if rectified else None,
        mean_risk=rectified.mean_risk if rectified else None,
        target=target,
    )
    if run.config.evaluation.figures:
        figures.draw_results(public_of(results, run.config), run.folder / "figures")
    return results


def _gains(run: Run, before: ScoredRows, after: ScoredRows | None) -> dict[str, Gain] | None:
    if after is None:
        return None
    tasks = run.cohort.tasks
    return with_bar(
        "comparing predictions",
        len(tasks),
        lambda advance: gains(before, after, tasks, run.scoring, advance=advance),
    )


def _common(run: Run, rows: ScoredRows, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of results that are the same for all kinds of tasks."""
    cohort = run.cohort
    return {
        "experiment": run.config.experiment,
        "run_id": folders.run_id(run.folder),
        "seed": run.config.seed,
        "dataset": run.config.dataset,
        "simulated": cohort.manifest["simulated"],
        "cohort": cohort.fingerprint,
        "versions": cohort.manifest["versions"],
        "environment": environment.describe(),
        "modalities": cohort.names,
        "dropped": [*cohort.manifest["dropped"], *cohort.left_out],
        "checkpoint": dict(fitted),
        "intervals": intervals_of(run.scoring),
        "split": SplitCounts(name="test", rows=len(rows), subjects=len(torch.unique(rows.subject))),
    }


def _attributes(run: Run) -> pl.DataFrame | None:
    """The subgroups of the cohort's rows; None without `evaluation.subgroups`."""
    config, folder = run.config, run.cohort.folder
    if not config.evaluation.subgroups:
        return None
    is_built = run.cohort.manifest["source"] not in {"custom", registry.MEDS} and config.dataset in registry.packages()
    if is_built and registry.database(config.dataset).subgroups is not None and not (folder / SUBGROUPS).is_file():
        warn(
            f"{folder} was built by an earlier version, without {SUBGROUPS}: no scores by sex, age band and race; "
            "remove this folder to build it again"
        )
    return run.cohort.subgroups


def breakdowns(
    rows: ScoredRows,
    table: pl.DataFrame,
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    fold: Tensor | None = None,
) -> dict[str, Any]:
    """The fields of results about the final prediction: `subgroups`, `net_benefit` and `label_availability`.

    Args:
        rows: N test rows, each once, after the rectifier if there is one.
        table: their predictions.parquet.
        tasks: T task names.
        pattern_ids: the cohort's patterns, the most frequent first.
        scoring: replicates, seed and smallest level.
        fold: (N,) int64, fold in which a row was tested.

    Returns:
        Field -> value.
    """
    attributes = table.select(name for name in table.columns if name.startswith(SUBGROUP))
    subgroups = with_bar(
        "scoring subgroups",
        attributes.width * len(tasks),
        lambda advance: score_subgroups(rows, attributes, tasks, scoring, fold, advance),
    )
    return {
        "subgroups": subgroups or None,
        "net_benefit": decision_curves(rows, tasks),
        "label_availability": label_availability(rows, tasks, pattern_ids),
    }


def intervals_of(scoring: Scoring) -> Intervals:
    """Describe how the intervals of results are computed."""
    return Intervals(level=0.95, num_replicates=scoring.num_replicates, clusters="subjects", few=FEW, many=MANY)


def _groups(run: Run, rows: ScoredRows, table: pl.DataFrame) -> Groups | None:
    """Scores before the rectifier by hospital or year group; None if the cohort has neither."""
    groups = groups_of(run.cohort.table)
    if groups is None:
        return None
    found = score_groups(rows, table[GROUP], run.cohort.tasks, run.scoring)
    return Groups(by=groups[0], min_rows=run.scoring.min_count, tasks=found)
