"""`mmnar compare`: paired differences between runs that were tested on the same rows, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from data_modules.settings import expand
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.comparison import VALUE, Verdict
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.evaluation.value_comparison import ValueComparison, compare_values
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report.formats import difference_text, score_text
from mmnar_lightning.runs.compared import predictions_of
from mmnar_lightning.runs.run import scoring_of
from mmnar_lightning.tables import at_hand, files, written
from mmnar_lightning.tables.score import Line

FOLDER = "comparison"
"""In the folder of the first run, where `out` names no other."""
VALUES = "comparison.csv"
"""Of tasks that are numbers."""
HEADER = ["run", "rows (positive)", "auroc", "first minus it", "DeLong p", "corrected p", "the first is"]
OPPOSITE: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
VALUE_HEADER = [
    "run",
    "rows",
    *(name.replace("_", " ") for name in VALUE_METRICS),
    "first minus it, MAE",
    "p",
    "corrected p",
    "the first is",
]


def compare_runs(config: ExperimentConfig) -> Path:
    """Compare the runs of `runs`, the first with each of the others, print one table a task, and write the files.

    Returns:
        The folder of the files: `out`, or one in the folder of the first run.

    Raises:
        ConfigError: if it cannot be written.
    """
    runs = [Path(expand(folder)) for folder in config.runs]
    predictions = predictions_of(runs)
    folder = Path(config.out) if config.out else runs[0] / FOLDER
    is_value = all(any(name.startswith(VALUE) for name in frame.columns) for frame in predictions.values())
    found = _compare_numbers(predictions, config) if is_value else _compare_outcomes(runs, predictions, config)
    try:
        written_to = _write(found, folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); give another folder by out=") from error
    say(f"comparison: {written_to}")
    return folder


def _compare_outcomes(
    runs: Sequence[Path], predictions: Mapping[str, pl.DataFrame], config: ExperimentConfig
) -> at_hand.AtHand:
    found = at_hand.make(runs, predictions, scoring_of(config))
    for _, task, own in written.sections(found.lines):
        show(f"{task}, test rows, 95 % intervals clustered by subject", HEADER, [_line(line) for line in own])
    tests = sum(line.p is not None for line in found.lines)
    counted = f"{tests} test{'' if tests == 1 else 's'}"
    say(f"{counted}, corrected together by Holm's method at 0.05; the final prediction of each run is compared")
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


def _line(line: Line) -> list[str]:
    """The texts of a run: a line is about the run minus the first, what is printed about the first."""
    if line.rows is None:
        return [line.method, "masked", *[""] * (len(HEADER) - 2)]
    tested = [""] * 4
    if line.p is not None and line.difference is not None:
        verdict = OPPOSITE.get(line.verdict, line.verdict)
        tested = [difference_text(_negative(line.difference)), f"{line.p:.3g}", f"{line.corrected:.3g}", verdict]
    return [line.method, f"{line.rows} ({line.positives})", score_text(line.scores["auroc"]), *tested]


def _negative(score: Score) -> Score:
    value, low, high = (None if end is None else -end for end in (score.value, score.high, score.low))
    return replace(score, value=value, low=low, high=high)


def _write(found: at_hand.AtHand | Sequence[ValueComparison], folder: Path) -> Path:
    """Write the files of a comparison; returns the one to read first."""
    if isinstance(found, at_hand.AtHand):
        files.write(found.lines, found.family, folder, modalities=found.modalities, left_out=found.left_out)
        return folder / files.MARKDOWN
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([_flat(asdict(entry)) for entry in found], infer_schema_length=None).write_csv(folder / VALUES)
    return folder / VALUES


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a comparison: each score as its value and ends."""
    named: dict[str, Any] = {}
    for group, suffix in (("scores", ""), ("differences", "_difference")):
        named |= {f"{metric}{suffix}": entry[group].get(metric) for metric in VALUE_METRICS}
    others = {name: value for name, value in entry.items() if name not in {*named, "scores", "differences"}}
    ends = {
        f"{name}_{end}": (score or {}).get(end) for name, score in named.items() for end in ("value", "low", "high")
    }
    return {**others, **ends}


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    compare_runs(config)
    return 0
