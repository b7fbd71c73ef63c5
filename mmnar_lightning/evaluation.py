"""What the scored test rows of a run become: predictions.parquet, results.json, figures, tables on screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_modules import stage
from data_modules.datamodule import CohortDataModule
from mmnar_lightning import folders, results
from mmnar_lightning.config import ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.metrics.functional import reliability_curve
from mmnar_lightning.metrics.intervals import METRICS
from mmnar_lightning.report import figures
from mmnar_lightning.report.tables import show_results


def is_done(folder: Path) -> bool:
    """Whether a run was evaluated; the test split is read once."""
    return (folder / folders.RESULTS).is_file()


def show_again(folder: Path, config: ExperimentConfig) -> None:
    """Show the results of a run that was evaluated before."""
    say(f"{folder} was evaluated before; the test split is read once")
    scored = stage.read_json(folder / folders.RESULTS)["tasks"]
    show_results(scored, config.privacy.min_count, config.simulated)


def write(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    rows: Mapping[str, Tensor],
    fitted: Mapping[str, Any],
) -> None:
    """Score the test rows, whoever predicted them, and write and show what comes of it.

    Args:
        config: of the run.
        datamodule: opened.
        folder: of the run.
        rows: what `PatternMetric.rows` gives: `row_id`, `pattern` (N,), `probability`, `label`, `label_mask` (N, T).
        fitted: what made the predictions, for example the epoch and step of a checkpoint.
    """
    tasks, num_modalities = datamodule.tasks, len(datamodule.modalities)
    subject = datamodule.arrays.subject[rows["row_id"]]
    results.predictions(rows, datamodule.cohort, tasks, num_modalities).write_parquet(folder / folders.PREDICTIONS)
    scored = results.score(
        rows,
        subject,
        tasks,
        datamodule.patterns,
        num_modalities,
        num_replicates=config.evaluation.num_replicates,
        seed=config.seed,
    )
    content = {
        "experiment": config.experiment,
        "run_id": folders.run_id(folder),
        "seed": config.seed,
        "dataset": config.dataset,
        "simulated": datamodule.manifest["simulated"],
        "cohort": datamodule.manifest["fingerprint"],
        "versions": datamodule.manifest["versions"],
        "modalities": [modality.name for modality in datamodule.modalities],
        "dropped": [*datamodule.manifest["dropped"], *datamodule.left_out],
        "checkpoint": dict(fitted),
        "split": {"name": "test", "rows": len(subject), "subjects": len(torch.unique(subject))},
        "intervals": {"level": 0.95, "num_replicates": config.evaluation.num_replicates, "clusters": "subjects"},
        "tasks": scored,
    }
    draw(config, rows, scored, tasks, folder / "figures")
    stage.write_json(folder / folders.RESULTS, content)
    show_results(scored, config.privacy.min_count, config.simulated)


def draw(
    config: ExperimentConfig, rows: Mapping[str, Tensor], scored: Mapping[str, Any], tasks: list[str], folder: Path
) -> None:
    """Draw every metric with its intervals, and reliability curves; arguments as for `write`."""
    masked = results.mask_cells(scored, config.privacy.min_count)
    title = "simulated data" if config.simulated else None
    for metric in METRICS:
        figures.save(figures.interval_plot(masked, metric, title), folder / f"{metric}.png")
    curves = {}
    for column, task in enumerate(tasks):
        known = rows["label_mask"][:, column]
        if int(known.sum()) >= config.privacy.min_count:
            num_bins = min(10, int(known.sum()) // max(1, config.privacy.min_count))
            probability, label = rows["probability"][known, column], rows["label"][known, column]
            curves[task] = reliability_curve(probability, label, num_bins=num_bins)
    if curves:
        figures.save(figures.reliability_plot(curves, title), folder / "reliability.png")
