"""eICU, death in hospital seen 24 h into the unit: every method on the same outer folds, chosen on inner folds.

With EICU_ROOT the release that lies there, with --simulated the built-in one, and then with its oracle too. In each
outer fold the trial with the lowest log-loss on the held-out rows of the inner folds is chosen, for every method alike,
and only that one reads the fold's test rows. Finished runs are not trained again; --fold runs one outer fold, so that
several processes can share the work.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from data_modules.simulate.release import read_truth
from data_modules.stage import digest
from mmnar_lightning import console
from mmnar_lightning.config.compose import load
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.metrics.cells import metric_intervals, paired_difference
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.runs import build, cohorts, folders, single

TASK = "in_hospital_mortality"
FOLDS = 5
COMMON = (
    f"cohort.tasks=[{TASK}]",
    "cohort.split.train=0.75",
    "cohort.split.calibration=0.0",
    "cohort.split.val=0.1",
    "rectifier.fit=none",
    "evaluation.inner_folds=5",
    "evaluation.num_replicates=100",
    "embed.text.encoder=hashed_ngrams",
    "wandb.enabled=false",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
)
"""No subject is reserved for the rectifier: there are few deaths, and at home its gate stays closed."""


def _trees(components: int, leaves: int, rate: float) -> tuple[str, ...]:
    key = "baseline.boosted_trees"
    return f"{key}.num_components={components}", f"{key}.max_leaf_nodes={leaves}", f"{key}.learning_rate={rate}"


def _regression(bins: int, components: int, *more: str) -> tuple[str, ...]:
    return f"model.encoder.bins={bins}", f"model.encoder.components={components}", *more


PATTERN = "model.additive.slopes=pattern"
METHODS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "network": (
        "eicu,tuned",
        (
            ("model.encoder.components=32", "model.additive.slopes=shared"),
            ("model.encoder.components=32", "model.additive.slopes=shared", "optim.lr=5e-4"),
            ("model.encoder.components=32", "model.additive.deviations=[0.03,0.1]"),
        ),
    ),
    "boosted_trees": (
        "eicu,baselines/boosted_trees",
        (_trees(32, 15, 0.05), _trees(32, 4, 0.05), _trees(32, 4, 0.02), _trees(8, 4, 0.02), _trees(64, 8, 0.02)),
    ),
    "piecewise_regression": (
        "eicu,baselines/logistic_regression",
        (_regression(8, 32), _regression(4, 32), _regression(16, 32), _regression(8, 8), _regression(8, 32, PATTERN)),
    ),
    "linear_regression": (
        "eicu,baselines/logistic_regression",
        (_regression(0, 8), _regression(0, 16), _regression(0, 32), _regression(0, 64), _regression(0, 128)),
    ),
    "mask_only": ("eicu,baselines/mask_only", (("optim.lr=3e-3",), ("optim.lr=3e-2",))),
    "published_score": ("eicu,baselines/published_score", ((),)),
}
"""Name -> layers, words of each trial."""
BLEND, REFERENCE, PUBLISHED = "blend", "network", "published_score"
HEADER = ("method", "rows (deaths)", *RESAMPLED, *(f"{metric}, network minus it" for metric in RESAMPLED))


def words_of(name: str, trial: Sequence[str], fold: int, given: Sequence[str]) -> list[str]:
    """The command line of a trial in an outer fold."""
    return [f"experiment={METHODS[name][0]}", *COMMON, f"cohort.split.test_fold={fold}", *trial, *given]


def trained(out: Path, name: str, words: Sequence[str]) -> Path:
    """Train a trial without reading the test rows, unless that was done; returns the run's folder."""
    mark = out / f"{name}-{digest(list(words))[:8]}.done"
    if not mark.is_file():
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        started = time.process_time()
        folder = single.train(load([*words, "evaluate=false", f"paths.data={out}/data", f"paths.runs={out}/runs"]))
        mark.write_text(f"{folder}\n{time.process_time() - started:.0f}")
    return Path(mark.read_text().splitlines()[0])


def held_out_loss(folder: Path) -> float:
    """Log-loss on the held-out rows of the inner folds: of the chosen epoch of a network, or of an estimator."""
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    return float(logged.select(pl.col("val/log_loss").min()).item())


def choose(out: Path, name: str, fold: int, given: Sequence[str]) -> dict[str, Any]:
    """Train all trials of a method in an outer fold, and read the test rows with the best one.

    Returns:
        `fold`, `method`, `losses` of the trials, `chosen`, `folder`.
    """
    runs = [trained(out, name, words_of(name, trial, fold, given)) for trial in METHODS[name][1]]
    losses = [held_out_loss(run) for run in runs] if len(runs) > 1 else [0.0]
    chosen = int(np.argmin(losses))
    words = words_of(name, METHODS[name][1][chosen], fold, given)
    single.evaluate(load([*words, f"run={runs[chosen]}", f"paths.data={out}/data", f"paths.runs={out}/runs"]))
    return {"fold": fold, "method": name, "losses": losses, "chosen": chosen, "folder": str(runs[chosen])}


def predictions(found: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Test rows of all folds with a known label."""
    parts = [
        pl.read_parquet(Path(entry["folder"]) / folders.PREDICTIONS)
        .filter(pl.col(f"label/{TASK}").is_not_null())
        .select(
            pl.lit(entry["fold"]).alias("fold"), "row_id", "subject_id", pl.col(f"label/{TASK}").alias("label"),
            pl.col(f"probability/{TASK}").alias("probability"),
        )
        for entry in found
    ]  # fmt: skip
    return pl.concat(parts)


def blended(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """The mean logit of two methods on the same rows."""
    keys = ["fold", "row_id"]
    joined = first.join(second.select(*keys, pl.col("probability").alias("other")), on=keys, validate="1:1")
    first_logit, second_logit = ((pl.col(name) / (1 - pl.col(name))).log() for name in ("probability", "other"))
    return joined.with_columns(probability=1 / (1 + (-(first_logit + second_logit) / 2).exp())).drop("other")


def oracle(rows: pl.DataFrame, words: Sequence[str]) -> pl.DataFrame:
    """What the simulator would predict, of the rows that it shows the truth of: first unit stays."""
    config = load(words)
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    truth = read_truth(Path(cohorts.release_roots(config)), "eicu").select(
        pl.col("patientunitstayid").alias("stay_id"), pl.col(f"oracle_all/{TASK}").alias("probability")
    )
    best = datamodule.cohort.table.join(truth, on="stay_id", validate="1:1").select("row_id", "probability")
    return rows.drop("probability").join(best, on="row_id", validate="m:1")


def compare(rows: Mapping[str, pl.DataFrame], names: Sequence[str]) -> list[dict[str, object]]:
    """One line a method: its scores, and the network's minus its, on the rows that all of them predict."""
    keys = ["fold", "row_id"]
    joined = rows[names[0]].rename({"probability": names[0]})
    for name in names[1:]:
        own = rows[name].select(*keys, pl.col("probability").alias(name))
        joined = joined.join(own, on=keys, how="inner", validate="1:1")
    joined = joined.with_columns(subject=pl.col("subject_id").rank("dense")).sort(keys)
    drawn: dict[str, Any] = {name: _column(joined, name) for name in ("label", "subject", "fold")}
    counted = f"{joined.height} ({int(joined['label'].sum())})"
    table: list[dict[str, object]] = []
    for name in names:
        found = metric_intervals(_column(joined, name), **drawn)
        apart = paired_difference(_column(joined, REFERENCE), _column(joined, name), **drawn)
        reported = [_told(found[metric]) for metric in RESAMPLED]
        differing = ["" if name == REFERENCE else _told(apart[metric], "+.3f") for metric in RESAMPLED]
        table.append(dict(zip(HEADER, [name, counted, *reported, *differing], strict=True)))
    return table


def _column(frame: pl.DataFrame, name: str) -> Tensor:
    return torch.from_numpy(frame[name].cast(pl.Float64).to_numpy(writable=True))


def _told(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def report(
    out: Path, chosen: Mapping[str, Sequence[Mapping[str, Any]]], words: Sequence[str], *, simulated: bool
) -> None:
    """Print the tables of methods and of trials, and the CPU time of every method."""
    rows = {name: predictions(found) for name, found in chosen.items()}
    rows[BLEND] = blended(rows[REFERENCE], rows["boosted_trees"])
    learnt = [REFERENCE, BLEND, *(name for name in METHODS if name not in {REFERENCE, PUBLISHED})]
    tables = [learnt, [*learnt, PUBLISHED]]
    if simulated:
        rows["oracle"] = oracle(rows[REFERENCE], [*words_of(REFERENCE, (), 0, words), f"paths.data={out}/data"])
        tables.append([*learnt, "oracle"])
    for names in tables:
        print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
        for line in compare(rows, names):
            print("| " + " | ".join(map(str, line.values())) + " |")
        print()
    print("| method | trial | chosen in folds | held-out log-loss of each fold | CPU s |\n|---|---|---|---|---|")
    for name, found in chosen.items():
        for place, trial in enumerate(METHODS[name][1]):
            folds = ", ".join(str(entry["fold"]) for entry in found if entry["chosen"] == place)
            losses = ", ".join(f"{entry['losses'][place]:.4f}" for entry in found)
            print(f"| {name} | {' '.join(trial)} | {folds} | {losses} | {_seconds(out, name, trial, words)} |")


def _seconds(out: Path, name: str, trial: Sequence[str], given: Sequence[str]) -> int:
    marks = [out / f"{name}-{digest(words_of(name, trial, fold, given))[:8]}.done" for fold in range(FOLDS)]
    return sum(int(mark.read_text().splitlines()[1]) for mark in marks)


def main() -> None:
    """Run, choose, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results_eicu"))
    parser.add_argument("--fold", type=int, action="append", choices=range(FOLDS), help="only train these outer folds")
    parser.add_argument("--simulated", action="store_true")
    given = parser.parse_args()
    root = os.environ.get("EICU_ROOT", "")
    if given.simulated == bool(root):
        parser.error(f"EICU_ROOT={root!r} and --simulated={given.simulated}: give one of them")
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    console.quieten()
    words = ["paths.eicu_root=''"] if given.simulated else [f"paths.eicu_root={root}"]
    folds = given.fold or list(range(FOLDS))
    chosen = {name: [choose(out, name, fold, words) for fold in folds] for name in METHODS}
    if not given.fold:
        report(out, chosen, words, simulated=given.simulated)


if __name__ == "__main__":
    main()
