"""Score what `run` left: mean AUROC over the tasks, of every method and of the differences that are parts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.phases import cohorts, plan
from benchmarks.phases.predictions import PREDICTIONS
from benchmarks.phases.run import is_done, run_of
from mmnar_lightning.config.compose import load
from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.bootstrap import draw_weights
from mmnar_lightning.metrics.intervals import percentile_interval

NUM_REPLICATES = 200
"""Bootstrap draws."""


@dataclass(frozen=True)
class Cell:
    """Test rows of all finished replicates of a cell.

    Attributes:
        tasks: T names.
        rows: `replicate`, `label/<task>` and `<method>/<task>`, a probability; every row is a subject.
        chosen: replicate -> the best baseline on val.
    """

    tasks: Sequence[str]
    rows: pl.DataFrame
    chosen: Mapping[int, str]

    @property
    def methods(self) -> list[str]:
        """What predicted every row, the oracle included."""
        names = dict.fromkeys(name.split("/")[0] for name in self.rows.columns if "/" in name)
        return [name for name in names if name != "label"]


def aurocs(cell: Cell, *, num_replicates: int = NUM_REPLICATES) -> dict[str, Tensor]:
    """Mean AUROC over the tasks and replicates of a cell.

    Subjects are drawn within their replicate, the same for every method and task. One difference of a task is that of
    `metrics.paired.paired_difference` with replicates; the mean over tasks of the same subjects needs their draws.

    Args:
        cell: what was predicted.
        num_replicates: R, bootstrap draws.

    Returns:
        Method -> (1 + R,) float64: of the sample, and of each draw.
    """
    generator = np.random.default_rng(0)
    parts = [rows for _, rows in cell.rows.group_by("replicate", maintain_order=True)]
    found = {method: torch.zeros(1 + num_replicates, dtype=torch.float64) for method in cell.methods}
    for rows in parts:
        drawn = list(draw_weights(generator, num_replicates, torch.arange(rows.height), rows.height))
        for weight, place in _placed([torch.ones(1, rows.height, dtype=torch.float64), *drawn]):
            for method, task in itertools.product(cell.methods, cell.tasks):
                own = _auroc(_column(rows[f"{method}/{task}"]), _column(rows[f"label/{task}"]), weight)
                found[method][place] += own / (len(parts) * len(cell.tasks))
    return found


def _placed(weights: Sequence[Tensor]) -> Iterator[tuple[Tensor, slice]]:
    """Weights, each with the places of its draws."""
    start = 0
    for weight in weights:
        yield weight, slice(start, start + len(weight))
        start += len(weight)


def _auroc(probability: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """(C,) AUROC of N rows under (C, N) weights."""
    order = probability.argsort(descending=True)
    ends = functional.threshold_ends(probability[order])
    ordered = weight[:, order]
    positive = (ordered * label[order]).cumsum(-1)[:, ends]
    negative = ordered.cumsum(-1)[:, ends] - positive
    return functional.area_under_roc(pad(positive, (1, 0)), pad(negative, (1, 0)))


NEEDED = ("full", *plan.BASELINES)
"""Methods without which a replicate is not scored; the others are scored where all its replicates have them."""


def finished(out: Path, cell: str) -> dict[int, list[str]]:
    """Replicate -> methods that are trained with the present settings, of those that have all that is needed."""
    found = {number: _trained(out / cell / str(number), cell, number) for number in plan.REPLICATES}
    return {number: methods for number, methods in found.items() if set(NEEDED) <= set(methods)}


def _trained(place: Path, cell: str, replicate: int) -> list[str]:
    return [
        name
        for name in plan.CELLS[cell].methods
        if is_done(place / "runs" / name, name, load(plan.words(cell, name, replicate, str(place))))
    ]


def gather(out: Path, cell: str) -> Cell | None:
    """The predictions of every method and the oracle's."""
    replicates = finished(out, cell)
    if not replicates:
        return None
    chosen = {number: best_on_val(out / cell / str(number) / "runs") for number in replicates}
    methods = [name for name in plan.CELLS[cell].methods if all(name in own for own in replicates.values())]
    frames = [_replicate(out / cell / str(number), cell, number, chosen[number], methods) for number in replicates]
    tasks = [name.removeprefix("label/") for name in frames[0].columns if name.startswith("label/")]
    return Cell(tasks, pl.concat(frames), chosen)


def _column(values: pl.Series) -> Tensor:
    return torch.from_numpy(values.cast(pl.Float64).to_numpy(writable=True))


def best_on_val(runs: Path) -> str:
    """The baseline with the highest mean AUROC on val, of the runs of a replicate."""
    return max(plan.BASELINES, key=lambda name: validation_auroc(run_of(runs / name)))


def validation_auroc(run: Path) -> float:
    """The best mean AUROC on val of a run."""
    best = pl.read_csv(run / "metrics.csv", infer_schema_length=None)["val/auroc"].max()
    assert isinstance(best, float)
    return best


def _replicate(place: Path, cell: str, replicate: int, best: str, methods: Sequence[str]) -> pl.DataFrame:
    oracle = pl.read_parquet(place / plan.CELLS[cell].cohort(replicate) / cohorts.TRUTH)
    runs = {name: run_of(place / "runs" / name) for name in methods}
    found = predictions(runs, oracle, "row_id", best).with_columns(replicate=pl.lit(replicate, pl.Int64))
    assert found.height == plan.TEST_ROWS, "every run predicts every test row"
    return found


def predictions(runs: Mapping[str, Path], oracle: pl.DataFrame, key: str, best: str) -> pl.DataFrame:
    """The test rows of some runs, beside the oracle's.

    Args:
        runs: method -> folder of its run.
        oracle: a key and `oracle/<task>`.
        key: column of the predictions that it is joined on.
        best: the method that is also called `best`.

    Returns:
        The key, `label/<task>` and `<method>/<task>`, a probability.
    """
    found = oracle
    tasks = [name.removeprefix("oracle/") for name in oracle.columns if name.startswith("oracle/")]
    for name, run in runs.items():
        predicted = pl.read_parquet(run / "predictions.parquet")
        own = [_probability(predicted, task).alias(f"{name}/{task}") for task in tasks]
        if name == "full":
            before = [_sigmoid(f"logit/{task}").alias(f"{plan.BEFORE}/{task}") for task in tasks]
            own += [*before, *(pl.col(f"label/{task}").cast(pl.Float64) for task in tasks)]
        found = found.join(predicted.select(key, *own), on=key, how="inner", validate="1:1")
    return found.with_columns(pl.col(f"{best}/{task}").alias(f"{plan.BEST}/{task}") for task in tasks)


def _probability(predicted: pl.DataFrame, task: str) -> pl.Expr:
    """What a run says in the end: after its rectifier where it has one."""
    rectified = f"rectified/{task}"
    return _sigmoid(rectified if rectified in predicted.columns else f"logit/{task}")


def _sigmoid(name: str) -> pl.Expr:
    return 1 / (1 + (-pl.col(name)).exp())


def rows(name: str, cell: Cell, pairs: Mapping[str, tuple[str, str]]) -> Iterator[dict[str, object]]:
    """One row for each method, minus the oracle, and for each part, the first of its methods minus the second.

    Args:
        name: of the cell.
        cell: what was predicted.
        pairs: part -> methods.

    Returns:
        `part` is empty for a method; ranges and verdicts are those of a predicted part.
    """
    drawn = aurocs(cell)
    predicted = {entry.part: entry for entry in PREDICTIONS if entry.cell == name}
    listed = [("", method, plan.ORACLE) for method in drawn if method != plan.ORACLE]
    listed += [(part, *both) for part, both in pairs.items()]
    for part, first, second in listed:
        one, other = drawn[first], drawn[second]
        value = float(one[0] - other[0])
        found = percentile_interval(value, (one - other)[1:], len(cell.chosen), 0.95)
        entry = predicted.get(part)
        yield {
            "cell": name, "part": part, "method": first, "minus": second, "replicates": len(cell.chosen),
            "rows": cell.rows.height, "value": value, "low": found.low, "high": found.high,
            "auroc": float(one[0]),
            "predicted_low": entry.low if entry else None, "predicted_high": entry.high if entry else None,
            "verdict": entry.verdict(value, found.low, found.high) if entry else None,
        }  # fmt: skip


def score(out: Path, cell: str) -> list[dict[str, object]]:
    """All rows of a cell, none if no replicate is finished."""
    torch.set_num_threads(1)
    found = gather(out, cell)
    if found is None:
        return []
    chosen = [
        {"cell": cell, "part": "chosen", "method": name, "replicates": number} for number, name in found.chosen.items()
    ]
    pairs = {part: both for part, both in plan.CELLS[cell].pairs.items() if {*found.methods} >= {*both}}
    return [*rows(cell, found, pairs), *chosen]
