"""The spread of a metric over folds and over seeds, which no interval over test subjects includes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.suppression import Counts, is_small


class Spread(NamedTuple):
    """Standard deviations of a metric; None for fewer than two values.

    Attributes:
        folds: over folds, of the mean over seeds.
        seeds: over seeds, of the mean over folds.
    """

    folds: float | None
    seeds: float | None


def spreads(rows: pl.DataFrame, metrics: tuple[str, ...], min_count: int) -> dict[str, Spread]:
    """The spread of each metric of a task.

    That over folds is None where a fold has few rows, positives or negatives: with the mean it shows their scores.

    Args:
        rows: `seed`, `fold`, `subject_id`, `label` and `probability` of rows with a known label.
        metrics: names.
        min_count: smallest count that is shown.

    Returns:
        Metric -> its spread.
    """
    values, is_shown = {place: _values(part) for place, part in _parts(rows).items()}, _has_large_folds(rows, min_count)
    return {metric: _over_parts({place: own[metric] for place, own in values.items()}, is_shown) for metric in metrics}


def difference_spread(own: pl.DataFrame, reference: pl.DataFrame, min_count: int) -> Spread:
    """The spread of the AUROC of a method minus that of another.

    Args:
        own: as of `spreads`.
        reference: the same rows, predicted by the other.
        min_count: as of `spreads`.

    Returns:
        The spread.
    """
    first, second = ({place: _auroc(part) for place, part in _parts(rows).items()} for rows in (own, reference))
    differences = {place: value - second[place] for place, value in first.items()}
    return _over_parts(differences, _has_large_folds(own, min_count))


def _has_large_folds(rows: pl.DataFrame, min_count: int) -> bool:
    """Whether no fold is a small cell."""
    once = rows.filter(pl.col("seed") == rows["seed"].min())
    folds = once.group_by("fold").agg(pl.len(), pl.col("label").sum()).iter_rows()
    return not any(is_small(Counts(count, float(positives)), min_count) for _, count, positives in folds)


def _parts(rows: pl.DataFrame) -> dict[tuple[int, int], pl.DataFrame]:
    """The rows of each seed and fold."""
    parts = rows.partition_by("seed", "fold", as_dict=True, maintain_order=True)
    return {(seed, fold): part for (seed, fold), part in parts.items()}


def _over_parts(values: Mapping[tuple[int, int], float], is_shown: bool) -> Spread:
    seeds, folds = (sorted({place[position] for place in values}) for position in (0, 1))
    found = spread_of(np.array([[values.get((seed, fold), np.nan) for fold in folds] for seed in seeds]))
    return found if is_shown else found._replace(folds=None)


def spread_of(values: NDArray[np.float64]) -> Spread:
    """Standard deviations (n - 1) of the marginal means of a table.

    Args:
        values: (S, K) by seed and fold; NaN where undefined, which is left out of the means.

    Returns:
        Over folds and over seeds.

    >>> spread_of(np.array([[0.5, 0.7], [0.7, 0.9]]))
    Spread(folds=0.141..., seeds=0.141...)
    >>> spread_of(np.array([[0.5, 0.7]])).seeds is None
    True
    """
    return Spread(folds=_deviation(values.T), seeds=_deviation(values))


def _deviation(values: NDArray[np.float64]) -> float | None:
    """Of the means of the rows."""
    means = [float(np.nanmean(row)) for row in values if not np.isnan(row).all()]
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def _values(part: pl.DataFrame) -> dict[str, float]:
    probability, label = _columns(part)
    subject = torch.from_numpy(part["subject_id"].rank("dense").cast(pl.Int64).to_numpy(writable=True))
    found = metric_intervals(probability, label, subject, num_replicates=1)
    return {name: interval.value for name, interval in found.items()}


def _auroc(part: pl.DataFrame) -> float:
    return functional.auroc(*_columns(part))


def _columns(part: pl.DataFrame) -> tuple[Tensor, Tensor]:
    probability, label = (torch.from_numpy(part[name].to_numpy(writable=True)) for name in ("probability", "label"))
    return probability, label
