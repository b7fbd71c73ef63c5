"""The eICU demo, hospital mortality 24 h into the unit: K-fold comparison with rivals and with APACHE IVa.

Give the demo's roots as EICU_ROOT. Runs that are there are not trained again; the page is written from what is there.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch

from mmnar_lightning import folders, protocols
from mmnar_lightning.config import load
from mmnar_lightning.console import quieten
from mmnar_lightning.metrics.intervals import METRICS, Interval, bootstrap_intervals, paired_difference

TASK = "in_hospital_mortality"
COMMON = (
    "cohort.landmark=unit_24h",
    "cohort.index=every",
    f"cohort.tasks=[{TASK}]",
    "cohort.split.train=0.75",
    "cohort.split.calibration=0.0",
    "cohort.split.val=0.1",
    "evaluation.protocol=kfold",
    "evaluation.num_replicates=100",
    "wandb.enabled=false",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
)
NETWORK = ("trainer.max_epochs=15", "trainer.patience=15", "model.encoder.components=8")
METHODS = {
    "full": (
        "eicu",
        (
            *NETWORK, "rectifier.fit=none", "model.loo.sampled=1", "model.fusion.dropout=0.3", "model.fusion.dim=64",
            "model.additive.inverse_penalty=0.03",
        ),
    ),
    "boosted_trees": ("eicu,rivals/boosted_trees", ()),
    "mask_only": ("eicu,rivals/mask_only", ("trainer.max_epochs=15", "trainer.patience=15")),
    "logistic_regression": ("eicu,rivals/logistic_regression", ("model.encoder.components=8",)),
    "published_score": ("eicu,rivals/published_score", ()),
}  # fmt: skip
"""Name -> layers and settings; those of the model were chosen on simulated releases."""


def run(out: Path, name: str, num_seeds: int) -> Path:
    """All folds and seeds of a method; returns the parent's folder."""
    layers, words = METHODS[name]
    mark = out / f"{name}.done"
    if mark.is_file():
        return Path(mark.read_text())
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    given = (f"experiment={layers}", f"paths.data={out}/data", f"paths.runs={out}/runs", *COMMON, *words)
    parent = protocols.train(load([*given, f"evaluation.num_seeds={num_seeds}"]))
    mark.write_text(str(parent))
    return parent


def predictions(parent: Path) -> pl.DataFrame:
    """Test rows of all folds and seeds with a known label."""
    found = pl.read_parquet(parent / folders.PREDICTIONS).filter(pl.col(f"label/{TASK}").is_not_null())
    return found.select(
        "seed", "fold", "row_id", "subject_id", pl.col(f"label/{TASK}").alias("label"),
        (1 / (1 + (-pl.col(f"logit/{TASK}")).exp())).alias("probability"),
    )  # fmt: skip


def compare(rows: dict[str, pl.DataFrame], names: Sequence[str]) -> list[list[str]]:
    """Scores of some methods, and the full method's difference from each, on the rows that all of them predict."""
    joined = rows[names[0]].rename({"probability": names[0]})
    for name in names[1:]:
        own = rows[name].select("seed", "fold", "row_id", pl.col("probability").alias(name))
        joined = joined.join(own, on=["seed", "fold", "row_id"], how="inner", validate="1:1")
    joined = joined.with_columns(pl.col("subject_id").rank("dense").alias("subject")).sort("seed", "fold", "row_id")
    columns = {name: torch.from_numpy(joined[name].cast(pl.Float64).to_numpy(writable=True)) for name in names}
    label, subject, fold, repeat = (
        torch.from_numpy(joined[name].cast(pl.Float64).to_numpy(writable=True))
        for name in ("label", "subject", "fold", "seed")
    )
    table = []
    for name in names:
        parts = {"fold": fold, "repeat": repeat}
        found = bootstrap_intervals(columns[name], label, subject, **parts)
        apart = paired_difference(columns[names[0]], columns[name], label, subject, **parts)
        table.append([name, *(_told(found[metric]) for metric in METRICS), _told(apart["auroc"], "+.3f")])
    first = joined.filter(pl.col("seed") == joined["seed"].min())
    table.append(
        [f"{first.height} rows, {int(first['label'].sum())} deaths, {joined['seed'].n_unique()} seeds", *[""] * 5]
    )
    return table


def _told(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/eicu_demo"))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    quieten()
    rows = {name: predictions(run(out, name, 1 if name == "published_score" else given.seeds)) for name in METHODS}
    seeds = rows["full"]["seed"].unique()
    scored = rows["published_score"].drop("seed")
    rows["published_score"] = pl.concat([scored.with_columns(seed=pl.lit(seed)) for seed in seeds]).select(
        rows["full"].columns
    )
    learnt = [name for name in METHODS if name != "published_score"]
    header = ["method", *METRICS, "AUROC of the full method minus its own"]
    for names in (learnt, list(METHODS)):
        print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
        for line in compare(rows, names):
            print("| " + " | ".join(line) + " |")
        print()


if __name__ == "__main__":
    main()
