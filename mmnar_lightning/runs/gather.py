"""Test rows of several runs as one table: those of all folds together, or the models of all folds averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.errors import UserError
from mmnar_lightning.evaluation.results import OffsetTable, Results, TaskRisks, from_json, to_json
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs.plan import Child

LABEL, LOGIT, PROBABILITY, RECTIFIED = "label/", "logit/", "probability/", "rectified/"
PREDICTED = (LOGIT, PROBABILITY, RECTIFIED)
SCORES = {"tasks": LOGIT, "rectified": RECTIFIED}
"""Key of results.json -> the columns of logits that it scores: before, and after the rectifier."""
UNSEEN = "unseen_pattern"
MAX_LOGIT = 40.0
"""A probability that float64 rounds to 1 has an infinite logit, whose mean would say nothing of the others."""


class PoolingError(UserError):
    """The runs do not belong together: which rows, and what was expected."""


def pool(children: Sequence[Child], predictions: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all runs under each other.

    Args:
        children: the runs.
        predictions: their predictions.parquet, in the same order.

    Returns:
        `seed`, `fold`, and the columns of the predictions, by seed, fold and row.

    >>> runs = [Child("seed0-fold1", seed=0, fold=1), Child("seed0-fold0", seed=0, fold=0)]
    >>> pool(runs, [pl.DataFrame({"row_id": [5, 3]}), pl.DataFrame({"row_id": [4]})]).rows()
    [(0, 0, 4), (0, 1, 3), (0, 1, 5)]
    """
    named = [
        frame.select(pl.lit(child.seed, pl.Int64).alias("seed"), pl.lit(child.fold, pl.Int64).alias("fold"), pl.all())
        for child, frame in zip(children, predictions, strict=True)
    ]
    return pl.concat(named).sort("seed", "fold", "row_id")


def require_once(pooled: pl.DataFrame) -> None:
    """Check that a row is predicted once a seed, and the same rows by every seed.

    Raises:
        PoolingError: otherwise; the runs were then made from different files.
    """
    times = pooled.group_by("row_id").agg(pl.len(), pl.col("seed").n_unique().alias("seeds"))
    wrong = times.filter((pl.col("len") != pl.col("seeds")) | (pl.col("seeds") != pooled["seed"].n_unique())).height
    if wrong:
        raise PoolingError(f"{wrong} test rows are not predicted once a seed; were the files changed between the runs?")


def average_folds(pooled: pl.DataFrame) -> pl.DataFrame:
    """The mean over folds of what the models of one seed say of the same test row, on the logit scale.

    Args:
        pooled: what `pool` gives; every fold holds the same rows.

    Returns:
        The same columns without `fold`, one row for each seed and row. `probability/` is that of the mean of `logit/`.
        A pattern is unseen if some model has not seen it.

    Raises:
        PoolingError: if some fold lacks a row.

    >>> frame = pl.DataFrame({"seed": 0, "fold": [0, 1], "row_id": 7, "logit/death": [1.0, -3.0]})
    >>> average_folds(frame).rows(named=True)
    [{'seed': 0, 'row_id': 7, 'logit/death': -1.0, 'probability/death': 0.2689...}]
    """
    logits = [name for name in pooled.columns if name.startswith((LOGIT, RECTIFIED))]
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
        raise PoolingError(f"{lacking} test rows were not predicted in every fold; were the files changed in between?")
    probabilities = [
        (1 / (1 + (-pl.col(name)).exp())).alias(PROBABILITY + name.removeprefix(LOGIT))
        for name in logits
        if name.startswith(LOGIT)
    ]
    return mean.drop("folds").with_columns(*probabilities)


def average_seeds(pooled: pl.DataFrame) -> pl.DataFrame:
    """Every row once, its logits before the rectifier the mean over seeds.

    >>> frame = pl.DataFrame({"seed": [0, 1], "row_id": 7, "pattern": "11", "logit/death": [1.0, -3.0]})
    >>> average_seeds(frame).rows(named=True)
    [{'row_id': 7, 'pattern': '11', 'logit/death': -1.0}]
    """
    means = [pl.col(name).clip(-MAX_LOGIT, MAX_LOGIT).mean() for name in pooled.columns if name.startswith(LOGIT)]
    dropped = (*PREDICTED, "seed", "fold", "row_id")
    same = [pl.col(name).first() for name in pooled.columns if not name.startswith(dropped)]
    return pooled.sort("row_id", "seed").group_by("row_id", maintain_order=True).agg(*same, *means)


def as_rows(frame: pl.DataFrame, tasks: Sequence[str], scores: str) -> ScoredRows:
    """Predictions as scored rows.

    Args:
        frame: N rows of predictions.
        tasks: T task names.
        scores: beginning of the names of the columns with logits.

    >>> columns = {"row_id": [3], "subject_id": ["s"], "pattern": ["10"], "label/death": [None], "logit/death": [0.0]}
    >>> rows = as_rows(pl.DataFrame(columns), ["death"], "logit/")
    >>> rows.present.tolist(), rows.probability.tolist(), rows.label_mask.tolist()
    ([[True, False]], [[0.5]], [[False]])
    """
    num_modalities = len(frame["pattern"][0]) if frame.height else 0
    codes = {text: patterns.parse(text) for text in frame["pattern"].unique()}
    pattern = torch.tensor([codes[text] for text in frame["pattern"]], dtype=torch.int64)
    return ScoredRows(
        row_id=tensor(frame["row_id"]),
        subject=tensor(frame["subject_id"].rank("dense").cast(pl.Int64)),
        present=patterns.decode(pattern, num_modalities),
        logits=torch.stack([tensor(frame[scores + task].cast(pl.Float64)) for task in tasks], -1),
        label=torch.stack([tensor(frame[LABEL + task].fill_null(False).cast(pl.Float64)) for task in tasks], -1),
        label_mask=torch.stack([tensor(frame[LABEL + task].is_not_null().cast(pl.Int64)) for task in tasks], -1) > 0,
    )


Rectifiers = tuple[dict[str, OffsetTable], dict[str, TaskRisks]]
"""`rectifier` and `mean_risk` of results."""


def average_rectifiers(results: Sequence[Results]) -> Rectifiers:
    """Offsets and mean risks of several runs: means over the runs, of the ends of intervals and of counts too.

    The runs share subjects, so that a mean of them is hardly surer than one: its interval is as wide as theirs. A run
    that has no value for a number is left out of its mean.

    Args:
        results: of every run, with a rectifier, with the same tasks and patterns.
    """
    tables, risks = (_mean([to_json(getattr(found, name)) for found in results]) for name in ("rectifier", "mean_risk"))
    return (
        {task: from_json(OffsetTable, table) for task, table in tables.items()},
        {task: from_json(TaskRisks, risk) for task, risk in risks.items()},
    )


def rectifiers_of_left_out(held: Sequence[str], results: Sequence[Results]) -> Rectifiers:
    """As `average_rectifiers`, each pattern by the runs that did not learn from it.

    Args:
        held: of every run, the label of the pattern that it left out.
        results: of every run.
    """
    own: dict[str, list[Results]] = {}
    for pattern, found in zip(held, results, strict=True):
        own.setdefault(pattern, []).append(found)
    tables, risks = average_rectifiers(results)
    for pattern, of_pattern in own.items():
        its_tables, its_risks = average_rectifiers(of_pattern)
        for task, table in its_tables.items():  # each run has a strength of its own
            tables[task].patterns[pattern] = replace(table.patterns[pattern], strength=table.strength)
            risks[task].patterns[pattern] = its_risks[task].patterns[pattern]
    return tables, risks


def _mean(values: Sequence[Any]) -> Any:
    """The mean of numbers, inside of nested tables; of flags whether all are set; of texts the first.

    An estimate counts the rows of the runs that have one, and these runs.
    """
    first = values[0]
    if isinstance(first, Mapping) and "value" in first:
        given = [value for value in values if value["value"] is not None]
        return {**{key: _mean([value[key] for value in given or values]) for key in first}, "runs": len(given)}
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
    """A column without nulls as a tensor of its own."""
    return torch.from_numpy(column.to_numpy(writable=True))
