"""Compares methods on the same test rows: paired differences, corrected for the number of comparisons."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from data_modules.errors import UserError
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.evaluation.scores import Scoring, plain
from mmnar_lightning.metrics.delong import delong, holm, p_value
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.metrics.suppression import Counts, is_small

LABEL, VALUE, LOGIT, RECTIFIED = "label/", "value/", "logit/", "rectified/"
KEYS = ("seed", "fold", "row_id")
"""Columns that order the rows of all methods alike."""
LEVEL = 0.05
"""Of the corrected tests."""
Verdict = Literal["better", "level", "worse", "not tested"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method on one task, beside the first method.

    Attributes:
        task: name.
        method: name.
        difference: of the AUROC, the first method minus this one, with a paired interval; None for the first, and if
            the task is hidden.
        p: of DeLong's test, clustered by subject.
        corrected: Holm's correction over all tasks and methods of the comparison.
        verdict: on the first method, at a corrected level of 0.05.
    """

    task: str
    method: str
    difference: Score | None = None
    p: float | None = None
    corrected: float | None = None
    verdict: Verdict = "not tested"


def compare(methods: Mapping[str, pl.DataFrame], scoring: Scoring, withheld: Collection[str] = ()) -> list[Comparison]:
    """Compare the first method with each of the others on every task that all of them have.

    The final prediction of a method is compared: after its rectifier, if it has one. What `rows_in_common` refuses is
    refused.

    Args:
        methods: name -> predictions.parquet, of one run or of all runs of a protocol.
        scoring: replicates, seed and the smallest count that is shown.
        withheld: tasks that are hidden, whatever their counts.

    Returns:
        The first method and the others, task by task.
    """
    found: list[Comparison] = []
    for task, rows in rows_in_common(methods).items():
        once = next(iter(rows.values())).unique("row_id")
        counts = Counts(once.height, float(once["label"].sum()))
        is_hidden = task in withheld or is_small(counts, scoring.min_count)
        found += [Comparison(task=task, method=name) for name in rows] if is_hidden else _of_task(task, rows, scoring)
    return corrected(found)


def rows_in_common(methods: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, pl.DataFrame]]:
    """The final predictions of the same rows by several methods, for every task that all of them have.

    Args:
        methods: name -> predictions.parquet.

    Returns:
        Task -> method -> as of `rows_of`.

    Raises:
        UserError: if the methods have no task in common, or were not tested on the same rows with the same labels.
    """
    names = list(methods)
    tasks = [name.removeprefix(LABEL) for name in methods[names[0]].columns if name.startswith(LABEL)]
    common = [task for task in tasks if all(LABEL + task in frame.columns for frame in methods.values())]
    for name, frame in methods.items():
        if any(column.startswith(VALUE) for column in frame.columns):
            raise UserError(
                f"{name} predicts numbers, and others outcomes that are yes or no; compare runs of one kind"
            )
    if not common:
        raise UserError(f"{' and '.join(names)} have no task in common")
    found = {task: {name: rows_of(name, frame, task) for name, frame in methods.items()} for task in common}
    for task, rows in found.items():
        _require_same(task, rows)
    return found


def _require_same(task: str, rows: Mapping[str, pl.DataFrame]) -> None:
    (first, reference), *others = rows.items()
    for name, frame in others:
        if not frame.drop("probability").equals(reference.drop("probability")):
            raise UserError(
                f"{first} and {name} were not tested on the same rows of {task} with the same labels and folds, so "
                "they cannot be compared in pairs; use the same cohort, cohort.split and protocol"
            )


def rows_of(name: str, frame: pl.DataFrame, task: str) -> pl.DataFrame:
    """The final predictions of the rows of a task with a known label, in the order of all methods.

    Args:
        name: of the method.
        frame: predictions.parquet.
        task: name.

    Returns:
        `seed` and `fold`, if there are several, `row_id`, `subject_id`, `label` and `probability`.

    Raises:
        UserError: if a prediction is NaN.
    """
    logit = RECTIFIED + task if RECTIFIED + task in frame.columns else LOGIT + task
    keys = [key for key in KEYS if key in frame.columns]
    chosen = frame.drop_nulls(LABEL + task).select(
        *(pl.col(key).fill_null(0) for key in keys),  # runs of one test split have no fold
        "subject_id",
        label=pl.col(LABEL + task).cast(pl.Float64),
        probability=1 / (1 + (-pl.col(logit)).exp()),
    )
    if chosen["probability"].is_nan().any():
        raise UserError(f"{name}: {task} has predictions that are NaN")
    return chosen.sort(keys)


def paired(first: pl.DataFrame, second: pl.DataFrame, scoring: Scoring) -> tuple[Score, float | None]:
    """The AUROC of one method minus that of another on the same rows.

    Args:
        first: as of `rows_of`.
        second: likewise, of the same rows.
        scoring: replicates and seed.

    Returns:
        The difference with a paired interval, and the p-value of DeLong's test; None where the AUROC is undefined.
    """
    one, other, columns = _tensor(first["probability"]), _tensor(second["probability"]), _columns(first)
    drawn = {"num_replicates": scoring.num_replicates, "seed": scoring.seed}
    difference = paired_difference(one, other, **columns, **drawn)["auroc"]  # type: ignore[arg-type]  # of mixed types
    p = p_value(*delong(one, other, **columns))
    return plain(difference), None if math.isnan(p) else p


def _columns(rows: pl.DataFrame) -> dict[str, Tensor]:
    """What metrics read of rows beside a prediction."""
    found = {"label": _tensor(rows["label"]), "subject": _tensor(rows["subject_id"].rank("dense").cast(pl.Int64))}
    numbers = {"fold": "fold", "seed": "repeat"}
    return found | {name: _tensor(rows[key].cast(pl.Int64)) for key, name in numbers.items() if key in rows.columns}


def _of_task(task: str, rows: Mapping[str, pl.DataFrame], scoring: Scoring) -> list[Comparison]:
    (first, reference), *others = rows.items()
    found = [Comparison(task=task, method=first)]
    for name, frame in others:
        difference, p = paired(reference, frame, scoring)
        found.append(Comparison(task=task, method=name, difference=difference, p=p))
    return found


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of a family with Holm's correction over all of them, and the verdict on the first of each pair.

    Args:
        family: comparisons; those without a test stay as they are.

    Returns:
        The comparisons, in the same order.
    """
    values = holm([torch.nan if entry.p is None else entry.p for entry in family])
    return [
        entry if entry.p is None else _judged(entry, float(value)) for entry, value in zip(family, values, strict=True)
    ]


def _judged(entry: Comparison, corrected: float) -> Comparison:
    value = None if entry.difference is None else entry.difference.value
    assert value is not None, "it was tested"
    verdict: Verdict = "level"
    if corrected < LEVEL:
        verdict = "better" if value > 0 else "worse"
    return replace(entry, corrected=corrected, verdict=verdict)


def _tensor(column: pl.Series) -> Tensor:
    return torch.from_numpy(column.to_numpy(writable=True))
