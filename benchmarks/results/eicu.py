"""eICU, death in hospital seen 24 h into the unit: K-fold comparison with rivals and with APACHE IVa.

With EICU_ROOT the release that lies there, with --simulated the built-in one. Finished runs are not trained again. What
each method is set to was chosen on simulated MIMIC-IV releases (docs/results/chosen.json); nothing is tuned here.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from data_modules.stage import digest
from mmnar_lightning import console, folders, protocols
from mmnar_lightning.config import load
from mmnar_lightning.metrics.intervals import METRICS, Interval, bootstrap_intervals, paired_difference

TASK = "in_hospital_mortality"
COMMON = (
    f"cohort.tasks=[{TASK}]",
    "cohort.split.train=0.75",
    "cohort.split.calibration=0.0",
    "cohort.split.val=0.1",
    "evaluation.protocol=kfold",
    "evaluation.num_replicates=100",
    "embed.text.encoder=hashed_ngrams",
    "wandb.enabled=false",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
)
METHODS = {
    "full": ("eicu,tuned", ("rectifier.fit=none", "trainer.max_epochs=15", "trainer.patience=15")),
    "boosted_trees": ("eicu,rivals/boosted_trees", ("rival.boosted_trees.num_components=8",)),
    "mask_only": (
        "eicu,rivals/mask_only",
        ("optim.lr=3e-3", "trainer.max_epochs=15", "trainer.patience=15"),
    ),
    "logistic_regression": ("eicu,rivals/logistic_regression", ("model.encoder.components=16",)),
    "published_score": ("eicu,rivals/published_score", ()),
}
"""Name -> layers and settings. With so few deaths no subject is spared for the rectifier."""
FITS_NOTHING = "published_score"
HEADER = ("method", "rows (deaths)", *METRICS, *(f"{metric}, full minus it" for metric in METRICS))


def run(out: Path, name: str, num_seeds: int, given: Sequence[str]) -> Path:
    """All folds and seeds of a method; returns the parent's folder."""
    layers, own = METHODS[name]
    words = [f"experiment={layers}", *COMMON, *own, f"evaluation.num_seeds={num_seeds}", *given]
    mark = out / f"{name}-{digest(words)[:8]}.done"
    if not mark.is_file():
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        parent = protocols.train(load([*words, f"paths.data={out}/data", f"paths.runs={out}/runs"]))
        mark.write_text(str(parent))
    return Path(mark.read_text())


def predictions(parent: Path, seeds: Sequence[int]) -> pl.DataFrame:
    """Test rows of all folds with a known label, once for each seed; a method without seeds says the same for all."""
    found = pl.read_parquet(parent / folders.PREDICTIONS).filter(pl.col(f"label/{TASK}").is_not_null())
    columns = found.select(
        "seed", "fold", "row_id", "subject_id", pl.col(f"label/{TASK}").alias("label"),
        pl.col(f"probability/{TASK}").alias("probability"),
    )  # fmt: skip
    if columns["seed"].n_unique() == len(seeds):
        return columns
    return pl.concat([columns.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in seeds])


def compare(rows: dict[str, pl.DataFrame], names: Sequence[str]) -> list[dict[str, object]]:
    """One line a method: its scores, and the full method's minus its, on the rows that all of them predict."""
    keys = ["seed", "fold", "row_id"]
    joined = rows[names[0]].rename({"probability": names[0]})
    for name in names[1:]:
        own = rows[name].select(*keys, pl.col("probability").alias(name))
        joined = joined.join(own, on=keys, how="inner", validate="1:1")
    joined = joined.with_columns(subject=pl.col("subject_id").rank("dense")).sort(keys)
    drawn = {
        "label": _column(joined, "label"), "subject": _column(joined, "subject"), "fold": _column(joined, "fold"),
        "repeat": _column(joined, "seed"),
    }  # fmt: skip
    once = joined.filter(pl.col("seed") == joined["seed"].min())
    counted = f"{once.height} ({int(once['label'].sum())})"
    table = []
    for name in names:
        found = bootstrap_intervals(_column(joined, name), **drawn)
        apart = paired_difference(_column(joined, names[0]), _column(joined, name), **drawn)
        told = [_told(found[metric]) for metric in METRICS]
        differing = ["" if name == names[0] else _told(apart[metric], "+.3f") for metric in METRICS]
        table.append(dict(zip(HEADER, [name, counted, *told, *differing], strict=True)))
    return table


def _column(frame: pl.DataFrame, name: str) -> Tensor:
    return torch.from_numpy(frame[name].cast(pl.Float64).to_numpy(writable=True))


def _told(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results_eicu"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--simulated", action="store_true")
    given = parser.parse_args()
    root = os.environ.get("EICU_ROOT", "")
    if given.simulated == bool(root):
        parser.error(f"EICU_ROOT={root!r} and --simulated={given.simulated}: give one of them")
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    console.quieten()
    words = ["paths.eicu_root=''"] if given.simulated else [f"paths.eicu_root={root}"]
    seeds = list(range(given.seeds))
    parents = {name: run(out, name, 1 if name == FITS_NOTHING else given.seeds, words) for name in METHODS}
    rows = {name: predictions(parent, seeds) for name, parent in parents.items()}
    learnt = [name for name in METHODS if name != FITS_NOTHING]
    print(f"\n5 folds, {given.seeds} seeds, {'simulated data' if given.simulated else 'EICU_ROOT'}\n")
    for names in (learnt, list(METHODS)):
        print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
        for line in compare(rows, names):
            print("| " + " | ".join(map(str, line.values())) + " |")
        print()


if __name__ == "__main__":
    main()
