"""Draws the figures of a run without a display; matplotlib is loaded with the first figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmnar_lightning.evaluation.results import OffsetTable, Results, TaskScores
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.report.cohort import MAX_PATTERNS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORED = {"tasks": "before the rectifier", "rectified": "after the rectifier"}
"""Field of the results -> description of its scores."""
MAX_LABEL = 24
"""Maximum number of characters of a pattern's label."""
MAX_CURVES = 6
"""Maximum number of panels in a reliability plot."""


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure, with width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def heat_map(values: Mapping[str, float], tasks: Sequence[str], patterns: Sequence[str]) -> Figure:
    """Draw the AUROC by task and pattern, with the count in each cell; undefined or masked cells are grey.

    Args:
        values: `auroc/<task>/<pattern>` and `count/<task>/<pattern>`.
        tasks: rows.
        patterns: columns, the most frequent first; `MAX_PATTERNS` are drawn.

    Returns:
        The figure.
    """
    shown = list(patterns)[:MAX_PATTERNS]
    auroc = np.array([[values[f"auroc/{task}/{pattern}"] for pattern in shown] for task in tasks])
    figure = new_figure(2.2 + 0.8 * max(4, len(shown)), 1.6 + 0.6 * len(tasks))
    axes = figure.subplots()
    axes.set_facecolor("0.9")
    image = axes.imshow(auroc, vmin=0, vmax=1, cmap="RdYlBu", aspect="auto")
    axes.set_xticks(range(len(shown)), list(map(short, shown)), family="monospace")
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_xlabel("missingness pattern (1 = present), the most frequent first")
    for row, task in enumerate(tasks):
        for column, pattern in enumerate(shown):
            axes.text(column, row, _cell(values, f"{task}/{pattern}"), ha="center", va="center", fontsize=8)
    figure.colorbar(image, ax=axes, label="AUROC")
    return figure


def _cell(values: Mapping[str, float], key: str) -> str:
    auroc, count = values[f"auroc/{key}"], values[f"count/{key}"]
    number = "masked" if math.isnan(count) else f"n={count:.0f}"
    return number if math.isnan(auroc) else f"{auroc:.2f}\n{number}"


def interval_plot(scores: Mapping[str, TaskScores], metric: str, title: str | None = None) -> Figure:
    """Draw a metric with its interval for every task, overall and by pattern.

    Args:
        scores: by task, masked.
        metric: name of the metric.
        title: of the figure.

    Returns:
        The figure.
    """
    figure = new_figure(4.5 * len(scores), 3.8)
    figure.suptitle(title or "")
    for axes, (task, found) in zip(np.atleast_1d(figure.subplots(1, len(scores))), scores.items(), strict=True):
        named = {"all rows": found.all, **dict(list(found.patterns.items())[:MAX_PATTERNS])}
        for place, cell in enumerate(named.values()):
            score = cell.score(metric)
            if score is not None:
                _interval(axes, place, score.value, score.low, score.high)
        axes.set_yticks(range(len(named)), [_with_count(name, cell.count) for name, cell in named.items()], fontsize=8)
        axes.set_ylim(len(named) - 0.5, -0.5)
        axes.set_title(task, fontsize=10)
        axes.set_xlabel(f"{metric.replace('_', ' ')}, 95 % interval")
        if metric == "auroc":
            axes.axvline(0.5, color="0.7", linewidth=1)
            axes.set_xlim(0, 1)
    return figure


def _with_count(name: str, count: int | None) -> str:
    return f"{short(name)} ({'masked' if count is None else f'n={count}'})"


def short(name: str) -> str:
    """Return the label of a pattern, shortened where many modalities would leave no room for the axes.

    >>> short("101"), short("10" * 40)
    ('101', '1010101010101010… 40 of 80')
    """
    return name if len(name) <= MAX_LABEL else f"{name[:16]}… {name.count('1')} of {len(name)}"


def _interval(axes: Any, place: int, value: float | None, low: float | None, high: float | None) -> None:
    if value is None:
        return
    axes.plot(value, place, "o", color="tab:blue")
    if low is not None:
        axes.plot([low, high], [place, place], color="tab:blue")


def reliability_plot(scores: Mapping[str, Mapping[str, TaskScores]], task: str, title: str | None = None) -> Figure:
    """Draw the observed rate against the mean probability, over all rows and for the most frequent patterns.

    Args:
        scores: label of a curve, for example before or after the rectifier -> scores by task, masked.
        task: to draw.
        title: of the figure.

    Returns:
        The figure.
    """
    cells = next(iter(scores.values()))[task].cells
    names = [name for name, cell in cells.items() if cell.count][:MAX_CURVES]
    figure = new_figure(2.6 * max(1, len(names)), 3.1)
    figure.suptitle(": ".join(part for part in (title, task) if part), fontsize=10)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(1, len(names)))), names, strict=False):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for label, tasks in scores.items():
            cell = tasks[task].cells[name]
            curve = cell.reliability
            assert curve is not None, "only unmasked cells are drawn"
            axes.plot(curve.mean_probability, curve.observed_rate, "o-", markersize=3, linewidth=1, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability")
        axes.set_title(_with_count("all rows" if name == "all" else name, cell.count), fontsize=8)
    figure.axes[0].set_ylabel("observed rate")
    if len(scores) > 1 and names:
        figure.axes[0].legend(fontsize=7, loc="upper left")  # `best` searches all positions, which takes seconds
    return figure


def offset_plot(offsets: Mapping[str, OffsetTable], title: str | None = None) -> Figure:
    """Draw the rectifier's offset to the logits of each pattern, with its 95 % interval.

    Args:
        offsets: by task, masked.
        title: of the figure.

    Returns:
        The figure.
    """
    figure = new_figure(4.5 * len(offsets), 3.8)
    figure.suptitle(title or "")
    for axes, (task, table) in zip(np.atleast_1d(figure.subplots(1, len(offsets))), offsets.items(), strict=True):
        named = dict(list(table.patterns.items())[:MAX_PATTERNS])
        for place, entry in enumerate(named.values()):
            _interval(axes, place, entry.tau, entry.low, entry.high)
        axes.axvline(0, color="0.7", linewidth=1)
        counts = [_with_count(name, entry.count) for name, entry in named.items()]
        axes.set_yticks(range(len(named)), counts, fontsize=8)
        axes.set_ylim(len(named) - 0.5, -0.5)
        axes.set_title(f"{task} (strength {table.strength:.2f})", fontsize=10)
        axes.set_xlabel(f"offset τ on the {table.scale} scale, 95 % interval")
    return figure


def draw_results(results: Results, folder: Path) -> None:
    """Draw every resampled metric with its intervals, the reliability curves, and the rectifier's offsets.

    Args:
        results: of a run, public: nothing is masked here.
        folder: for the figures.
    """
    named = {SCORED[name]: scores for name, scores in results.scores.items()}
    title = "simulated data" if results.simulated else None
    for metric in RESAMPLED:
        save(interval_plot(results.tasks, metric, title), folder / f"{metric}.png")
    for task in results.tasks:
        save(reliability_plot(named, task, title), folder / f"reliability_{task}.png")
    if results.rectifier is not None:
        save(offset_plot(results.rectifier, title), folder / "rectifier.png")


def save(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Write a figure as a reproducible PNG, without metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
