"""Scores a trained model on a cohort of other subjects, beside its own results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from data_modules.loading.alignment import align
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.blueprint import typed
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.evaluation import rectify
from mmnar_lightning.evaluation.rectify import Rectification
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.runs import done, folders, results
from mmnar_lightning.runs.new_rows import open_new
from mmnar_lightning.runs.run import Run
from mmnar_lightning.saved.model import SavedModel
from mmnar_lightning.saved.read import load

FOLDER = "elsewhere"
"""Subfolder of a run, with one folder for each cohort and rectifier."""


def evaluate(folder: Path, config: ExperimentConfig) -> Path:
    """Score a run's model on the cohort that `paths` names, all of whose subjects are taken as new.

    The rectifier is carried over, or refitted on the cohort's calibration split, whose rows are then not scored.

    Args:
        folder: of the run.
        config: `paths`, and `evaluation.elsewhere`.

    Returns:
        The folder with results.json, predictions.parquet and figures; a finished one is only printed.

    Raises:
        ConfigError: if the cohort is that of the run, or there is nothing to refit.
    """
    model = load(folder)
    if model.description.task_kind == "value":
        raise ConfigError(
            f"evaluation.elsewhere={config.evaluation.elsewhere} scores outcomes that are yes or no, but {folder} "
            "predicts numbers; `mmnar predict` gives its predictions"
        )
    datamodule = open_new(model.description, config)
    cohort = align(datamodule.cohort, model.source)
    if cohort.fingerprint == model.description.cohort:
        raise ConfigError(
            f"evaluation.elsewhere={config.evaluation.elsewhere}: this is the cohort that {folder} was trained on; "
            "name another, or omit it"
        )
    out = folder / FOLDER / f"{cohort.fingerprint}-{config.evaluation.elsewhere}"
    if (out / folders.DONE).is_file():
        done.verify(out)
        results.print_saved_results(out, folders.settings_of(folder, config))
        return out
    for line in (*cohort.manifest["dropped"], *cohort.left_out):
        warn(line)
    say(f"{cohort.table.height} rows of another cohort; their subjects must not be those of the training")
    every = _rows(model, datamodule.cohort, cohort)
    tested, rectified, fitted = _rectified(model, every, cohort, config)
    datamodule.use(cohort)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(folders.settings_of(folder, config), datamodule, out)
    seen = torch.tensor(model.description.train_patterns)
    results.save_results(run, results.compute_results(run, tested, fitted, rectified=rectified, seen=seen))
    done.mark(out)
    say(f"results: {out}")
    return out


def _rows(model: SavedModel, given: OpenedCohort, cohort: OpenedCohort) -> ScoredRows:
    """All rows with their labels and predictions."""
    predicted, arrays = model.predict(given), cohort.arrays
    return ScoredRows(
        row_id=predicted.row_id,
        subject=arrays.subject,
        present=predicted.present,
        logits=predicted.logit,
        label=arrays.label.double().where(arrays.label_mask, 0.0),
        label_mask=arrays.label_mask,
    )


def _rectified(
    model: SavedModel, every: ScoredRows, cohort: OpenedCohort, config: ExperimentConfig
) -> tuple[ScoredRows, Rectification | None, Mapping[str, Any]]:
    """The rows that are scored, the same after the rectifier, and where that comes from."""
    if config.evaluation.elsewhere == "carried" or model.rectifier is None:
        if config.evaluation.elsewhere == "refitted":
            raise ConfigError("evaluation.elsewhere=refitted: this model has no rectifier; use carried")
        if model.rectifier is None:
            return every, None, {"rectifier": None}
        none = every.select(torch.zeros(0, dtype=torch.int64))
        return every, rectify.rectify(model.rectifier, cohort.fingerprint, every, none, cohort), {"rectifier": "source"}
    chosen = torch.zeros(len(every), dtype=torch.bool)
    chosen[cohort.rows("calibration")] = True
    if not chosen.any():
        raise ConfigError("evaluation.elsewhere=refitted: the calibration split of the cohort has no row")
    calibration, tested = every.select(chosen), every.select(~chosen)
    settings = typed(RectifierConfig, model.description.settings["rectifier"])
    size = int(every.subject.max()) + 1
    rectifier = Rectifier(len(cohort.tasks), len(cohort.names), cohort.patterns, size, settings)
    rectifier.fit(**calibration.labelled, cohort=cohort.fingerprint)
    found = rectify.rectify(rectifier, cohort.fingerprint, tested, calibration, cohort)
    return tested, found, {"rectifier": "target"}
