"""Compares methods that predict numbers on the same test rows, corrected for the number of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from data_modules.errors import UserError
from mmnar_lightning.evaluation.comparison import KEYS, LEVEL, RECTIFIED, VALUE, Verdict
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.evaluation.scores import Scoring, plain
from mmnar_lightning.metrics.delong import holm
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.metrics.suppression import Counts, is_small
from mmnar_lightning.metrics.value_pairs import paired_error_test, paired_value_differences
from mmnar_lightning.metrics.values import value_intervals

PREDICTED = "predicted/"


@dataclass(frozen=True, kw_only=True)
class ValueComparison:
    """A method on one task that is a number, beside the first method.

    Attributes:
        task: name.
        method: name.
        rows: test rows with a known value, each once; None if they are few, then nothing else is given either.
        scores: metric -> of the method, in the units of the task.
        differences: metric -> of the first method minus this one, paired; empty for the first.
        p: of the paired test of the mean absolute errors, clustered by subject.
        corrected: Holm's correction over all tasks and methods of the comparison.
        verdict: on the first method, at a corrected level of 0.05: a smaller mean absolute error is better.
    """

    task: str
    method: str
    rows: int | None = None
    scores: Mapping[str, Score]
    differences: Mapping[str, Score]
    p: float | None = None
    corrected: float | None = None
    verdict: Verdict = "not tested"


def compare_values(methods: Mapping[str, pl.DataFrame], scoring: Scoring) -> list[ValueComparison]:
    """Compare the first method with each of the others on every task that all of them have.

    The final prediction of a method is compared: after its rectifier, if it has one.

    Args:
        methods: name -> predictions.parquet, of one run or of all runs of a protocol.
        scoring: replicates, seed and the smallest count that is shown.

    Returns:
        The first method and the others, task by task.

    Raises:
        UserError: if the methods have no task in common, or were not tested on the same rows with the same values.
    """
    first = next(iter(methods.values()))
    tasks = [name.removeprefix(VALUE) for name in first.columns if name.startswith(VALUE)]
    common = [task for task in tasks if all(VALUE + task in frame.columns for frame in methods.values())]
    if not common:
        raise UserError(f"{' and '.join(methods)} have no task in common")
    found: list[ValueComparison] = []
    for task in common:
        found += _of_task(task, {name: _rows_of(name, frame, task) for name, frame in methods.items()}, scoring)
    return _corrected(found)


def _rows_of(name: str, frame: pl.DataFrame, task: str) -> pl.DataFrame:
    """The final predictions of the rows with a known value, in the order of all methods."""
    final = RECTIFIED + task if RECTIFIED + task in frame.columns else PREDICTED + task
    keys = [key for key in KEYS if key in frame.columns]
    chosen = frame.drop_nulls(VALUE + task).select(
        *(pl.col(key).fill_null(0) for key in keys), "subject_id", value=VALUE + task, predicted=final
    )
    if chosen["predicted"].is_nan().any():
        raise UserError(f"{name}: {task} has predictions that are NaN")
    return chosen.sort(keys)


def _of_task(task: str, rows: Mapping[str, pl.DataFrame], scoring: Scoring) -> list[ValueComparison]:
    (first, reference), *others = rows.items()
    for name, frame in others:
        keys = [key for key in ("subject_id", *KEYS) if key in reference.columns]
        # Values went through the scale of each run's train rows.
        same = frame.columns == reference.columns and frame.select(keys).equals(reference.select(keys))
        if not same or not torch.allclose(_tensor(frame["value"]), _tensor(reference["value"]), rtol=1e-4, atol=1e-4):
            raise UserError(
                f"{first} and {name} were not tested on the same rows of {task} with the same values and folds, so "
                "they cannot be compared in pairs; use the same cohort, cohort.split and protocol"
            )
    count = reference["row_id"].n_unique()
    if is_small(Counts(count, 0), scoring.min_count):
        return [ValueComparison(task=task, method=name, scores={}, differences={}) for name in rows]
    subject, value = _tensor(reference["subject_id"].rank("dense").cast(pl.Int64)), _tensor(reference["value"])
    drawn = {"num_replicates": scoring.num_replicates, "seed": scoring.seed}
    predicted = {name: _tensor(frame["predicted"]) for name, frame in rows.items()}
    found = []
    for name, own in predicted.items():
        intervals = value_intervals(own, value, subject, **drawn)
        entry = ValueComparison(task=task, method=name, rows=count, scores=_plain(intervals), differences={})
        if name != first:
            between = paired_value_differences(predicted[first], own, value, subject, **drawn)
            p = paired_error_test(predicted[first], own, value, subject)
            entry = replace(entry, differences=_plain(between), p=p)
        found.append(entry)
    return found


def _plain(intervals: Mapping[str, Interval]) -> dict[str, Score]:
    return {name: plain(interval) for name, interval in intervals.items()}


def _corrected(family: Sequence[ValueComparison]) -> list[ValueComparison]:
    """The comparisons with Holm's correction over all of them."""
    values = holm([torch.nan if entry.p is None else entry.p for entry in family])
    return [
        entry if entry.p is None else _judged(entry, float(value)) for entry, value in zip(family, values, strict=True)
    ]


def _judged(entry: ValueComparison, corrected: float) -> ValueComparison:
    difference = entry.differences["mae"].value
    verdict: Verdict = "level"
    if corrected < LEVEL and difference is not None:
        verdict = "better" if difference < 0 else "worse"
    return replace(entry, corrected=corrected, verdict=verdict)


def _tensor(column: pl.Series) -> Tensor:
    return torch.from_numpy(column.to_numpy(writable=True))
