"""Compares finished runs on the same test rows, for the commands that show it."""

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.evaluation.comparison import VALUE, Comparison, compare
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.runs import done, folders


def compared(runs: Sequence[Path], scoring: Scoring, withheld: Collection[str] = ()) -> list[Comparison]:
    """Compare the first run with each of the others, whose tasks are outcomes that are yes or no.

    Args:
        runs: folders of evaluated runs.
        scoring: replicates, seed and the smallest count that is shown.
        withheld: tasks that are hidden, whatever their counts.

    Returns:
        The comparisons, without small cells.

    Raises:
        ConfigError: if the tasks are numbers or, from `predictions_of`, a folder is no evaluated run.
    """
    predictions = predictions_of(runs)
    if all(any(name.startswith(VALUE) for name in frame.columns) for frame in predictions.values()):
        raise ConfigError(
            "runs: a page of several runs compares outcomes that are yes or no, but the tasks of these are numbers; "
            "`mmnar compare` compares them, and each has a page of its own"
        )
    return compare(predictions, scoring, withheld)


def predictions_of(runs: Sequence[Path]) -> dict[str, pl.DataFrame]:
    """The predictions of several runs.

    Args:
        runs: folders of evaluated runs.

    Returns:
        Name -> predictions.parquet; of a single run, whose model predicts all rows, without the cohort's folds.

    Raises:
        ConfigError: for fewer than two runs, or one without predictions.
    """
    if len({folder.resolve() for folder in runs}) < max(2, len(runs)):
        raise ConfigError(
            "runs=[FOLDER,FOLDER,...] needs two or more different runs; the first is compared with the others"
        )
    for folder in runs:
        if not (folder / folders.PREDICTIONS).is_file():
            raise ConfigError(f"runs: {folder} has no {folders.PREDICTIONS}; evaluate it first")
        done.verify(folder)
    return {name_of(folder): _predictions(folder) for folder in runs}


def _predictions(folder: Path) -> pl.DataFrame:
    frame = pl.read_parquet(folder / folders.PREDICTIONS)
    return frame if "seed" in frame.columns else frame.drop("fold", strict=False)


def name_of(folder: Path) -> str:
    """Experiment and run id, or what is left of them."""
    return "/".join(folder.resolve().parts[-2:])
