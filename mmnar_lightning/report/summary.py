"""What is printed at the end of a run: one table, and the rectifier in a line; `topics` has everything else."""

from collections.abc import Iterator

from mmnar_lightning.console import say, show, warn
from mmnar_lightning.evaluation.results import Cell, Results, TaskScores
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.report.formats import score_text
from mmnar_lightning.report.tables import show_parts
from mmnar_lightning.report.value_tables import show_value_summary

FURTHEST = 3
"""Number of patterns in the table: those whose AUROC is furthest from that of all rows of their task."""
MAX_TASKS = 6
"""Most tasks whose rectifier is printed one by one."""
MASKED = "masked"


def show_summary(results: Results) -> None:
    """Print one table: each task over all rows, and the patterns furthest from it; then the rectifier in a line.

    Scores are those of the final prediction, after the rectifier if there is one. A target has lines of its own.

    Args:
        results: of a run, public.
    """
    if results.values is not None:
        show_value_summary(results)
        return
    header = ["task", "pattern", "rows (positive)", *(name.replace("_", " ") for name in RESAMPLED)]
    rows = [line for found, where in _cohorts(results) for line in _lines(found, where)]
    if results.children is not None:
        say(f"{len(results.children)} run{'s' if len(results.children) > 1 else ''} ({results.protocol})")
    data = ", simulated data" if results.simulated else ""
    after = ", after the rectifier" if results.rectified is not None else ""
    show(f"test split{data}{after}, 95 % intervals clustered by subject", header, rows)
    show_rectifier_line(results)
    if results.children is not None:
        show_parts(final(results), num_parts(results))
    target = results.target
    if target is not None:
        show_rectifier_line(target, f" at the target ({target.dataset})")
        if target.unseen_patterns:
            unseen, patterns = target.unseen_pattern_rows, len(target.unseen_patterns)
            counted = "some" if unseen is None else f"{unseen} of {target.split.rows}"
            warn(f"target: {counted} rows have one of {patterns} patterns unseen in training")


def num_parts(results: Results) -> int:
    """Number of test sets that the metrics of several runs are means over: folds or patterns, times seeds.

    Args:
        results: of a protocol.

    Returns:
        The number; cross-fitted folds test the same rows, and are one.
    """
    keys = ("seed",) if results.protocol == "crossfit" else ("seed", "fold", "pattern")
    return len({tuple(child.get(key) for key in keys) for child in results.children or []})


def _cohorts(results: Results) -> Iterator[tuple[Results, str]]:
    yield results, ""
    if results.target is not None:
        yield results.target, f" at the target ({results.target.dataset})"


def final(results: Results) -> dict[str, TaskScores]:
    """Scores of the final prediction, by task."""
    return results.tasks if results.rectified is None else results.rectified


def _lines(results: Results, where: str) -> Iterator[list[str]]:
    chosen = furthest(final(results))
    for task, found in final(results).items():
        yield _line(f"{task}{where}", "all", found.all)
        for own, pattern in chosen:
            if own == task:
                yield _line("", pattern, found.patterns[pattern])


def furthest(scores: dict[str, TaskScores]) -> list[tuple[str, str]]:
    """The patterns whose AUROC is furthest from that of all rows of their task, of those that have an interval.

    Args:
        scores: by task, public.

    Returns:
        Task and pattern label of at most `FURTHEST` patterns, the furthest first.
    """
    distances = {
        (task, pattern): abs(value - whole)
        for task, found in scores.items()
        if (whole := _auroc(found.all)) is not None
        for pattern, cell in found.patterns.items()
        if (value := _auroc(cell, with_interval=True)) is not None
    }
    return sorted(distances, key=lambda place: -distances[place])[:FURTHEST]


def _auroc(cell: Cell, *, with_interval: bool = False) -> float | None:
    score = cell.auroc
    return None if score is None or (with_interval and score.low is None) else score.value


def _line(task: str, pattern: str, cell: Cell) -> list[str]:
    if cell.count is None:
        return [task, pattern, MASKED, *[""] * len(RESAMPLED)]
    return [
        task,
        pattern,
        f"{cell.count} ({cell.positives})",
        *(score_text(cell.score(metric)) for metric in RESAMPLED),
    ]


def show_rectifier_line(results: Results, where: str = "") -> None:
    """Print in one line how strong the rectifier is for each task, and the calibration error before and after it.

    Args:
        results: of a run, public; without a rectifier nothing is printed.
        where: follows the word rectifier.
    """
    if results.rectifier is None or results.rectified is None:
        return
    if len(results.rectifier) > MAX_TASKS:
        say(f"rectifier{where}: {_of_many_tasks(results)}")
        return
    parts = []
    for task, table in results.rectifier.items():
        errors = [scores[task].all.calibration_error for scores in (results.tasks, results.rectified)]
        values = [error.value for error in errors if error is not None and error.value is not None]
        changed = f", calibration error {values[0]:.3f} → {values[1]:.3f}" if len(values) == len(errors) else ""
        parts.append(f"{task} strength {table.strength:.1f}{changed}")
    say(f"rectifier{where}: {'; '.join(parts)}")


def _of_many_tasks(results: Results) -> str:
    """How many rectifiers are on, and the mean calibration error over the tasks that have one."""
    strengths = [table.strength for table in (results.rectifier or {}).values()]
    errors = [
        [_error(scores[task]) for task in results.tasks]
        for scores in (results.tasks, results.rectified or results.tasks)
    ]
    pairs = [(before, after) for before, after in zip(*errors, strict=True) if before is not None and after is not None]
    counted = f"strength above 0 in {sum(own > 0 for own in strengths)} of {len(strengths)} tasks"
    if not pairs:
        return counted
    before, after = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    return f"{counted}, calibration error {before:.3f} → {after:.3f} on average over {len(pairs)} tasks"


def _error(scores: TaskScores) -> float | None:
    error = scores.all.calibration_error
    return None if error is None else error.value
