"""`mmnar predict`: predicts new rows with a trained model; labels are not needed."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_modules import stage
from data_modules.cohorts.columns import KEY_COLUMNS
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import folders, model_folder
from mmnar_lightning.runs.new_rows import open_new
from mmnar_lightning.runs.newest import run_of
from mmnar_lightning.saved.description import MODEL, Description
from mmnar_lightning.saved.model import Predictions
from mmnar_lightning.saved.read import load


@signals.handled()
def predict(config: ExperimentConfig) -> Path:
    """Predict all rows of the cohort that `paths` names, with the model of `run`, the newest run if it is empty.

    Returns:
        The folder of predictions.parquet: `out`, or one in the run's folder that is named for the cohort.

    Raises:
        SavedModelError: if the output exists.
    """
    folder = run_of(config, f"{model_folder.FOLDER}/{MODEL}")
    model = load(folder)
    say(model.description.terms)
    cohort = open_new(model.description, config).cohort
    for line in (*cohort.manifest["dropped"], *cohort.left_out):
        warn(line)
    out = Path(config.out) if config.out else folder / "predictions" / cohort.fingerprint
    target = out / folders.PREDICTIONS
    if target.exists():
        raise SavedModelError(f"{target} exists; remove it, or give another folder by out=")
    found = model.predict(cohort)
    table = _with_keys(found.frame(model.tasks), cohort)

    def write(partial: Path) -> None:
        table.write_parquet(partial / folders.PREDICTIONS)
        stage.write_json(partial / stage.MANIFEST, {"model": model.description.run_id, "cohort": cohort.fingerprint})

    stage.run_stage(out, write, "out")
    _say(found, model.description)
    say(f"predictions: {target}")
    return out


def _with_keys(table: pl.DataFrame, cohort: OpenedCohort) -> pl.DataFrame:
    """Put the ids of the rows before their predictions."""
    names = [name for name in KEY_COLUMNS if name != "subject" and cohort.table[name].null_count() < len(cohort.table)]
    keys = cohort.table.select(names).with_columns(pl.col("row_id").cast(pl.Int64))
    return keys.join(table, on="row_id", maintain_order="left")


def _say(found: Predictions, model: Description) -> None:
    say(f"{len(found)} rows predicted")
    usual, min_count = model.usual_outside or 0, model.min_count
    unseen, outside = int(found.unseen_pattern.sum()), int((found.out_of_range > usual).sum())
    if unseen:
        warn(f"{unseen} rows have a pattern that fewer than {min_count} subjects of the training had (unseen_pattern)")
    if outside:
        seldom = "" if model.usual_outside is None else f", as fewer than {min_count} of its subjects have"
        warn(
            f"{outside} rows have more than {usual} values outside of the range of the training (out_of_range){seldom}"
        )


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    predict(config)
    return 0
