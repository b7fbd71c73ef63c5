"""Test rows of several runs as one table: those of all folds together, or the models of all folds averaged."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns

LABEL, LOGIT, PROBABILITY, RECTIFIED = "label/", "logit/", "probability/", "rectified/"
SCORES = {"tasks": LOGIT, "rectified": RECTIFIED}
"""Key of results.json -> the columns of logits that it scores: before, and after the rectifier."""
MAX_LOGIT = 40.0
"""A probability that float64 rounds to 1 has an infinite logit, whose mean would say nothing of the others."""


class PoolingError(ValueError):
    """The runs do not belong together: which rows, and what was expected."""


def pool(children: Sequence[Mapping[str, Any]], predictions: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all runs under each other.

    Args:
        children: `seed` and `fold` of every run, `fold` None where there are no folds.
        predictions: their predictions.parquet, in the same order.

    Returns:
        `seed`, `fold`, and the columns of the predictions, by seed, fold and row.

    >>> runs = [{"seed": 0, "fold": 1}, {"seed": 0, "fold": 0}]
    >>> pool(runs, [pl.DataFrame({"row_id": [5, 3]}), pl.DataFrame({"row_id": [4]})]).rows()
    [(0, 0, 4), (0, 1, 3), (0, 1, 5)]
    """
    named = [
        frame.select(
            pl.lit(child["seed"], pl.Int64).alias("seed"), pl.lit(child["fold"], pl.Int64).alias("fold"), pl.all()
        )
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
    """The mean over folds of the logits that the models of one seed give to the same test row.

    Args:
        pooled: what `pool` gives; every fold holds the same rows.

    Returns:
        The same columns without `fold`, one row for each seed and row. `probability/` is that of the mean of `logit/`.

    Raises:
        PoolingError: if some fold lacks a row.

    >>> frame = pl.DataFrame({"seed": 0, "fold": [0, 1], "row_id": 7, "logit/death": [1.0, -3.0]})
    >>> average_folds(frame).rows(named=True)
    [{'seed': 0, 'row_id': 7, 'logit/death': -1.0, 'probability/death': 0.2689...}]
    """
    logits = [name for name in pooled.columns if name.startswith((LOGIT, RECTIFIED))]
    kept = [name for name in pooled.columns if not name.startswith((LOGIT, RECTIFIED, PROBABILITY))]
    means = [pl.col(name).clip(-MAX_LOGIT, MAX_LOGIT).mean() for name in logits]
    same = [pl.col(name).first() for name in kept if name not in ("seed", "fold", "row_id")]
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
    return mean.drop("folds").with_columns(probabilities)


def average_seeds(pooled: pl.DataFrame) -> pl.DataFrame:
    """Every row once, its logits before the rectifier the mean over seeds.

    >>> frame = pl.DataFrame({"seed": [0, 1], "row_id": 7, "pattern": "11", "logit/death": [1.0, -3.0]})
    >>> average_seeds(frame).rows(named=True)
    [{'row_id': 7, 'pattern': '11', 'logit/death': -1.0}]
    """
    means = [pl.col(name).clip(-MAX_LOGIT, MAX_LOGIT).mean() for name in pooled.columns if name.startswith(LOGIT)]
    dropped = (LOGIT, PROBABILITY, RECTIFIED, "seed", "fold", "row_id")
    same = [pl.col(name).first() for name in pooled.columns if not name.startswith(dropped)]
    return pooled.sort("row_id", "seed").group_by("row_id", maintain_order=True).agg(*same, *means)


def as_rows(frame: pl.DataFrame, tasks: Sequence[str], scores: str) -> dict[str, Tensor]:
    """Predictions as the tensors that `results.score` takes.

    Args:
        frame: N rows of predictions.
        tasks: T task names.
        scores: beginning of the names of the columns with logits.

    Returns:
        `row_id`, `pattern` (N,) int64, `probability`, `label` (N, T) float64, and `label_mask` (N, T) bool.

    >>> frame = pl.DataFrame({"row_id": [3], "pattern": ["10"], "label/death": [None], "logit/death": [0.0]})
    >>> rows = as_rows(frame, ["death"], "logit/")
    >>> rows["pattern"].tolist(), rows["probability"].tolist(), rows["label_mask"].tolist()
    ([1], [[0.5]], [[False]])
    """
    codes = {text: patterns.parse(text) for text in frame["pattern"].unique()}
    return {
        "row_id": tensor(frame["row_id"]),
        "pattern": torch.tensor([codes[text] for text in frame["pattern"]], dtype=torch.int64),
        "probability": torch.stack([tensor(frame[scores + task].cast(pl.Float64)) for task in tasks], -1).sigmoid(),
        "label": torch.stack([tensor(frame[LABEL + task].fill_null(False).cast(pl.Float64)) for task in tasks], -1),
        "label_mask": torch.stack([tensor(frame[LABEL + task].is_not_null().cast(pl.Int64)) for task in tasks], -1) > 0,
    }


def tensor(column: pl.Series) -> Tensor:
    """A column without nulls as a tensor of its own."""
    return torch.from_numpy(column.to_numpy(writable=True))
