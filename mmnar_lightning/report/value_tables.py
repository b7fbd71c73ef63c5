"""Prints the public scores of tasks that are numbers as tables; nothing here masks a cell."""

from collections.abc import Mapping

from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.breakdown import Gap
from mmnar_lightning.evaluation.results import Results, ValueCell, ValueScores
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report.formats import difference_text, score_text
from mmnar_lightning.report.style import in_order

MASKED = "masked"
HEADER = [name.replace("_", " ") for name in VALUE_METRICS]


def final_values(results: Results) -> dict[str, ValueScores]:
    """Scores of the final prediction, by task; empty where the tasks are yes or no."""
    return results.rectified_values or results.values or {}


def show_value_summary(results: Results) -> None:
    """Print one table: each task over all rows; then the rectifier in a line.

    Args:
        results: of a run, public.
    """
    if results.children is not None:
        say(f"{len(results.children)} run{'s' if len(results.children) > 1 else ''} ({results.protocol})")
    after = ", after the rectifier" if results.rectified_values is not None else ""
    rows = [[task, *cells_of(found.all)] for task, found in final_values(results).items()]
    show(f"test split{_data(results)}{after}, 95 % intervals clustered by subject", ["task", "rows", *HEADER], rows)
    if results.rectifier:
        strengths = [
            f"{task} strength {table.strength:.1f}{_changed(results, task)}"
            for task, table in results.rectifier.items()
        ]
        say(f"rectifier: {'; '.join(strengths)}")


def show_value_scores(results: Results) -> None:
    """Print one table per task, before and after the rectifier: every pattern with its metrics and intervals.

    Args:
        results: of a run, public.
    """
    for name, scores in (("before", results.values), ("after", results.rectified_values)):
        for task, found in (scores or {}).items():
            shown = [[label, *cells_of(cell)] for label, cell in found.cells.items() if cell.count is not None]
            where = f"{name} the rectifier{_data(results)}"
            show(
                f"{task}, test split, {where}, 95 % intervals clustered by subject", ["pattern", "rows", *HEADER], shown
            )
            hidden = len(found.cells) - len(shown)
            if hidden:
                say(
                    f"{hidden} cells are masked here but not in results.json: no number of rows below "
                    f"{results.masked_below} is shown or follows from others"
                )


def show_value_subgroups(results: Results) -> None:
    """Print one table per attribute: every task and level with its metrics, and the largest gaps of each.

    Args:
        results: of a run, public; without subgroups nothing is printed.
    """
    for attribute, found in (results.value_subgroups or {}).items():
        rows = []
        for task, scores in found.tasks.items():
            cells = ((level, scores.cells[level]) for level in in_order(attribute, scores.cells))
            rows += [[task, level, *cells_of(cell)] for level, cell in cells if cell.count is not None]
            if scores.gaps:
                gaps = [scores.gaps.get(metric) for metric in VALUE_METRICS]
                rows.append([task, "largest gap", "", *(gap_text(gap) for gap in gaps)])
        show(f"by {attribute}, final prediction, 95 % intervals; those of gaps hold for all pairs at once",
             ["task", attribute, "rows", *HEADER], rows)  # fmt: skip


def gap_text(gap: Gap | None) -> str:
    """The two levels of a gap, and their difference; empty without one."""
    return f"{gap.higher} - {gap.lower}: {difference_text(gap.difference)}" if gap else ""


def show_value_offsets(results: Results) -> None:
    """Print one table per task: the offset of each pattern, in the units of the task.

    Args:
        results: of a run, public.
    """
    for task, table in (results.rectifier or {}).items():
        rows = [
            [
                name,
                str(own.count),
                f"{own.tau:+.2f} ({own.low:+.2f} to {own.high:+.2f})",
                "yes" if own.inherited else "",
            ]
            for name, own in table.patterns.items()
            if own.tau is not None
        ]
        title = f"{task}: offset of each pattern in the {table.scale}, strength {table.strength:.1f}"
        show(title, ["pattern", "calibration rows", "offset", "inherited"], rows)


def cells_of(cell: ValueCell) -> list[str]:
    """The cells of a row of a table: rows, and each metric with its interval."""
    if cell.count is None:
        return [MASKED, *[""] * len(VALUE_METRICS)]
    return [str(cell.count), *(score_text(cell.score(metric)) for metric in VALUE_METRICS)]


def _data(results: Results) -> str:
    return ", simulated data" if results.simulated else ""


def _changed(results: Results, task: str) -> str:
    errors = [_mean_error(scores, task) for scores in (results.values, results.rectified_values)]
    before, after = errors
    return "" if before is None or after is None else f", mean error {before:+.3f} → {after:+.3f}"


def _mean_error(scores: Mapping[str, ValueScores] | None, task: str) -> float | None:
    error = scores[task].all.mean_error if scores else None
    return None if error is None else error.value
