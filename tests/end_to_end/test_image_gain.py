"""Adding the image helps as it should: published embeddings, and pictures that a small network learns from."""

from pathlib import Path

import polars as pl

from data_modules.simulate.release import read_truth
from mmnar_lightning.cli import main
from mmnar_lightning.runs import folders
from tests.helpers.simulated_scores import TASKS, mean_difference

WORDS = [
    "experiment=mimic",
    "simulate.subjects=4000",
    "simulate.image_rate=0.9",  # so that a cohort of a few minutes is large enough to see the gain
    "cohort.split.train=0.5",
    "cohort.split.calibration=0.05",
    "cohort.split.val=0.1",
    "cohort.split.test=0.35",
    "optim.lr=5.0e-4",
    "trainer.max_epochs=8",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "evaluation.num_replicates=100",
]
READ_BY_BOTH = "structured,radiology_report"


def scored(place: Path, *words: str) -> pl.DataFrame:
    """Train, and give the predictions for the test rows."""
    assert main(["train", *WORDS, "embed.text.encoder=hashed_ngrams", f"paths.runs={place}", *words]) == 0
    folders.forget_run()
    (run,) = (place / "mimic").iterdir()
    return pl.read_parquet(run / "predictions.parquet")


def test_images_gain_at_least_half_of_what_the_oracle_gains(workplace: Path) -> None:
    without = scored(workplace / "without", f"cohort.modalities=[{READ_BY_BOTH}]")
    (release,) = (workplace / "data" / "releases").glob("simulated-*/")
    truth = read_truth(release).with_columns(pl.col("subject_id").cast(pl.String))
    for encoder in ("release", "small"):
        with_images = scored(
            workplace / encoder, f"cohort.modalities=[{READ_BY_BOTH},cxr]", f"embed.image.encoder={encoder}"
        )
        both = with_images.join(without, on="row_id", suffix="_without").join(truth, on="subject_id")
        assert both.height == with_images.height == without.height
        labels = [both[f"label/{task}"] for task in TASKS]

        def gap(first: str, second: str, both=both, labels=labels):
            scores = [[both[pattern.format(task)] for task in TASKS] for pattern in (first, second)]
            return mean_difference(labels, *scores)

        gain, error = gap("logit/{}", "logit/{}_without")
        best, _ = gap("oracle_image/{}", "oracle_neither/{}")
        assert best > 0.03, "there is something to gain"
        assert gain > 0.5 * best, encoder
        assert gain > 1.96 * error, encoder
