"""Predictions of a run's test rows in the prediction schema of MEDS, one file a task, for `meds-evaluation`."""

from pathlib import Path
from typing import Literal

import polars as pl

from data_modules import stage
from data_modules.cohorts.build import COHORT
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.runs import done, folders
from mmnar_lightning.runs.newest import run_of

FORMAT: Literal["meds"] = "meds"
LABEL, PROBABILITY, RECTIFIED = "label/", "probability/", "rectified/"
TIME = "prediction_at"
SCHEMA = {
    "subject_id": pl.Int64(),
    "prediction_time": pl.Datetime("us"),
    "boolean_value": pl.Boolean(),
    "predicted_boolean_value": pl.Boolean(),
    "predicted_boolean_probability": pl.Float32(),
}
"""Columns of the prediction schema, in its order; a label of MEDS is never null."""
THRESHOLD = 0.5
"""Probability from which on a row is predicted as positive."""


def export(config: ExperimentConfig) -> Path:
    """Write the predictions of the test rows of `run`, the newest finished run if it is empty.

    Returns:
        The folder: `out`, or one in the run's folder; a file for each task.

    Raises:
        ConfigError: if the output exists, or the cohort has no times or no integer ids of subjects.
    """
    folder = run_of(config, folders.PREDICTIONS)
    out = Path(config.out) if config.out else folder / "export" / FORMAT
    if out.exists():
        raise ConfigError(f"{out} exists; remove it, or give another folder by out=")
    if (folder / folders.DONE).is_file():
        done.verify(folder)
    tables = of_run(folder, Path(config.paths.data))

    def write(partial: Path) -> None:
        for task, table in tables.items():
            table.write_parquet(partial / f"{task}.parquet")
        stage.write_json(partial / stage.MANIFEST, {"run": folder.name, "to": FORMAT})

    stage.run_stage(out, write, "out")
    counts = {task: table.height for task, table in tables.items()}
    say(f"predictions of {len(counts)} tasks, up to {max(counts.values())} rows with a known label: {out}")
    return out


def of_run(folder: Path, data: Path) -> dict[str, pl.DataFrame]:
    """Read the predictions of a run.

    Args:
        folder: of the run.
        data: `paths.data`, which has its cohort.

    Returns:
        Task -> rows with a known label, with the columns of `SCHEMA`; probabilities are those after the rectifier, if
        there is one.

    Raises:
        ConfigError: if the run has no predictions, or of numbers, or its cohort is gone or has no times.
    """
    path = folder / folders.PREDICTIONS
    if not path.is_file():
        raise ConfigError(f"{folder} has no {folders.PREDICTIONS}: `mmnar evaluate run={folder}` writes it")
    predicted = pl.read_parquet(path)
    tasks = [name.removeprefix(LABEL) for name in predicted.columns if name.startswith(LABEL)]
    if not tasks:
        raise ConfigError(
            f"{folder} predicts numbers, and `to=meds` writes outcomes that are yes or no; {path} has the numbers"
        )
    if predicted["row_id"].n_unique() < predicted.height:
        raise ConfigError(f"{folder} predicts some rows several times; name one of its runs by run=")
    keyed = predicted.join(_times(folder, data), on="row_id", how="left", maintain_order="left")
    subject = keyed["subject_id"].cast(pl.Int64, strict=False)
    if subject.null_count() or keyed[TIME].null_count():
        raise ConfigError(
            f"{folder}: MEDS needs integer ids of subjects and times of prediction, which this cohort lacks"
        )
    return {task: to_meds(keyed, task) for task in tasks}


def to_meds(predicted: pl.DataFrame, task: str) -> pl.DataFrame:
    """Arrange the predictions of a task.

    Args:
        predicted: `subject_id`, `prediction_at`, and of the task `label/`, `probability/` and, after a rectifier,
            `rectified/`, a logit.
        task: its name.

    Returns:
        The rows with a known label, with the columns of `SCHEMA`.

    >>> from datetime import datetime
    >>> rows = {"subject_id": ["7"], "prediction_at": [datetime(2150, 1, 1)], "label/death": [True],
    ...         "probability/death": [0.25], "rectified/death": [0.0]}
    >>> to_meds(pl.DataFrame(rows), "death").row(0)[2:]
    (True, True, 0.5)
    """
    probability = pl.col(PROBABILITY + task)
    if RECTIFIED + task in predicted.columns:
        probability = 1 / (1 + (-pl.col(RECTIFIED + task)).exp())
    known = predicted.filter(pl.col(LABEL + task).is_not_null())
    return known.select(
        subject_id="subject_id",
        prediction_time=TIME,
        boolean_value=LABEL + task,
        predicted_boolean_value=probability >= THRESHOLD,
        predicted_boolean_probability=probability,
    ).cast(SCHEMA)  # type: ignore[arg-type]


def _times(folder: Path, data: Path) -> pl.DataFrame:
    """`row_id` and `prediction_at` of the cohort of a run."""
    fingerprint = str(stage.read_json(folder / folders.RESULTS)["cohort"])
    found = next((data / "cohorts").glob(f"*-{fingerprint}/{COHORT}"), None)
    if found is None:
        raise ConfigError(f"{folder}: its cohort {fingerprint} is not in {data}/cohorts; set paths.data")
    schema = pl.read_parquet_schema(found)
    if not isinstance(schema.get(TIME), pl.Datetime):
        raise ConfigError(f"{folder}: MEDS needs times of prediction, but the cohort has no column {TIME} of times")
    return pl.read_parquet(found, columns=["row_id", TIME]).with_columns(pl.col("row_id").cast(pl.Int64))
