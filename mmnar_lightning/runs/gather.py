"""Combines the test rows of several runs: pools the folds, or averages the models of all folds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules.errors import UserError
from mmnar_lightning.evaluation.results import OffsetTable, Results, TaskRisks
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs.plan import Child

LABEL, LOGIT, PROBABILITY, RECTIFIED, RECALIBRATED, BLEND, TREES = (
    "label/",
    "logit/",
    "probability/",
    "rectified/",
    "recalibrated/",
    "blend/",
    "trees/",
)
LOGITS = (LOGIT, RECTIFIED, RECALIBRATED, BLEND, TREES)
"""Columns of logits."""
PREDICTED = (*LOGITS, PROBABILITY)
SCORES = {"tasks": LOGIT, "rectified": RECTIFIED}
"""Key of results.json -> the columns of logits that it scores: before, and after the rectifier."""
UNSEEN = "unseen_pattern"
MAX_LOGIT = 40.0
"""Logits are clipped before averaging: a probability that float64 rounds to 1 would make the mean infinite."""


class PoolingError(UserError):
    """The runs do not match: names the rows and the expectation."""


def pool(children: Sequence[Child], predictions: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate the rows of all runs.

    Args:
        children: the runs.
        predictions: their predictions.parquet, in the same order.

    Returns:
        `seed`, `fold` of the run, and the other columns of the predictions, by seed, fold and row.

    >>> runs = [Child("seed0-fold1", seed=0, fold=1), Child("seed0-fold0", seed=0, fold=0)]
    >>> pool(runs, [pl.DataFrame({"row_id": [5, 3]}), pl.DataFrame({"row_id": [4]})]).rows()
    [(0, 0, 4), (0, 1, 3), (0, 1, 5)]
    """
    named = [
        frame.select(
            pl.lit(child.seed, pl.Int64).alias("seed"),
            pl.lit(child.fold, pl.Int64).alias("fold"),
            pl.exclude("seed", "fold"),
        )
        for child, frame in zip(children, predictions, strict=True)
    ]
    return pl.concat(named).sort("seed", "fold", "row_id")


def require_once(pooled: pl.DataFrame) -> None:
    """Check that each row is predicted once per seed, and the same rows by every seed.

    Raises:
        PoolingError: otherwise; the runs then used different files.
    """
    times = pooled.group_by("row_id").agg(pl.len(), pl.col("seed").n_unique().alias("seeds"))
    wrong = times.filter((pl.col("len") != pl.col("seeds")) | (pl.col("seeds") != pooled["seed"].n_unique())).height
    if wrong:
        raise PoolingError(f"{wrong} test rows are not predicted once per seed; did the files change between the runs?")


def average_folds(pooled: pl.DataFrame) -> pl.DataFrame:
    """Average the predictions of one seed's models for each test row over folds, on the logit scale.

    Args:
        pooled: result of `pool`; every fold has the same rows.

    Returns:
        The same columns without `fold`, one row per seed and test row. `probability/` is the sigmoid of the mean
        `logit/`. A pattern is unseen if any model has not seen it.

    Raises:
        PoolingError: if any fold lacks a row.

    >>> frame = pl.DataFrame({"seed": 0, "fold": [0, 1], "row_id": 7, "logit/death": [1.0, -3.0]})
    >>> average_folds(frame).rows(named=True)
    [{'seed': 0, 'row_id': 7, 'logit/death': -1.0, 'probability/death': 0.2689...}]
    """
    logits = [name for name in pooled.columns if name.startswith(LOGITS)]
    kept = [name for name in pooled.columns if not name.startswith(PREDICTED)]
    means = [pl.col(name).clip(-MAX_LOGIT, MAX_LOGIT).mean() for name in logits]
    same = [
        pl.col(name).any() if name == UNSEEN else pl.col(name).first()
        for name in kept
        if name not in ("seed", "fold", "row_id")
    ]
    grouped = pooled.sort("seed", "row_id", "fold").group_by("seed", "row_id", maintain_order=True)
    mean = grouped.agg(*same, *means, pl.col("fold").n_unique().alias("folds"))
    lacking = mean.filter(pl.col("folds") != pooled["fold"].n_unique()).height
    if lacking:
        raise PoolingError(f"{lacking} test rows are not predicted in every fold; did the files change in between?")
    probabilities = [
        (1 / (1 + (-pl.col(name)).exp())).alias(PROBABILITY + name.removeprefix(LOGIT))
        for name in logits
        if name.startswith(LOGIT)
    ]
    return mean.drop("folds").with_columns(*probabilities)


def average_seeds(pooled: pl.DataFrame) -> pl.DataFrame:
    """Average the logits before and after the rectifier over seeds, which test a row in the same fold.

    Returns:
        Each test row once.

    >>> frame = pl.DataFrame({"seed": [0, 1], "row_id": 7, "pattern": "11", "logit/death": [1.0, -3.0]})
    >>> average_seeds(frame).rows(named=True)
    [{'row_id': 7, 'pattern': '11', 'logit/death': -1.0}]
    """
    kept = [name for name in pooled.columns if name.startswith((LOGIT, RECTIFIED))]
    means = [pl.col(name).clip(-MAX_LOGIT, MAX_LOGIT).mean() for name in kept]
    dropped = (*PREDICTED, "seed", "row_id")
    same = [pl.col(name).first() for name in pooled.columns if not name.startswith(dropped)]
    return pooled.sort("row_id", "seed").group_by("row_id", maintain_order=True).agg(*same, *means)


def as_rows(frame: pl.DataFrame, tasks: Sequence[str], scores: str) -> ScoredRows:
    """Convert predictions to scored rows.

    Args:
        frame: N rows of predictions.
        tasks: T task names.
        scores: prefix of the columns with logits.

    Returns:
        The N scored rows.

    >>> columns = {"row_id": [3], "subject_id": ["s"], "pattern": ["10"], "label/death": [None], "logit/death": [0.0]}
    >>> rows = as_rows(pl.DataFrame(columns), ["death"], "logit/")
    >>> rows.present.tolist(), rows.probability.tolist(), rows.label_mask.tolist()
    ([[True, False]], [[0.5]], [[False]])
    """
    num_modalities = len(frame["pattern"][0]) if frame.height else 0
    present = torch.tensor([[bit == "1" for bit in text] for text in frame["pattern"]], dtype=torch.bool)
    return ScoredRows(
        row_id=tensor(frame["row_id"]),
        subject=tensor(frame["subject_id"].rank("dense").cast(pl.Int64)),
        present=present.reshape(frame.height, num_modalities),
        logits=torch.stack([tensor(frame[scores + task].cast(pl.Float64)) for task in tasks], -1),
        label=torch.stack([tensor(frame[LABEL + task].fill_null(False).cast(pl.Float64)) for task in tasks], -1),
        label_mask=torch.stack([tensor(frame[LABEL + task].is_not_null().cast(pl.Int64)) for task in tasks], -1) > 0,
    )


Rectifiers = tuple[dict[str, OffsetTable], dict[str, TaskRisks] | None]
"""`rectifier` and `mean_risk` of results; numbers have no mean risk."""


def average_rectifiers(results: Sequence[Results]) -> Rectifiers:
    """Average the offsets and mean risks of several runs, including interval ends and counts.

    The runs share subjects, so the mean is hardly more precise than one run: its interval is as wide as theirs. A run
    without a value for a number is excluded from its mean.

    Args:
        results: of every run, with a rectifier, and with the same tasks and patterns.

    Returns:
        task -> offsets, and task -> mean risks.
    """
    tables = _mean([to_json(found.rectifier) for found in results])
    offsets = {task: from_json(OffsetTable, table) for task, table in tables.items()}
    if results[0].mean_risk is None:
        return offsets, None
    risks = _mean([to_json(found.mean_risk) for found in results])
    return offsets, {task: from_json(TaskRisks, risk) for task, risk in risks.items()}


def rectifiers_of_left_out(held: Sequence[str], results: Sequence[Results]) -> Rectifiers:
    """As `average_rectifiers`, but each pattern only over the runs that were not trained on it.

    Args:
        held: per run, the label of the held-out pattern.
        results: of every run.

    Returns:
        task -> offsets, and task -> mean risks.
    """
    by_pattern: dict[str, list[Results]] = {}
    for pattern, found in zip(held, results, strict=True):
        by_pattern.setdefault(pattern, []).append(found)
    tables, risks = average_rectifiers(results)
    for pattern, of_pattern in by_pattern.items():
        pattern_tables, pattern_risks = average_rectifiers(of_pattern)
        for task, table in pattern_tables.items():  # each run has its own strength
            tables[task].patterns[pattern] = replace(table.patterns[pattern], strength=table.strength)
            if risks is not None and pattern_risks is not None:
                risks[task].patterns[pattern] = pattern_risks[task].patterns[pattern]
    return tables, risks


def _mean(values: Sequence[Any]) -> Any:
    """Average nested tables: the mean of numbers, the conjunction of flags, the first of texts.

    An estimate averages only the runs that have one, and counts them as `runs`.

    Returns:
        The nested means.
    """
    first = values[0]
    if isinstance(first, Mapping) and "value" in first:
        defined = [value for value in values if value["value"] is not None]
        return {**{key: _mean([value[key] for value in defined or values]) for key in first}, "runs": len(defined)}
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, str):
        return first
    if all(isinstance(value, bool) for value in values):
        return all(values)
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return int(mean) if all(isinstance(value, int) for value in known) else mean


def tensor(column: pl.Series) -> Tensor:
    """Copy a column without nulls into a tensor."""
    return torch.from_numpy(column.to_numpy(writable=True))
