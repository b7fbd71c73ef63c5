"""What an evaluation leaves in the run: predictions.parquet and results.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.cohorts.columns import groups_of
from mmnar_lightning.metrics.functional import reliability_curve
from mmnar_lightning.metrics.groups import within_groups_auroc
from mmnar_lightning.metrics.intervals import METRICS, Interval, bootstrap_intervals

GROUP = "group"
"""Column of predictions.parquet."""

BIN_ROWS = 10
"""Fewest rows of a bin of a reliability curve, on average."""
MAX_BINS = 10


def predictions(
    rows: Mapping[str, Tensor],
    cohort: pl.DataFrame,
    tasks: Sequence[str],
    num_modalities: int,
    seen: Tensor,
    rectified: Mapping[str, Tensor] | None = None,
) -> pl.DataFrame:
    """One row per test row.

    Args:
        rows: what `PatternMetric.rows` gives: `row_id`, `pattern` (N,), `probability`, `label`, `label_mask` (N, T).
        cohort: the rows of cohort.parquet.
        tasks: T task names.
        num_modalities: M.
        seen: int64, ids of the patterns that some train row has.
        rectified: `probability` (N, T) float64 after the rectifier; None where there is no rectifier.

    Returns:
        `row_id`, `subject_id`, `split`, `group` where the cohort has any, `pattern` (the label), `unseen_pattern`, and
        per task `label/`, `logit/`, `probability/` and, of a rectifier, `rectified/`, the logit after it.
    """
    labels = [patterns.label(int(code), num_modalities) for code in rows["pattern"]]
    frame = pl.DataFrame(
        {
            "row_id": rows["row_id"].numpy(),
            "pattern": labels,
            "unseen_pattern": (~torch.isin(rows["pattern"], seen)).numpy(),
        },
        schema_overrides={"pattern": pl.String},
    )
    for column, task in enumerate(tasks):
        probability = rows["probability"][:, column]
        known = pl.Series(rows["label_mask"][:, column].numpy())
        label = pl.Series(rows["label"][:, column].numpy().astype(bool))
        frame = frame.with_columns(
            pl.when(known).then(label).alias(f"label/{task}"),
            pl.Series(f"logit/{task}", probability.logit().numpy()),
            pl.Series(f"probability/{task}", probability.numpy()),
        )
        if rectified is not None:
            after = rectified["probability"][:, column].logit()
            frame = frame.with_columns(pl.Series(f"rectified/{task}", after.numpy()))
    keys = cohort.select(pl.col("row_id").cast(pl.Int64), "subject_id", "split")
    groups = groups_of(cohort)
    keys = keys if groups is None else keys.with_columns(groups[1].alias(GROUP))
    joined = frame.with_columns(pl.col("row_id").cast(pl.Int64)).join(keys, on="row_id", maintain_order="left")
    return joined.select(*keys.columns, pl.exclude(keys.columns))


def score(
    rows: Mapping[str, Tensor],
    subject: Tensor,
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    num_modalities: int,
    *,
    num_replicates: int,
    seed: int,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
) -> dict[str, Any]:
    """Every task, over all test rows and per pattern, with 95 % subject-clustered bootstrap intervals.

    Args:
        rows: as for `predictions`.
        subject: (N,) int64, dense subject index of the rows.
        tasks: T task names.
        pattern_ids: the cohort's patterns, the most frequent first.
        num_modalities: M.
        num_replicates: of the bootstrap.
        seed: of the bootstrap.
        fold: (N,) int64, the fold in which a row was tested; metrics are those of a fold, averaged.
        repeat: (N,) int64, which of several predictions of the same test rows a row is; metrics are averaged.

    Returns:
        task -> {`all`: cell, `patterns`: pattern label -> cell}; a cell holds `count`, `positives`, `subjects` and
        the metrics as {`value`, `low`, `high`, `num_defined`}, None where undefined, and `reliability`, the bins of
        the calibration curve as {`mean_probability`, `observed_rate`, `count`}. With folds or repeats, the
        metrics also hold `num_parts`, in how many repeats of folds they are defined, and `pooled`, the metric over
        the rows of all folds together; counts and `reliability` are those of one repeat.
    """
    results: dict[str, Any] = {}
    for column, task in enumerate(tasks):
        known = rows["label_mask"][:, column]
        members = {patterns.label(code, num_modalities): known & (rows["pattern"] == code) for code in pattern_ids}
        cells = {
            name: _cell(
                rows["probability"][member, column],
                rows["label"][member, column],
                subject[member],
                num_replicates,
                seed,
                fold=None if fold is None else fold[member],
                repeat=None if repeat is None else repeat[member],
            )
            for name, member in {"all": known, **members}.items()
        }
        results[task] = {"all": cells.pop("all"), "patterns": cells}
    return results


def score_groups(
    rows: Mapping[str, Tensor],
    subject: Tensor,
    group: pl.Series,
    tasks: Sequence[str],
    *,
    min_rows: int,
    num_replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Every task by group of rows: hospital, year group.

    Args:
        rows: as for `predictions`.
        subject: (N,) int64, dense subject index of the rows.
        group: (N,) text; null is a group of its own, `unknown`.
        tasks: T task names.
        min_rows: groups with fewer rows whose label is known are scored together.
        num_replicates: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        task -> {`groups`: name -> cell, the largest first, `pooled`: cell of all smaller ones with `groups`, their
        number, and `within`: AUROC over the pairs of one group alone, with `groups`, the number of those that have
        both classes, and `count`, their rows}.
    """
    named = group.fill_null("unknown")
    names = named.unique().sort()
    number = torch.from_numpy(
        named.replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy(writable=True)
    )
    found = {}
    for column, task in enumerate(tasks):
        known = rows["label_mask"][:, column]
        count = torch.bincount(number[known], minlength=len(names))
        large = [place for place in count.argsort(descending=True, stable=True).tolist() if count[place] >= min_rows]
        small = known & (count < max(min_rows, 1))[number]

        def cell(member: Tensor, column: int = column) -> dict[str, Any]:
            chosen = (rows["probability"][member, column], rows["label"][member, column], subject[member])
            return _cell(*chosen, num_replicates, seed, fold=None, repeat=None)

        within = within_groups_auroc(
            rows["probability"][known, column],
            rows["label"][known, column],
            subject[known],
            number[known],
            num_replicates=num_replicates,
            seed=seed,
        )
        pooled = int(((count > 0) & (count < min_rows)).sum())
        positives = torch.bincount(number[known & (rows["label"][:, column] > 0)], minlength=len(names))
        compared = int(count[(positives > 0) & (positives < count)].sum())
        found[task] = {
            "groups": {names[place]: cell(known & (number == place)) for place in large if count[place]},
            "pooled": {"groups": pooled, **cell(small)} if pooled else None,
            "within": {"groups": within.num_parts, "count": compared, "auroc": _plain(within)},
        }
    return found


def _plain(interval: Interval) -> dict[str, float | None]:
    return {key: _number(getattr(interval, key)) for key in ("value", "low", "high", "num_defined")}


def _cell(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    num_replicates: int,
    seed: int,
    *,
    fold: Tensor | None,
    repeat: Tensor | None,
) -> dict[str, Any]:
    once = slice(None) if repeat is None or not len(repeat) else repeat == repeat.min()
    cell: dict[str, Any] = {
        "count": len(label[once]),
        "positives": int(label[once].sum()),
        "subjects": len(torch.unique(subject)),
    }
    columns = (probability, label, subject)
    intervals = bootstrap_intervals(*columns, fold=fold, repeat=repeat, num_replicates=num_replicates, seed=seed)
    for name in METRICS:
        cell[name] = {key: _number(value) for key, value in asdict(intervals[name]).items()}
    cell["reliability"] = _reliability(probability[once], label[once])
    if fold is None and repeat is None:
        for name in METRICS:
            del cell[name]["num_parts"]
        return cell
    pooled = bootstrap_intervals(*columns, repeat=repeat, num_replicates=1)
    for name in METRICS:
        cell[name]["pooled"] = _number(pooled[name].value)
    return cell


def _reliability(probability: Tensor, label: Tensor) -> dict[str, list[float]]:
    num_bins = min(MAX_BINS, max(1, len(label) // BIN_ROWS))
    curve = reliability_curve(probability, label, num_bins=num_bins)
    names = ("mean_probability", "observed_rate", "count")
    return {name: column.tolist() for name, column in zip(names, curve, strict=True)}


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value
