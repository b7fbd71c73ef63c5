"""`mmnar compare`: paired differences between runs that were tested on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from data_modules.settings import expand
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.comparison import VALUE, Comparison, compare
from mmnar_lightning.evaluation.value_comparison import ValueComparison, compare_values
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report.formats import difference_text, score_text
from mmnar_lightning.runs.compared import predictions_of
from mmnar_lightning.runs.run import scoring_of

HEADER = ["run", "rows (positive)", "auroc", "first minus it", "DeLong p", "corrected p", "the first is"]
TABLE = "comparison.csv"


VALUE_HEADER = [
    "run",
    "rows",
    *(name.replace("_", " ") for name in VALUE_METRICS),
    "first minus it, MAE",
    "p",
    "corrected p",
    "the first is",
]


def compare_runs(config: ExperimentConfig) -> list[Comparison] | list[ValueComparison]:
    """Compare the runs of `runs`, the first with each of the others, and print one table a task.

    Returns:
        The comparisons.
    """
    predictions = predictions_of([Path(expand(folder)) for folder in config.runs])
    if all(any(name.startswith(VALUE) for name in frame.columns) for frame in predictions.values()):
        return _compare_numbers(predictions, config)
    found = compare(predictions, scoring_of(config))
    for task in dict.fromkeys(entry.task for entry in found):
        show(
            f"{task}, test rows, 95 % intervals clustered by subject",
            HEADER,
            [_line(entry) for entry in found if entry.task == task],
        )
    tests = sum(entry.p is not None for entry in found)
    counted = f"{tests} test{'' if tests == 1 else 's'}"
    say(f"{counted}, corrected together by Holm's method at 0.05; the final prediction of each run is compared")
    if config.out:
        _write(found, Path(config.out))
    return found


def _compare_numbers(predictions: Mapping[str, pl.DataFrame], config: ExperimentConfig) -> list[ValueComparison]:
    found = compare_values(predictions, scoring_of(config))
    for task in dict.fromkeys(entry.task for entry in found):
        own = [_value_line(entry) for entry in found if entry.task == task]
        show(f"{task}, test rows, 95 % intervals clustered by subject, in the units of the task", VALUE_HEADER, own)
    tests = sum(entry.p is not None for entry in found)
    counted = "1 test" if tests == 1 else f"{tests} tests"
    say(
        f"{counted} of mean absolute errors, corrected together by Holm's method at 0.05; the final prediction of "
        "each run is compared"
    )
    if config.out:
        _write(found, Path(config.out))
    return found


def _value_line(entry: ValueComparison) -> list[str]:
    if entry.rows is None:
        return [entry.method, "masked", *[""] * (len(VALUE_HEADER) - 2)]
    tested = (
        ["", "", "", ""]
        if entry.p is None
        else [
            difference_text(entry.differences["mae"]),
            f"{entry.p:.3g}",
            f"{entry.corrected:.3g}",
            entry.verdict,
        ]
    )
    return [entry.method, str(entry.rows), *(score_text(entry.scores[name]) for name in VALUE_METRICS), *tested]


def _line(entry: Comparison) -> list[str]:
    if entry.rows is None:
        return [entry.method, "masked", *[""] * (len(HEADER) - 2)]
    tested = (
        ["", "", "", ""]
        if entry.p is None
        else [difference_text(entry.difference), f"{entry.p:.3g}", f"{entry.corrected:.3g}", entry.verdict]
    )
    return [entry.method, f"{entry.rows} ({entry.positives})", score_text(entry.auroc), *tested]


def _write(found: Sequence[Comparison] | Sequence[ValueComparison], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([_flat(asdict(entry)) for entry in found], infer_schema_length=None).write_csv(folder / TABLE)
    say(f"comparison: {folder / TABLE}")


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a comparison: each score as its value and ends."""
    named = {name: entry[name] for name in ("auroc", "difference") if name in entry}
    for group, suffix in (("scores", ""), ("differences", "_difference")):
        named |= {f"{metric}{suffix}": entry[group].get(metric) for metric in VALUE_METRICS if group in entry}
    others = {name: value for name, value in entry.items() if name not in {*named, "scores", "differences"}}
    ends = {
        f"{name}_{end}": (score or {}).get(end) for name, score in named.items() for end in ("value", "low", "high")
    }
    return {**others, **ends}


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    compare_runs(config)
    return 0
