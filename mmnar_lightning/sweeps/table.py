"""What the trials of a sweep came to, read from their folders: the same table whoever searched."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from omegaconf import OmegaConf

from mmnar_lightning.config import compose
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps.space import Sweep

TABLE = "trials.csv"
FINISHED = "finished"
STOPPED = "stopped"


class Epoch(NamedTuple):
    """What a trial logged at the end of an epoch's validation."""

    number: int
    value: float
    metrics: dict[str, float]


def epochs(folder: Path, metric: str) -> list[Epoch]:
    """Every epoch of a trial at whose end a metric was logged; of an epoch that was repeated, the last time.

    Only whole lines are read, so a trial may be writing meanwhile.
    """
    found: dict[int, dict[str, float]] = {}
    parts = sorted((folder / "logs").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    for path in parts:
        for row in _rows(path.read_text(encoding="utf-8")):
            if "epoch" in row:
                found.setdefault(int(row["epoch"]), {}).update(row)
    return [Epoch(number, row[metric], row) for number, row in sorted(found.items()) if metric in row]


def _rows(text: str) -> list[dict[str, float]]:
    r"""The numbers of each whole line.

    >>> _rows("epoch,val/auroc\n0,0.5\n1,0.")
    [{'epoch': 0.0, 'val/auroc': 0.5}]
    """
    whole = text[: text.rfind("\n") + 1]
    rows = []
    for line in csv.DictReader(io.StringIO(whole)):
        numbers = {key: _number(value) for key, value in line.items() if key and value}
        rows.append({key: value for key, value in numbers.items() if value is not None})
    return rows


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def build_table(folder: Path, sweep: Sweep, states: Mapping[str, str] | None = None) -> pl.DataFrame:
    """One row a trial: state, parameters, and the metrics of its best epoch; the best trial of all is marked.

    Args:
        folder: of the sweep; each trial has a folder in it.
        sweep: its file.
        states: trial -> what became of it, where the search knows more than whether it finished.
    """
    trials = sorted(path.parent for path in folder.glob(f"*/{folders.CONFIG}"))
    rows = [_row(trial, sweep, states or {}) for trial in trials]
    columns = ["trial", "state", *(f"parameter/{parameter.key}" for parameter in sweep.parameters), "epochs", "epoch"]
    frame = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=[*columns, sweep.metric])
    metrics = sorted(set(frame.columns) - {*columns, sweep.metric})
    best = choose(rows, sweep)
    return frame.select(*columns, sweep.metric, *metrics).with_columns(best=pl.col("trial").eq_missing(pl.lit(best)))


def _row(trial: Path, sweep: Sweep, states: Mapping[str, str]) -> dict[str, Any]:
    settings = compose.flatten(_plain(trial / folders.CONFIG))
    logged = epochs(trial, sweep.metric)
    state = FINISHED if (trial / folders.DONE).is_file() else STOPPED
    best = _best_epoch(logged, sweep)
    return {
        "trial": trial.name,
        "state": states.get(trial.name, state),
        **{f"parameter/{parameter.key}": settings.get(parameter.key) for parameter in sweep.parameters},
        "epochs": len(logged),
        "epoch": best.number if best else None,
        sweep.metric: best.value if best else None,
        **({key: value for key, value in best.metrics.items() if _is_overall(key, sweep.metric)} if best else {}),
    }


def _plain(path: Path) -> dict[Any, Any]:
    plain = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(plain, dict)
    return plain


def _best_epoch(logged: Sequence[Epoch], sweep: Sweep) -> Epoch | None:
    """The first epoch with the best value."""
    if not logged:
        return None
    return max(logged, key=lambda epoch: epoch.value if sweep.maximise else -epoch.value)


def _is_overall(key: str, metric: str) -> bool:
    """Whether a metric of validation is no cell of a pattern."""
    return key != metric and key.startswith("val/") and key.count("/") == 1


def choose(rows: Sequence[Mapping[str, Any]], sweep: Sweep) -> str | None:
    """The finished trial with the best metric, the earlier one of equals; None where none has finished."""
    there = [row for row in rows if row["state"] == FINISHED and row[sweep.metric] is not None]
    if not there:
        return None
    best = max(there, key=lambda row: row[sweep.metric] if sweep.maximise else -row[sweep.metric])
    return str(best["trial"])
