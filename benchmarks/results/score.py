"""Score what `run` left: every method and the oracle on the pooled test rows of the releases of a setting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from benchmarks.results import plan
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, release_folder
from mmnar_lightning.metrics.intervals import METRICS, Interval, bootstrap_intervals, paired_difference

KEYS = ["release", "row_id"]
BLOCK = 1_000_000
"""Subject numbers of a release begin at a multiple of it."""


@dataclass(frozen=True)
class Setting:
    """Test rows of all finished releases of a setting, by release and row.

    Attributes:
        name: of the setting.
        tasks: T names.
        rows: `release`, `row_id`, `subject`, `pattern`, `label/<task>`, and `<method>/<task>`, a probability.
        methods: those that finished on every one of these releases.
    """

    name: str
    tasks: Sequence[str]
    rows: pl.DataFrame
    methods: Sequence[str]


def finished(out: Path, setting: str, methods: Sequence[str]) -> list[int]:
    """Seeds of the releases on which all of some methods finished."""
    return [
        seed for seed in plan.SEEDS if all((folder(out, setting, seed, name) / "done").is_file() for name in methods)
    ]


def folder(out: Path, setting: str, seed: int, method: str) -> Path:
    """Where the run of a method on a release lies."""
    return out / "runs" / f"{setting.replace(' ', '')}-{seed}" / method


def gather(out: Path, setting: str, methods: Sequence[str]) -> Setting | None:
    """The predictions of some methods, and the oracle's, on the releases that all of them finished."""
    seeds = finished(out, setting, methods)
    if not seeds:
        return None
    frames = [_release(out, setting, seed, methods) for seed in seeds]
    tasks = [name.removeprefix("label/") for name in frames[0].columns if name.startswith("label/")]
    return Setting(setting, tasks, pl.concat(frames).sort(KEYS), [*methods, "oracle"])


def _release(out: Path, setting: str, seed: int, methods: Sequence[str]) -> pl.DataFrame:
    joined: pl.DataFrame | None = None
    for name in methods:
        place = folder(out, setting, seed, name)
        predicted = pl.read_parquet(place / (place / "done").read_text() / "predictions.parquet")
        tasks = [column.removeprefix("label/") for column in predicted.columns if column.startswith("label/")]
        own = [_probability(predicted, task).alias(f"{name}/{task}") for task in tasks]
        if joined is None:
            joined = predicted.select("row_id", "subject_id", "pattern", *(f"label/{task}" for task in tasks), *own)
        else:
            joined = joined.join(predicted.select("row_id", *own), on="row_id", validate="1:1")
    assert joined is not None
    return _with_oracle(joined, out, setting, seed)


def _probability(predicted: pl.DataFrame, task: str) -> pl.Expr:
    """What a run says in the end: after its rectifier where it has one."""
    logit = f"rectified/{task}" if f"rectified/{task}" in predicted.columns else f"logit/{task}"
    return 1 / (1 + (-pl.col(logit)).exp())


def _with_oracle(rows: pl.DataFrame, out: Path, setting: str, seed: int) -> pl.DataFrame:
    knobs = SimulateConfig(
        **plan.SETTINGS[setting], seed=seed, subjects=plan.SUBJECTS, films=False, sources=["mimic_iv"]
    )
    truth = read_truth(release_folder(knobs, out / "data"), "mimic_iv").with_columns(
        pl.col("subject_id").cast(pl.String)
    )
    tasks = [name.removeprefix("label/") for name in rows.columns if name.startswith("label/")]
    best = truth.select("subject_id", *(pl.col(f"oracle_all/{task}").alias(f"oracle/{task}") for task in tasks))
    joined = rows.join(best, on="subject_id", how="left", validate="m:1")
    assert not joined[f"oracle/{tasks[0]}"].has_nulls()
    return joined.with_columns(
        release=pl.lit(seed, pl.Int64), subject=pl.col("subject_id").rank("dense").cast(pl.Int64) + seed * BLOCK
    ).drop("subject_id")


def scores(setting: Setting, *, num_replicates: int, by_pattern: bool) -> Iterator[dict[str, object]]:
    """One row a task, pattern, method and metric: counts, value and 95 % interval, averaged over releases."""
    for task in setting.tasks:
        for pattern, rows in _cells(setting, task, by_pattern):
            label, subject, release = _columns(rows, f"label/{task}", "subject", "release")
            for method in setting.methods:
                (probability,) = _columns(rows, f"{method}/{task}")
                found = bootstrap_intervals(probability, label, subject, fold=release, num_replicates=num_replicates)
                yield from _told(setting, task, pattern, method, "", rows, found, label)


def differences(
    setting: Setting, pairs: Sequence[tuple[str, str]], *, num_replicates: int
) -> Iterator[dict[str, object]]:
    """One row a task, pair and metric: the first method minus the second, on the same rows and draws."""
    for task in setting.tasks:
        for pattern, rows in _cells(setting, task, by_pattern=False):
            label, subject, release = _columns(rows, f"label/{task}", "subject", "release")
            for first, second in pairs:
                both = _columns(rows, f"{first}/{task}", f"{second}/{task}")
                found = paired_difference(*both, label, subject, fold=release, num_replicates=num_replicates)
                yield from _told(setting, task, pattern, first, second, rows, found, label)


def _cells(setting: Setting, task: str, by_pattern: bool) -> Iterator[tuple[str, pl.DataFrame]]:
    known = setting.rows.filter(pl.col(f"label/{task}").is_not_null())
    yield "all", known
    if by_pattern:
        for (pattern,), rows in sorted(known.group_by("pattern"), key=lambda entry: -entry[1].height):
            yield str(pattern), rows


def _columns(rows: pl.DataFrame, *names: str) -> list[Tensor]:
    return [torch.from_numpy(rows[name].cast(pl.Float64).to_numpy(writable=True)) for name in names]


def _told(
    setting: Setting, task: str, pattern: str, first: str, second: str, rows: pl.DataFrame,
    found: dict[str, Interval], label: Tensor,
) -> Iterator[dict[str, object]]:  # fmt: skip
    for metric in METRICS:
        interval = found[metric]
        yield {
            "setting": setting.name, "task": task, "pattern": pattern, "method": first, "minus": second,
            "metric": metric, "releases": rows["release"].n_unique(), "rows": rows.height,
            "positives": int(label.sum()), "value": interval.value, "low": interval.low, "high": interval.high,
        }  # fmt: skip
