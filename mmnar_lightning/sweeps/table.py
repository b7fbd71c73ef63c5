"""The table of a sweep's trials, read from their folders; the same for both searches."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import yaml

from mmnar_lightning.config import compose
from mmnar_lightning.config.yaml_files import read_yaml
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps.space import Sweep

TABLE = "trials.csv"
FINISHED = "finished"
STOPPED = "stopped"


class Epoch(NamedTuple):
    """Metrics that a trial logged after the validation of an epoch."""

    number: int
    value: float
    metrics: dict[str, float]


def epochs(folder: Path, metric: str) -> list[Epoch]:
    """Epochs of a trial in which a metric was logged; of a repeated epoch, the last repetition.

    Only complete lines are read, so a trial may be writing meanwhile.

    Args:
        folder: of the trial.
        metric: logged key.

    Returns:
        The epochs, in ascending order.
    """
    found: dict[int, dict[str, float]] = {}
    parts = sorted((folder / "logs").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    for path in parts:
        for row in _rows(path.read_text(encoding="utf-8")):
            if "epoch" in row:
                found.setdefault(int(row["epoch"]), {}).update(row)
    return [Epoch(number, row[metric], row) for number, row in sorted(found.items()) if metric in row]


def _rows(text: str) -> list[dict[str, float]]:
    r"""The numbers of each complete line.

    Args:
        text: content of a CSV file, which may end within a line.

    Returns:
        Column -> value, without empty cells and NaN, for each line.

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
    """One row per trial: state, parameters and the metrics of its best epoch; the best trial is marked.

    Args:
        folder: of the sweep, with one folder per trial.
        sweep: its file.
        states: trial -> final state; trials not listed are `finished` or `stopped`.

    Returns:
        `trial`, `state`, `parameter/<key>`, `epochs`, `epoch`, the metrics and `best`.
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
    plain = yaml.safe_load(read_yaml(path))
    assert isinstance(plain, dict)
    return plain


def _best_epoch(logged: Sequence[Epoch], sweep: Sweep) -> Epoch | None:
    """The first epoch with the best value."""
    if not logged:
        return None
    return max(logged, key=lambda epoch: epoch.value if sweep.maximise else -epoch.value)


def _is_overall(key: str, metric: str) -> bool:
    """Whether a key is an overall metric of validation and not one of a task or pattern."""
    return key != metric and key.startswith("val/") and key.count("/") == 1


def short_names(keys: Sequence[str]) -> list[str]:
    """The shortest ends of keys that still differ from each other.

    Args:
        keys: that all differ.

    Returns:
        One name for each key, in the same order.

    >>> short_names(["optim.lr", "model.fusion.dropout", "baseline.late_fusion.dropout"])
    ['lr', 'fusion.dropout', 'late_fusion.dropout']
    """
    parts = [key.split(".") for key in keys]
    depth = [1] * len(keys)
    while True:
        names = [".".join(own[-count:]) for own, count in zip(parts, depth, strict=True)]
        twice = {name for name in names if names.count(name) > 1}
        if not twice:
            return names
        depth = [count + (name in twice) for name, count in zip(names, depth, strict=True)]


def choose(rows: Sequence[Mapping[str, Any]], sweep: Sweep) -> str | None:
    """The finished trial with the best metric, the earliest of equal ones; None if none has finished."""
    finished = [row for row in rows if row["state"] == FINISHED and row[sweep.metric] is not None]
    if not finished:
        return None
    best = max(finished, key=lambda row: row[sweep.metric] if sweep.maximise else -row[sweep.metric])
    return str(best["trial"])
