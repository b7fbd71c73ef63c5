"""What W&B gets of a run beside its curves: final scores, a table, a figure, artifacts; public results alone."""

import sys
from pathlib import Path
from typing import Any

from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.distributed.launch import is_rank_zero
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report.overview import HEADER, draw_overview, table_rows
from mmnar_lightning.report.summary import final
from mmnar_lightning.report.value_tables import final_values
from mmnar_lightning.runs import folders, model_folder
from mmnar_lightning.saved.description import MODEL

BEST = {"val/auroc": "max", "val/log_loss": "min", "val/loss": "min", "val/r2": "max", "val/mse": "min"}
"""Key -> which of its values the summary of a run shows."""


def define_metrics(experiment: Any) -> None:
    """Let the summary of a run show the best value of each monitored metric, and not the last one."""
    for key, which in BEST.items():
        experiment.define_metric(key, summary=which, step_metric="trainer/global_step")


def log_results(folder: Path, results: Results, config: ExperimentConfig) -> None:
    """Send the results of a run to its W&B run, if there is one.

    Args:
        folder: of the run, with results.public.json and figures.
        results: public.
        config: of the run; `wandb.model` sends the model folder too.
    """
    wandb: Any = sys.modules.get("wandb")
    if not config.wandb.enabled or not is_rank_zero() or wandb is None or wandb.run is None:
        return
    run = wandb.run
    run.config.update({"environment": results.environment}, allow_val_change=True)
    table = wandb.Table(columns=HEADER, data=list(table_rows(results)))
    run.log({"test/scores": table, "test/overview": wandb.Image(draw_overview(results))})
    for task, scores in final_values(results).items():
        for metric in VALUE_METRICS:
            score = scores.all.score(metric)
            if score is not None and score.value is not None:
                run.summary[f"final/{metric}/{task}"] = score.value
    for task, found in final(results).items():
        for metric in METRICS:
            score = found.all.score(metric)
            if score is not None and score.value is not None:
                run.summary[f"final/{metric}/{task}"] = score.value
    _send(wandb, run, "results", [folder / folders.PUBLIC, *sorted((folder / "figures").glob("*"))])
    model = folder / model_folder.FOLDER
    if config.wandb.model and (model / MODEL).is_file():
        _send(wandb, run, "model", sorted(model.iterdir()))


def finish() -> None:
    """End the W&B run of this process, so that the next one does not log into it."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None:
        wandb.finish()


def _send(wandb: Any, run: Any, kind: str, files: list[Path]) -> None:
    artifact = wandb.Artifact(f"{kind}-{run.id}", type=kind)
    for path in files:
        if path.is_file():
            artifact.add_file(str(path), name=path.name)
    run.log_artifact(artifact)
