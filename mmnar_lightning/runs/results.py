"""What the scored test rows of a run become: predictions.parquet, results.json, figures, tables on screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import stage
from data_modules.cohorts.columns import groups_of
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.evaluation import scores as results
from mmnar_lightning.evaluation.diagnose import decision_tipping_points
from mmnar_lightning.evaluation.rectify import Rectification
from mmnar_lightning.metrics.intervals import METRICS
from mmnar_lightning.report import figures, masking
from mmnar_lightning.report.tables import show_groups, show_rectifier, show_results
from mmnar_lightning.runs import folders

SCORED = {"tasks": "before the rectifier", "rectified": "after the rectifier"}
"""Key of results.json -> what its scores are of."""


def is_done(folder: Path) -> bool:
    """Whether a run was evaluated; the test split is read once."""
    return (folder / folders.RESULTS).is_file()


def show_again(folder: Path, config: ExperimentConfig) -> None:
    """Show the results of a run that was evaluated before."""
    say(f"{folder} was evaluated before; the test split is read once")
    show(stage.read_json(folder / folders.RESULTS), config)


def write(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    rows: Mapping[str, Tensor],
    fitted: Mapping[str, Any],
    rectified: Rectification | None = None,
    diagnostics: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
) -> None:
    """Score the test rows, whoever predicted them, and write and show what comes of it.

    Args:
        config: of the run.
        datamodule: opened.
        folder: of the run.
        rows: see `leave`.
        fitted: see `leave`.
        rectified: see `leave`.
        diagnostics: what else is known of the test rows.
        target: what was found on the test rows of another cohort; None without.
    """
    content = leave(config, datamodule, folder, rows, fitted, rectified)
    content["diagnostics"] |= diagnostics or {}
    if target is not None:
        content["target"] = dict(target)
    stage.write_json(folder / folders.RESULTS, content)
    show(content, config)


def leave(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    rows: Mapping[str, Tensor],
    fitted: Mapping[str, Any],
    rectified: Rectification | None = None,
    seen: Tensor | None = None,
) -> dict[str, Any]:
    """Score test rows, write predictions and figures, and give what results.json is to say.

    Args:
        config: of the run.
        datamodule: opened.
        folder: of the run.
        rows: what `PatternMetric.rows` gives: `row_id`, `pattern` (N,), `probability`, `label`, `label_mask` (N, T).
        fitted: what made the predictions, for example the epoch and step of a checkpoint.
        rectified: the same rows after the rectifier; None where there is none.
        seen: ids of the patterns that some train row has; None looks them up in the datamodule.
    """
    tasks, num_modalities = datamodule.cohort.tasks, len(datamodule.cohort.modalities)
    subject = datamodule.cohort.arrays.subject[rows["row_id"]]
    known = datamodule.cohort.train_patterns if seen is None else seen
    after = rectified.rows if rectified else None
    table = results.predictions(rows, datamodule.cohort.table, tasks, num_modalities, known, after)
    table.write_parquet(folder / folders.PREDICTIONS)
    unseen = table.filter("unseen_pattern")["pattern"]
    scores = {
        name: results.score(
            scored,
            subject,
            tasks,
            datamodule.cohort.patterns,
            num_modalities,
            num_replicates=config.evaluation.num_replicates,
            seed=config.seed,
        )
        for name, scored in {"tasks": rows, **({"rectified": rectified.rows} if rectified else {})}.items()
    }
    content = {
        **_about(config, datamodule, folder, fitted),
        "split": {"name": "test", "rows": len(subject), "subjects": len(torch.unique(subject))},
        "unseen_pattern_rows": len(unseen),
        "unseen_patterns": sorted(unseen.unique()),
        "diagnostics": {
            "decision_tipping_point": decision_tipping_points(
                (after or rows)["probability"].logit(),
                rows["pattern"],
                tasks,
                datamodule.cohort.patterns,
                num_modalities,
            )
        },
        **scores,
    }
    groups = groups_of(datamodule.cohort.table)
    if groups is not None:
        content["groups"] = {"by": groups[0], **by_group(config, rows, subject, table[results.GROUP], tasks)}
    if rectified:
        content |= {"rectifier": rectified.table, "mean_risk": rectified.mean_risk}
    draw(config, scores, folder / "figures", rectified.table if rectified else None)
    return content


def _about(
    config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, fitted: Mapping[str, Any]
) -> dict[str, Any]:
    """What results.json says of the run itself."""
    manifest = datamodule.cohort.manifest
    return {
        "experiment": config.experiment,
        "run_id": folders.run_id(folder),
        "seed": config.seed,
        "dataset": config.dataset,
        "simulated": manifest["simulated"],
        "cohort": manifest["fingerprint"],
        "versions": manifest["versions"],
        "modalities": [modality.name for modality in datamodule.cohort.modalities],
        "dropped": [*manifest["dropped"], *datamodule.cohort.left_out],
        "checkpoint": dict(fitted),
        "intervals": {"level": 0.95, "num_replicates": config.evaluation.num_replicates, "clusters": "subjects"},
    }


def by_group(
    config: ExperimentConfig, rows: Mapping[str, Tensor], subject: Tensor, group: pl.Series, tasks: list[str]
) -> dict[str, Any]:
    """What `groups` of results.json says of the predictions before the rectifier.

    Groups with fewer rows than `privacy.min_count` are told together.
    """
    min_rows, num_replicates = config.privacy.min_count, config.evaluation.num_replicates
    found = results.score_groups(
        rows, subject, group, tasks, min_rows=min_rows, num_replicates=num_replicates, seed=config.seed
    )
    return {"min_rows": min_rows, "tasks": found}


def show(content: Mapping[str, Any], config: ExperimentConfig) -> None:
    """Show the scores of a run, and what the rectifier does to them.

    Args:
        content: of results.json.
        config: of the run.
    """
    show_results(content["tasks"], config.privacy.min_count, config.simulated)
    if "rectifier" in content:
        show_rectifier(content, config.privacy.min_count)
    if "groups" in content:
        show_groups(content["groups"], config.privacy.min_count)
    if "target" in content:
        target = content["target"]
        say(f"target: {target['dataset']}, cohort {target['cohort']}")
        show(target, config)
        unseen, patterns = target["unseen_pattern_rows"], len(target["unseen_patterns"])
        if unseen:
            warn(f"target: {unseen} of {target['split']['rows']} rows have one of {patterns} patterns never trained on")


def draw(
    config: ExperimentConfig, scores: Mapping[str, Any], folder: Path, offsets: Mapping[str, Any] | None = None
) -> None:
    """Draw every metric with its intervals, reliability curves, and what the rectifier adds.

    Args:
        config: of the run.
        scores: `tasks` and, where there is a rectifier, `rectified` of results.json.
        folder: to write the figures into.
        offsets: `rectifier` of results.json; None draws none.
    """
    masked = {name: masking.mask_cells(cells, config.privacy.min_count) for name, cells in scores.items()}
    named = {SCORED[name]: cells for name, cells in masked.items()}
    title = "simulated data" if config.simulated else None
    for metric in METRICS:
        figures.save(figures.interval_plot(masked["tasks"], metric, title), folder / f"{metric}.png")
    for task in masked["tasks"]:
        figures.save(figures.reliability_plot(named, task, title), folder / f"reliability_{task}.png")
    if offsets is not None:
        shown = masking.mask_offsets(offsets, config.privacy.min_count)
        figures.save(figures.offset_plot(shown, title), folder / "rectifier.png")
