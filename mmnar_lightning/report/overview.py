"""All metrics of a run in one table and one figure, before and after the rectifier, for W&B; public results alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.figures import SCORED
from mmnar_lightning.report.style import MAIN, OTHER, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ["scores", "task", "pattern", "rows", "positives", "metric", "value", "low", "high"]
COLOURS = {"tasks": MAIN, "rectified": OTHER}


def table_rows(results: Results) -> Iterator[list[Any]]:
    """One row for each metric of each cell that is shown, before and after the rectifier.

    Args:
        results: of a run, public.

    Yields:
        The values of `HEADER`.
    """
    for name, by_task in results.scores.items():
        for task, found in by_task.items():
            for pattern, cell in found.cells.items():
                if cell.count is None:
                    continue
                for metric in METRICS:
                    score = cell.score(metric)
                    ends = (None, None, None) if score is None else (score.value, score.low, score.high)
                    yield [SCORED[name], task, pattern, cell.count, cell.positives, metric, *ends]


def draw_overview(results: Results) -> Figure:
    """Draw every resampled metric with its interval: a row a task, a column a metric, a line a pattern.

    Args:
        results: of a run, public.

    Returns:
        The figure.
    """
    height = 1.2 + 0.28 * max(1, *(min(MAX_PATTERNS, len(found.patterns)) for found in results.tasks.values()))
    figure = new_figure(3.2 * len(RESAMPLED), height * len(results.tasks))
    grid = np.atleast_2d(figure.subplots(len(results.tasks), len(RESAMPLED), squeeze=False))
    for row, task in zip(grid, results.tasks, strict=True):
        names = ["all", *list(results.tasks[task].patterns)[:MAX_PATTERNS]]
        for axes, metric in zip(row, RESAMPLED, strict=True):
            for shift, (name, by_task) in zip((-0.15, 0.15), results.scores.items(), strict=False):
                for place, pattern in enumerate(names):
                    score = by_task[task].cells[pattern].score(metric)
                    if score is not None and score.value is not None:
                        axes.plot(score.value, place + shift, "o", color=COLOURS[name], markersize=4)
                        if score.low is not None:
                            axes.plot([score.low, score.high], [place + shift] * 2, color=COLOURS[name], linewidth=1)
            axes.set_yticks(range(len(names)), names, fontsize=7, family="monospace")
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_xlabel(metric.replace("_", " "), fontsize=8)
        row[0].set_ylabel(task, fontsize=8)
    figure.suptitle(f"{' (blue) and '.join(SCORED[name] for name in results.scores)}, 95 % intervals", fontsize=9)
    return figure
