"""What a modality adds on a simulated release, beside what it adds to the oracle."""

from pathlib import Path

import polars as pl

from data_modules.simulate.release import read_truth
from mmnar_lightning.cli import main
from mmnar_lightning.runs import folders
from tests.helpers.simulated_scores import TASKS, mean_difference

WORDS = [
    "cohort.split.train=0.5",
    "cohort.split.calibration=0.05",
    "cohort.split.val=0.1",
    "cohort.split.test=0.35",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "evaluation.num_replicates=100",
    "evaluation.subgroups=false",
]


def scored(place: Path, *words: str) -> pl.DataFrame:
    """Train, and give the predictions for the test rows.

    Args:
        place: an empty folder for the run.
        words: that name the experiment, its modalities and its encoders.

    Returns:
        predictions.parquet of the run.
    """
    assert main(["train", *WORDS, f"paths.runs={place}", *words]) == 0
    folders.forget_run()
    (run,) = place.glob("*/*")
    return pl.read_parquet(run / "predictions.parquet")


def check_gain(added: str, together: pl.DataFrame, without: pl.DataFrame, data: Path) -> None:
    """Fail unless a modality adds half of what it adds to the oracle, and more than chance does.

    Args:
        added: name of the oracle that reads it.
        together: predictions with it.
        without: predictions for the same rows without it.
        data: folder with the simulated release.
    """
    (release,) = (data / "releases").glob("simulated-*/")
    truth = read_truth(release).with_columns(pl.col("subject_id").cast(pl.String))
    both = together.join(without, on="row_id", suffix="_without").join(truth, on="subject_id")
    assert both.height == together.height == without.height
    labels = [both[f"label/{task}"] for task in TASKS]

    def gap(first: str, second: str):
        scores = [[both[pattern.format(task)] for task in TASKS] for pattern in (first, second)]
        return mean_difference(labels, *scores)

    gain, error = gap("logit/{}", "logit/{}_without")
    best, _ = gap(f"oracle_{added}/{{}}", "oracle_neither/{}")
    assert best > 0.03, "there is something to gain"
    assert gain > 0.5 * best
    assert gain > 1.96 * error
