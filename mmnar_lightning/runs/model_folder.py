"""Writes the model folder of a run."""

from typing import Any

from data_modules.errors import UserError
from mmnar_lightning.config.compose import to_plain
from mmnar_lightning.console import warn
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, folders
from mmnar_lightning.runs.run import Run
from mmnar_lightning.saved.write import write

FOLDER = "model"
"""Subfolder of a run."""


def save(run: Run, module: MMNARModule) -> None:
    """Write the model folder of a run, or warn why it cannot be written; the run goes on.

    Args:
        run: of the model.
        module: with its best weights and, if it has one, its fitted rectifier.
    """
    try:
        write(
            run.folder / FOLDER, module, run.cohort, min_count=run.config.privacy.min_count, facts=_facts(run, module)
        )
    except UserError as error:
        warn(f"{run.folder / FOLDER} is not written: {error}")


def _facts(run: Run, module: MMNARModule) -> dict[str, Any]:
    plain = to_plain(run.config)
    return {
        "experiment": run.config.experiment,
        "run_id": folders.run_id(run.folder),
        "dataset": run.config.dataset,
        "auxiliary": list(run.config.objective.auxiliary),
        "settings": {key: module.hparams[key] for key in build.HYPERPARAMETER_KEYS},
        "cohort_settings": plain["cohort"],
        "inner_folds": run.config.evaluation.inner_folds,
        "inner_repeats": run.config.evaluation.inner_repeats,
        "precision": run.config.trainer.precision,
    }
