"""Tables whose runs were never trained: declarations, plans and stored predictions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from mmnar_lightning.config.compose import load, save
from mmnar_lightning.runs import done, folders
from mmnar_lightning.tables import declared, plan, work
from mmnar_lightning.tables.plan import Entry, Plan

DECLARED: dict[str, Any] = {
    "seeds": [0, 1],
    "folds": 2,
    "cohorts": {"own": "custom"},
    "methods": {"presence": "baselines/mask_only", "regression": "baselines/logistic_regression"},
    "family": {"reference": "regression"},
}
"""Two methods on one cohort, two seeds, two folds: eight entries."""

MODALITIES = ("table", "vectors")
DROPPED = "labs is dropped: lab.csv.gz is missing"
"""Of every cohort."""


def planned(place: Path, *words: str, **changed: Any) -> Plan:
    """The plan of `DECLARED` with other values of some keys, in a folder."""
    given = [f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}", *words]
    table = declared.parse({**DECLARED, **changed}, "small")
    return plan.make(table, load(["table.name=small", *given]), ["table.name=small", *given])


def of(found: Plan, method: str, cohort: str = "own") -> list[Entry]:
    """The entries of a method on a cohort."""
    return [entry for entry in found.entries if (entry.cohort, entry.method) == (cohort, method)]


def rows_of(
    entry: Entry, strength: float, *, num_rows: int = 400, rate: float = 0.3, tasks: tuple[str, ...] = ("first",)
) -> pl.DataFrame:
    """Test rows of an entry, the same for every method; how much a logit reads of the label is its strength."""
    truth = np.random.default_rng((17, entry.child.fold or 0))
    number = np.arange(num_rows) + num_rows * (entry.child.fold or 0)
    noise = np.random.default_rng((entry.child.seed, entry.child.fold or 0, len(entry.method)))
    columns: dict[str, Any] = {
        "row_id": number,
        "subject_id": [f"s{one // 2}" for one in number],
        "split": "test",
        "fold": entry.child.fold or 0,
        "pattern": np.where(number % 4 == 0, "10", "11"),
    }
    for task in tasks:
        label = truth.random(num_rows) < rate
        columns[f"label/{task}"] = label
        columns[f"logit/{task}"] = strength * label + noise.normal(size=num_rows)
    return pl.DataFrame(columns)


def store(entry: Entry, rows: pl.DataFrame | None, reason: str = "") -> None:
    """Leave what a finished entry leaves."""
    entry.folder.mkdir(parents=True, exist_ok=True)
    if rows is None:
        stage.write_json(entry.outcome, {work.REASON: reason})
        return
    run = entry.runs[0]
    run.mkdir(parents=True)
    rows.write_parquet(run / folders.PREDICTIONS)
    stage.write_json(run / work.COST, {work.WALL: 2.0, work.CPU: 3.0})
    stage.write_json(
        run / folders.RESULTS, {"modalities": list(MODALITIES), "dropped": [DROPPED, "labs: 2 rows have no value"]}
    )
    done.mark(run)
    stage.write_json(entry.outcome, {work.CHOSEN: run.name, work.LOSSES: []})


def store_all(found: Plan, rows: Callable[[Entry], pl.DataFrame | None]) -> Plan:
    """Store the rows of every entry."""
    for entry in found.entries:
        store(entry, rows(entry), reason="" if rows(entry) is not None else "it has no score")
    return found


def at_hand(folder: Path, rows: pl.DataFrame, *words: str, **results: Any) -> Path:
    """The folder of an evaluated run that no table has made."""
    folder.mkdir(parents=True)
    rows.write_parquet(folder / folders.PREDICTIONS)
    save(load(["experiment=custom", *words]), folder / folders.CONFIG)
    usual = {"dataset": "custom", "simulated": False, "modalities": list(MODALITIES), "dropped": [DROPPED]}
    stage.write_json(folder / folders.RESULTS, {**usual, **results})
    done.mark(folder)
    return folder
