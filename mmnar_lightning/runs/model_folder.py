"""Writes the model folder of a run."""

from pathlib import Path
from typing import Any

from data_modules import stage
from data_modules.errors import UserError
from mmnar_lightning.config.compose import loggable
from mmnar_lightning.console import warn
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.results_json import from_json
from mmnar_lightning.runs import build, environment, folders
from mmnar_lightning.runs.run import Run
from mmnar_lightning.saved.card import write_card
from mmnar_lightning.saved.description import MODEL
from mmnar_lightning.saved.parts import Parts
from mmnar_lightning.saved.write import write

FOLDER = "model"
"""Subfolder of a run."""


def is_there(folder: Path) -> bool:
    """Whether a run's folder has a model folder."""
    return (folder / FOLDER / MODEL).is_file()


def save(run: Run, parts: Parts) -> None:
    """Write the model folder of a run, or warn why it cannot be written; the run goes on.

    Args:
        run: of the model.
        parts: of the trained model.
    """
    try:
        write(run.folder / FOLDER, parts, run.cohort, min_count=run.config.privacy.min_count, facts=_facts(run))
    except UserError as error:
        warn(f"{run.folder / FOLDER} is not written: {error}")
    else:
        save_card(run)


def save_card(run: Run) -> None:
    """Write the card of a run's model, with the public results if there are any; nothing without a model folder."""
    if is_there(run.folder):
        path = run.folder / folders.PUBLIC
        found = from_json(Results, stage.read_json(path)) if path.is_file() else None
        write_card(run.folder / FOLDER, run.cohort.manifest, found)


def _facts(run: Run) -> dict[str, Any]:
    plain = loggable(run.config)
    return {
        "kind": "estimator" if build.is_estimator(run.config) else "network",
        "experiment": run.config.experiment,
        "run_id": folders.run_id(run.folder),
        "dataset": run.config.dataset,
        "auxiliary": list(run.config.objective.auxiliary),
        "settings": {key: plain[key] for key in build.HYPERPARAMETER_KEYS},
        "cohort_settings": plain["cohort"],
        "inner_folds": run.config.evaluation.inner_folds,
        "inner_repeats": run.config.evaluation.inner_repeats,
        "precision": run.config.trainer.precision,
        "commit": environment.describe()["commit"],
        "encoders": run.cohort.encoders or None,
    }
