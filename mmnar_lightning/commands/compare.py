"""`mmnar compare`: paired differences between runs that were tested on the same rows."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from data_modules.settings import expand
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.comparison import Comparison
from mmnar_lightning.report.formats import difference_text, score_text
from mmnar_lightning.runs.compared import compared
from mmnar_lightning.runs.run import scoring_of

HEADER = ["run", "rows (positive)", "auroc", "first minus it", "DeLong p", "corrected p", "the first is"]
TABLE = "comparison.csv"


def compare_runs(config: ExperimentConfig) -> list[Comparison]:
    """Compare the runs of `runs`, the first with each of the others, and print one table a task.

    Returns:
        The comparisons.
    """
    found = compared([Path(expand(folder)) for folder in config.runs], scoring_of(config))
    for task in dict.fromkeys(entry.task for entry in found):
        show(
            f"{task}, test rows, 95 % intervals clustered by subject",
            HEADER,
            [_line(entry) for entry in found if entry.task == task],
        )
    tests = sum(entry.p is not None for entry in found)
    say(f"{tests} tests, corrected together by Holm's method at 0.05; the final prediction of each run is compared")
    if config.out:
        _write(found, Path(config.out))
    return found


def _line(entry: Comparison) -> list[str]:
    if entry.rows is None:
        return [entry.method, "masked", *[""] * (len(HEADER) - 2)]
    tested = (
        ["", "", "", ""]
        if entry.p is None
        else [difference_text(entry.difference), f"{entry.p:.3g}", f"{entry.corrected:.3g}", entry.verdict]
    )
    return [entry.method, f"{entry.rows} ({entry.positives})", score_text(entry.auroc), *tested]


def _write(found: Sequence[Comparison], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for entry in found:
        flat = asdict(entry)
        for name in ("auroc", "difference"):
            score = flat.pop(name) or {}
            flat |= {f"{name}_{end}": score.get(end) for end in ("value", "low", "high")}
        rows.append(flat)
    pl.DataFrame(rows, infer_schema_length=None).write_csv(folder / TABLE)
    say(f"comparison: {folder / TABLE}")


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    compare_runs(config)
    return 0
