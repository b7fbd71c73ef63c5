"""Whole runs of a small network on a cohort of one's own, in this process."""

import json
import os
from pathlib import Path
from typing import Any

from lightning import Callback

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.runs import folders

SMALL = (
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "loader.batch_size=32",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "evaluation.num_replicates=100",
)


def compose(cohort: Path, *words: str) -> ExperimentConfig:
    """Settings of a run that has a folder of its own; later words override earlier ones."""
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    return load(["dataset=custom", f"paths.cohort={cohort}", *SMALL, *words])


def results_of(folder: Path) -> dict[str, Any]:
    """results.json of a run without its id."""
    return {key: value for key, value in json.loads((folder / "results.json").read_text()).items() if key != "run_id"}


class Stop(Callback):
    """Ends a run as a crash would, right after the last checkpoint of an epoch was written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch + 1:
            raise RuntimeError("stopped on purpose")
