"""All metrics of a run in one table and one figure, before and after the rectifier, for W&B; public results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmnar_lightning.evaluation.results import Cell, Results, Score, TaskScores, ValueCell, ValueScores
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.style import (
    MAIN,
    OTHER,
    draw_interval,
    draw_patterns,
    matrix_size,
    new_figure,
    styled,
    titled,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIMES = ("before", "after")
"""The two times at which rows are scored: before and after the rectifier."""
HEADER = ["task", "pattern", "metric", *(f"{time}{end}" for time in TIMES for end in ("", " low", " high"))]
NO_ENDS = (None, None, None)
COLOURS = (MAIN, OTHER)


def table_rows(results: Results) -> Iterator[list[Any]]:
    """One row for each metric of each cell that is shown; its counts are rows of their own, once.

    Args:
        results: of a run, public.

    Yields:
        The values of `HEADER`; those after the rectifier are None without one.
    """
    times = _times(results)
    for task, first in times[0].items():
        for pattern, cell in first.cells.items():
            if cell.count is None:
                continue
            for name, count in _counts(cell).items():
                yield [task, pattern, name, count, *NO_ENDS[1:], *NO_ENDS]
            cells = [scores[task].cells[pattern] for scores in times]
            for metric in METRICS if results.values is None else VALUE_METRICS:
                ends = [_ends(own.score(metric)) for own in cells]
                yield [task, pattern, metric, *ends[0], *(ends[1] if len(ends) > 1 else NO_ENDS)]


def _times(results: Results) -> list[Mapping[str, TaskScores] | Mapping[str, ValueScores]]:
    """Scores by task before and, with a rectifier, after it."""
    found = (results.tasks, results.rectified) if results.values is None else (results.values, results.rectified_values)
    return [scores for scores in found if scores is not None]


def _counts(cell: Cell | ValueCell) -> dict[str, int | None]:
    return {"rows": cell.count, **({"positives": cell.positives} if isinstance(cell, Cell) else {})}


def _ends(score: Score | None) -> tuple[float | None, float | None, float | None]:
    return NO_ENDS if score is None else (score.value, score.low, score.high)


@styled
def draw_overview(results: Results) -> Figure:
    """Draw metrics with their intervals: a row a task, a column a metric, a line a pattern.

    Args:
        results: of a run, public.

    Returns:
        The figure.
    """
    times, names = _times(results), results.task_names
    metrics = RESAMPLED if results.values is None else VALUE_METRICS
    lines = {task: ["all", *list(times[0][task].patterns)[:MAX_PATTERNS]] for task in names}
    width = matrix_size(results.modalities) + 0.9
    figure = new_figure(width + 2.2 * len(metrics), sum(1.4 + 0.2 * len(own) for own in lines.values()))
    grid = figure.subplots(len(names), 1 + len(metrics), squeeze=False, width_ratios=[width, *[2.2] * len(metrics)])
    for (matrix, *panels), (task, own) in zip(grid, lines.items(), strict=True):
        draw_patterns(matrix, [None, *own[1:]], results.modalities)
        matrix.text(1, 0, "all rows", transform=matrix.get_yaxis_transform(), ha="right", va="center", fontsize=7)
        matrix.set_xlabel(titled(task))
        for axes, metric in zip(panels, metrics, strict=True):
            _draw_metric(axes, metric, [[scores[task].cells[name] for name in own] for scores in times])
        masked = [place for place, name in enumerate(own) if times[0][task].cells[name].count is None]
        panels[0].set_yticks(masked, ["masked"] * len(masked))
    figure.suptitle(" and ".join(f"{time} the rectifier" for time in TIMES[: len(times)]) + ", 95 % intervals")
    if len(times) > 1:
        figure.legend(*_legend(), loc="upper right", ncols=2)
    return figure


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=colour, marker="o") for colour in COLOURS], list(TIMES)


def _draw_metric(axes: Axes, metric: str, times: Sequence[Sequence[Cell | ValueCell]]) -> None:
    """Draw a metric of every line, the two times beside each other."""
    shifts = (-0.15, 0.15) if len(times) > 1 else (0.0,)
    for cells, shift, colour in zip(times, shifts, COLOURS, strict=False):
        for place, cell in enumerate(cells):
            draw_interval(axes, place + shift, _ends(cell.score(metric)), colour)
    axes.set_yticks([])
    axes.set(ylim=(len(times[0]) - 0.4, -0.6), xlabel=words(metric))
    axes.grid(axis="x", color="0.93", linewidth=0.8)
