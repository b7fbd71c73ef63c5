"""What a note and a image add, for the model and for the oracle, with encoders that are frozen and that are trained."""

import argparse
import os
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from benchmarks.results import plan
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, release_folder
from mmnar_lightning import console
from mmnar_lightning.config.compose import load
from mmnar_lightning.metrics.cells import paired_difference
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.protocols import train

WAYS = {
    "frozen": ("embed.text.encoder=hashed_ngrams", "embed.image.encoder=release", "model.encoder.components=8"),
    "trained": ("embed.text.encoder=small", "embed.text.lr_scale=30", "embed.image.encoder=small"),
}
READ = {
    "all": ("structured", "cxr", "discharge_note", "radiology_report"),
    "image": ("structured", "cxr", "radiology_report"),
    "note": ("structured", "discharge_note", "radiology_report"),
}
"""What is read -> modalities; the names are those of the oracle's readers."""
GAINS = {"the note": "image", "the image": "note"}
"""What is added -> the reader that lacks it."""
COMMON = (
    *(word for word in plan.COMMON if not word.startswith(("embed.", "simulate.images"))),
    "trainer.max_epochs=8",
    "trainer.patience=8",
    "model.loo.sampled=1",
    "model.fusion.dropout=0.3",
    "objective.anneal_epochs=6",
    "rectifier.start_epoch=3",
    "simulate.rho=1",
    f"simulate.subjects={plan.SUBJECTS}",
)


def run(out: Path, way: str, reader: str, seed: int) -> pl.DataFrame:
    """Predictions of one run on the test rows of a release, trained unless that was done."""
    folder = out / "gain" / f"{way}-{reader}-{seed}"
    mark = folder / "done"
    if not mark.is_file():
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        words = [
            "experiment=mimic", f"paths.data={out}/data", f"paths.runs={folder}", *COMMON, *WAYS[way],
            f"simulate.seed={seed}", f"seed={seed}", f"cohort.modalities=[{','.join(READ[reader])}]",
        ]  # fmt: skip
        if way == "frozen":
            words.append("model.additive.inverse_penalties=[0.1,0.3,1.0]")
        trained = train(load(words))
        mark.write_text(str(trained))
    return pl.read_parquet(Path(mark.read_text()) / folders.PREDICTIONS)


def joined(out: Path, way: str, seeds: list[int]) -> tuple[list[str], pl.DataFrame]:
    """Test rows of all releases with the logits of every reader and the oracle's probabilities."""
    parts, tasks = [], []
    for seed in seeds:
        rows = None
        for reader in READ:
            found = run(out, way, reader, seed)
            tasks = [name.removeprefix("label/") for name in found.columns if name.startswith("label/")]
            own = found.select("row_id", *(_last(found, task).alias(f"{reader}/{task}") for task in tasks))
            rows = found.select("row_id", "subject_id", *(f"label/{t}" for t in tasks)) if rows is None else rows
            rows = rows.join(own, on="row_id", validate="1:1")
        assert rows is not None
        knobs = SimulateConfig(rho=1.0, seed=seed, subjects=plan.SUBJECTS, databases=["mimic_iv"])
        truth = read_truth(release_folder(knobs, out / "data"), "mimic_iv")
        best = [name for name in truth.columns if name.startswith("oracle_")]
        truth = truth.select(pl.col("subject_id").cast(pl.String), *best)
        parts.append(rows.join(truth, on="subject_id", how="left").with_columns(release=pl.lit(seed)))
    return tasks, pl.concat(parts)


def _last(found: pl.DataFrame, task: str) -> pl.Expr:
    name = f"rectified/{task}" if f"rectified/{task}" in found.columns else f"logit/{task}"
    return 1 / (1 + (-pl.col(name)).exp())


def show(tasks: list[str], rows: pl.DataFrame, way: str) -> None:
    """One line a task and what is added: the oracle's gain, the model's with its interval, their ratio."""
    subject = rows.select(pl.struct("release", "subject_id").rank("dense")).to_series()
    for added, reader in GAINS.items():
        gains = []
        for task in tasks:
            known = rows[f"label/{task}"].is_not_null()
            label, fold, people = (
                _tensor(column.filter(known)) for column in (rows[f"label/{task}"], rows["release"], subject)
            )
            first, second, best, worse = (
                _tensor(rows[name].filter(known))
                for name in (f"all/{task}", f"{reader}/{task}", f"oracle_all/{task}", f"oracle_{reader}/{task}")
            )
            own = paired_difference(first, second, label, people, fold=fold)["auroc"]
            oracle = paired_difference(best, worse, label, people, fold=fold)["auroc"]
            gains.append((own.value, oracle.value))
            print(
                f"{way}, {added}, {task}: AUROC {own.value:+.4f} ({own.low:+.4f} to {own.high:+.4f}); the oracle "
                f"{oracle.value:+.4f} ({oracle.low:+.4f} to {oracle.high:+.4f}); {own.value / oracle.value:.0%} of it"
            )
        mean, best_mean = (sum(column) / len(gains) for column in zip(*gains, strict=True))
        print(f"{way}, {added}, mean over tasks: {mean:+.4f} of {best_mean:+.4f}, {mean / best_mean:.0%}")


def _tensor(column: pl.Series) -> Tensor:
    return torch.from_numpy(column.cast(pl.Float64).to_numpy(writable=True))


def main() -> None:
    """Train what is missing and print the gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    given = parser.parse_args()
    console.quieten()
    for way in given.ways:
        show(*joined(given.out.absolute(), way, given.seeds), way)


if __name__ == "__main__":
    main()
