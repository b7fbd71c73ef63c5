"""eICU, death in hospital seen 24 h into the unit: K-fold comparison with baselines and with APACHE IVa.

With EICU_ROOT the release that lies there, with --simulated the built-in one, and then with its oracle too. Finished
runs are not trained again. Each method that learns has five tuning trials, all folds with one seed; the mean
validation AUROC chooses.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules.simulate.release import read_truth
from data_modules.stage import digest
from mmnar_lightning import console
from mmnar_lightning.config.compose import load
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.metrics.intervals import Interval, bootstrap_intervals, paired_difference
from mmnar_lightning.runs import build, folders
from mmnar_lightning.runs.protocols import train

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
SHORT = ("trainer.max_epochs=15", "trainer.patience=15")
SLOW = "optim.lr=5e-5"


def _axes(count: int, inverse_penalty: float) -> tuple[str, ...]:
    return f"model.encoder.components={count}", f"model.additive.inverse_penalties=[{inverse_penalty}]", SLOW


METHODS: dict[str, tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "full": (
        "eicu,tuned",
        ("rectifier.fit=none", *SHORT),
        ((), _axes(16, 0.03), _axes(32, 0.01), _axes(64, 0.01), (*_axes(16, 0.1), "model.fusion.dim=32")),
    ),
    "boosted_trees": (
        "eicu,baselines/boosted_trees",
        (),
        (
            ("baseline.boosted_trees.num_components=8",),
            ("baseline.boosted_trees.num_components=32",),
            ("baseline.boosted_trees.num_components=32", "baseline.boosted_trees.max_leaf_nodes=4"),
            ("baseline.boosted_trees.num_components=32", "baseline.boosted_trees.learning_rate=0.02"),
            ("baseline.boosted_trees.num_components=64",),
        ),
    ),
    "mask_only": (
        "eicu,baselines/mask_only",
        SHORT,
        tuple((f"optim.lr={rate}",) for rate in ("3e-4", "1e-3", "3e-3", "1e-2", "3e-2")),
    ),
    "logistic_regression": (
        "eicu,baselines/logistic_regression",
        (),
        tuple((f"model.encoder.components={count}",) for count in (8, 16, 32, 64, 128)),
    ),
    "published_score": ("eicu,baselines/published_score", (), ((),)),
}
"""Name -> layers, settings of every run, settings of each tuning trial.

With so few deaths no subject is spared for the rectifier.
"""
FITS_NOTHING = "published_score"
HEADER = ("method", "rows (deaths)", *METRICS, *(f"{metric}, full minus it" for metric in METRICS))


def run(out: Path, name: str, words: Sequence[str]) -> Path:
    """All runs of a protocol, unless that was done; returns the parent's folder."""
    mark = out / f"{name}-{digest(list(words))[:8]}.done"
    if not mark.is_file():
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        parent = train(load([*words, f"paths.data={out}/data", f"paths.runs={out}/runs"]))
        mark.write_text(str(parent))
    return Path(mark.read_text())


def words_of(name: str, trial: Sequence[str], given: Sequence[str]) -> list[str]:
    """The command line of a method."""
    layers, own, _ = METHODS[name]
    return [f"experiment={layers}", *COMMON, *own, *trial, *given]


def choose(out: Path, name: str, given: Sequence[str]) -> tuple[str, ...]:
    """The trial with the highest validation AUROC, averaged over the folds; no test row is read."""
    trials = METHODS[name][2]
    if len(trials) == 1:
        return trials[0]
    scores = [validation_auroc(run(out, name, [*words_of(name, trial, given), "evaluate=false"])) for trial in trials]
    for trial, score in zip(trials, scores, strict=True):
        print(f"{name} {' '.join(trial) or '(as it is)'}: mean validation AUROC {score:.4f}", flush=True)
    return trials[max(range(len(trials)), key=scores.__getitem__)]


def validation_auroc(parent: Path) -> float:
    """The best epoch of every fold, averaged."""
    logged = [pl.read_csv(path, infer_schema_length=None) for path in parent.glob("*/metrics.csv")]
    return sum(float(frame.select(pl.col("val/auroc").max()).item()) for frame in logged) / len(logged)


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


def oracle(rows: pl.DataFrame, words: Sequence[str]) -> pl.DataFrame:
    """What the simulator would predict, of the rows that it shows the truth of: first unit stays."""
    config = load(words)
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    truth = read_truth(Path(build.release_roots(config)), "eicu").select(
        pl.col("patientunitstayid").alias("stay_id"), pl.col(f"oracle_all/{TASK}").alias("probability")
    )
    best = datamodule.cohort.table.join(truth, on="stay_id", validate="1:1").select("row_id", "probability")
    return rows.drop("probability").join(best, on="row_id", validate="m:1")


def compare(rows: dict[str, pl.DataFrame], names: Sequence[str]) -> list[dict[str, object]]:
    """One line a method: its scores, and the full method's minus its, on the rows that all of them predict."""
    keys = ["seed", "fold", "row_id"]
    joined = rows[names[0]].rename({"probability": names[0]})
    for name in names[1:]:
        own = rows[name].select(*keys, pl.col("probability").alias(name))
        joined = joined.join(own, on=keys, how="inner", validate="1:1")
    joined = joined.with_columns(subject=pl.col("subject_id").rank("dense")).sort(keys)
    drawn: dict[str, Any] = {
        "label": _column(joined, "label"), "subject": _column(joined, "subject"), "fold": _column(joined, "fold"),
        "repeat": _column(joined, "seed"),
    }  # fmt: skip
    once = joined.filter(pl.col("seed") == joined["seed"].min())
    counted = f"{once.height} ({int(once['label'].sum())})"
    table: list[dict[str, object]] = []
    for name in names:
        found = bootstrap_intervals(_column(joined, name), **drawn)
        apart = paired_difference(_column(joined, names[0]), _column(joined, name), **drawn)
        reported = [_told(found[metric]) for metric in METRICS]
        differing = ["" if name == names[0] else _told(apart[metric], "+.3f") for metric in METRICS]
        table.append(dict(zip(HEADER, [name, counted, *reported, *differing], strict=True)))
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
    parents = {}
    for name in METHODS:
        repeats = 1 if name == FITS_NOTHING else given.seeds
        trial = choose(out, name, words)
        parents[name] = run(out, name, [*words_of(name, trial, words), f"evaluation.num_seeds={repeats}"])
    rows = {name: predictions(parent, seeds) for name, parent in parents.items()}
    learnt = [name for name in METHODS if name != FITS_NOTHING]
    tables = [learnt, list(METHODS)]
    if given.simulated:
        rows["oracle"] = oracle(rows["full"], [*words_of("full", (), words), f"paths.data={out}/data"])
        tables.append([*learnt, "oracle"])
    print(f"\n5 folds, {given.seeds} seeds, {'simulated data' if given.simulated else 'EICU_ROOT'}\n")
    for names in tables:
        print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
        for line in compare(rows, names):
            print("| " + " | ".join(map(str, line.values())) + " |")
        print()


if __name__ == "__main__":
    main()
