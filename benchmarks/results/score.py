"""Score what `run` left: every method and the oracle on the pooled test rows of the releases of a setting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from benchmarks.results import plan
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, release_folder
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.metrics.cells import metric_intervals, paired_difference
from mmnar_lightning.metrics.diagnostics import order_tipping_point
from mmnar_lightning.metrics.intervals import Interval

KEYS = ["release", "row_id"]
MEAN = "mean"
"""Of a metric over the tasks."""
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


def truth_of(out: Path, setting: str, seed: int) -> pl.DataFrame:
    """The truth of a release, `subject_id` as text."""
    strengths: dict[str, Any] = dict(plan.SETTINGS[setting])
    knobs = SimulateConfig(**strengths, seed=seed, subjects=plan.SUBJECTS, images=False, databases=["mimic_iv"])
    truth = read_truth(release_folder(knobs, out / "data"), "mimic_iv")
    return truth.with_columns(pl.col("subject_id").cast(pl.String))


def _with_oracle(rows: pl.DataFrame, out: Path, setting: str, seed: int) -> pl.DataFrame:
    truth = truth_of(out, setting, seed)
    tasks = [name.removeprefix("label/") for name in rows.columns if name.startswith("label/")]
    best = truth.select("subject_id", *(pl.col(f"oracle_all/{task}").alias(f"oracle/{task}") for task in tasks))
    joined = rows.join(best, on="subject_id", how="left", validate="m:1")
    assert not joined[f"oracle/{tasks[0]}"].has_nulls()
    return joined.with_columns(
        release=pl.lit(seed, pl.Int64), subject=pl.col("subject_id").rank("dense").cast(pl.Int64) + seed * BLOCK
    ).drop("subject_id")


def scores(setting: Setting, *, num_replicates: int, by_pattern: bool) -> Iterator[dict[str, object]]:
    """One row a task, pattern, method and metric: counts, value and 95 % interval, averaged over releases.

    The last task is `mean`: of the metric over the tasks, on the rows whose labels are all known, of the releases in
    which all tasks have both classes. `releases` counts those in which the metric is defined.
    """
    for cell in _cells(setting, by_pattern):
        for method in setting.methods:
            (probability,) = cell.columns(method)
            found = metric_intervals(probability, **cell.drawn, num_replicates=num_replicates)
            yield from _told(setting, cell, method, "", found)


def differences(
    setting: Setting, pairs: Sequence[tuple[str, str]], *, num_replicates: int
) -> Iterator[dict[str, object]]:
    """One row a task, `mean` included, pair, metric: the first method minus the second, on the same rows and draws."""
    for cell in _cells(setting, by_pattern=False):
        for first, second in pairs:
            found = paired_difference(*cell.columns(first, second), **cell.drawn, num_replicates=num_replicates)
            yield from _told(setting, cell, first, second, found)


def tipping_points(setting: Setting, first: str, second: str) -> Iterator[dict[str, object]]:
    """One row a task and pattern: the shift of the first method's logits on it at which its AUROC is the second's.

    Over the rows of all releases together.
    """
    for task in setting.tasks:
        rows = setting.rows.filter(pl.col(f"label/{task}").is_not_null())
        one, other = (_column(rows[f"{name}/{task}"]).logit() for name in (first, second))
        label = _column(rows[f"label/{task}"])
        for pattern in rows["pattern"].value_counts(sort=True)["pattern"]:
            shifted = torch.from_numpy((rows["pattern"] == pattern).to_numpy(writable=True))
            shift = order_tipping_point(one, other, label, shifted)
            yield {
                "setting": setting.name, "task": task, "pattern": pattern, "method": first, "other": second,
                "rows": int(shifted.sum()), "shift": shift,
            }  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    """Rows that are scored together; of `mean`, once for every task.

    Attributes:
        task: name, or `mean`.
        pattern: label, or `all`.
        rows: whose labels of these tasks are known.
        tasks: what is scored.
    """

    task: str
    pattern: str
    rows: pl.DataFrame
    tasks: Sequence[str]

    def columns(self, *methods: str) -> list[Tensor]:
        """Probabilities of some methods, task after task."""
        return [torch.cat([_column(self.rows[f"{method}/{task}"]) for task in self.tasks]) for method in methods]

    @property
    def drawn(self) -> dict[str, Any]:
        """What the replicates are drawn by: the same subjects of a release in every task."""
        size, times = self.rows.height, len(self.tasks)
        return {
            "label": torch.cat([_column(self.rows[f"label/{task}"]) for task in self.tasks]),
            "subject": _column(self.rows["subject"]).repeat(times),
            "fold": _column(self.rows["release"]).repeat(times),
            "repeat": torch.arange(times).repeat_interleave(size),
        }


def _cells(setting: Setting, by_pattern: bool) -> Iterator[_Cell]:
    for task, tasks in (*((name, [name]) for name in setting.tasks), (MEAN, setting.tasks)):
        known = setting.rows.filter(pl.all_horizontal(pl.col(f"label/{name}").is_not_null() for name in tasks))
        cells = [("all", known)]
        if by_pattern:
            groups = sorted(known.group_by("pattern"), key=lambda entry: -entry[1].height)
            cells += [(str(pattern), rows) for (pattern,), rows in groups]
        for pattern, rows in cells:
            shared = rows if len(tasks) == 1 else _with_both_classes(rows, tasks)
            if shared.height:
                yield _Cell(task, pattern, shared, tasks)


def _with_both_classes(rows: pl.DataFrame, tasks: Sequence[str]) -> pl.DataFrame:
    """Rows of the releases in which every task has both classes, so that a mean is over the same releases in each."""
    labels = [pl.col(f"label/{name}") for name in tasks]
    return rows.filter(pl.all_horizontal((label.any() & ~label.all()).over("release") for label in labels))


def _column(values: pl.Series) -> Tensor:
    return torch.from_numpy(values.cast(pl.Float64).to_numpy(writable=True))


def _told(
    setting: Setting, cell: _Cell, first: str, second: str, found: dict[str, Interval]
) -> Iterator[dict[str, object]]:
    positives = sum(int(cell.rows[f"label/{task}"].sum()) for task in cell.tasks)
    for metric in RESAMPLED:
        interval = found[metric]
        yield {
            "setting": setting.name, "task": cell.task, "pattern": cell.pattern, "method": first, "minus": second,
            "metric": metric, "releases": interval.num_parts // len(cell.tasks), "rows": cell.rows.height,
            "positives": positives, "value": interval.value, "low": interval.low, "high": interval.high,
        }  # fmt: skip
