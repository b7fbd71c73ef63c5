"""Draws the figures of a run without a display; matplotlib is loaded with the first figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmnar_lightning.evaluation.results import Cell, OffsetTable, Results, TaskScores
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.divisions import decision_plot, subgroup_plot
from mmnar_lightning.report.style import (
    GREY,
    draw_interval,
    draw_patterns,
    matrix_size,
    new_figure,
    save,
    styled,
    titled,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORED = {"tasks": "before the rectifier", "rectified": "after the rectifier"}
"""Field of the results -> description of its scores."""
MAX_CURVES = 6
"""Maximum number of panels in a reliability plot."""
ALL = "all rows"


def _by_pattern(
    counts: Mapping[str, Mapping[str, int | None]], modalities: Sequence[str], title: str | None
) -> tuple[Figure, Mapping[str, Axes]]:
    """A panel for each task beside one matrix of patterns; lines are named `ALL`, or by their pattern.

    Args:
        counts: task -> line -> rows, None if masked; the same lines in every task.
        modalities: names, in the order of the patterns' characters.
        title: of the figure.

    Returns:
        The figure, and the panel of each task, whose ticks are the counts of its lines.
    """
    lines = list(next(iter(counts.values())))
    width = matrix_size(modalities) + 0.45
    figure = new_figure(width + 2.5 * len(counts), 1.5 + 0.2 * len(lines))
    figure.suptitle(title or "")
    matrix, *panels = figure.subplots(1, 1 + len(counts), width_ratios=[width, *[2.5] * len(counts)])
    draw_patterns(matrix, [None if line == ALL else line for line in lines], modalities)
    if lines[0] == ALL:
        matrix.text(1, 0, ALL, transform=matrix.get_yaxis_transform(), ha="right", va="center", fontsize=7)
    found = dict(zip(counts, panels, strict=True))
    for task, axes in found.items():
        axes.set_yticks(range(len(lines)), [_counted(counts[task][line]) for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_title(titled(task))
        axes.grid(axis="x", color="0.93", linewidth=0.8)
    return figure, found


def _counted(count: int | None) -> str:
    return "masked" if count is None else f"n={count}"


@styled
def interval_plot(
    scores: Mapping[str, TaskScores], metric: str, modalities: Sequence[str], title: str | None = None
) -> Figure:
    """Draw a metric with its interval for every task, overall and by pattern.

    Args:
        scores: by task, masked.
        metric: name of the metric.
        modalities: names, in the order of the patterns' characters.
        title: of the figure.

    Returns:
        The figure.
    """
    cells = {task: {ALL: found.all, **_first(found.patterns)} for task, found in scores.items()}
    counts = {task: {name: cell.count for name, cell in own.items()} for task, own in cells.items()}
    figure, panels = _by_pattern(counts, modalities, title)
    for task, axes in panels.items():
        for place, cell in enumerate(cells[task].values()):
            score = cell.score(metric)
            if score is not None:
                draw_interval(axes, place, (score.value, score.low, score.high))
        axes.set_xlabel(f"{words(metric)}, 95 % interval")
        if metric == "auroc":
            axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
            axes.set_xlim(0, 1)
    return figure


def _first(patterns: Mapping[str, Cell]) -> dict[str, Cell]:
    return dict(list(patterns.items())[:MAX_PATTERNS])


@styled
def reliability_plot(
    scores: Mapping[str, Mapping[str, TaskScores]], task: str, modalities: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the observed rate against the mean probability, over all rows and for the most frequent patterns.

    Args:
        scores: label of a curve, for example before or after the rectifier -> scores by task, masked.
        task: to draw.
        modalities: names, in the order of the patterns' characters.
        title: of the figure.

    Returns:
        The figure.
    """
    cells = next(iter(scores.values()))[task].cells
    names = [name for name, cell in cells.items() if cell.count][:MAX_CURVES]
    columns = max(1, len(names))
    heights = 2.0, matrix_size(modalities)
    figure = new_figure(0.8 + 1.9 * columns, 0.8 + sum(heights))
    figure.suptitle(": ".join(part for part in (title, titled(task)) if part))
    panels = figure.subplots(2, columns, height_ratios=heights, squeeze=False)
    for (axes, below), name in zip(panels.T, names, strict=False):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        for label, tasks in scores.items():
            cell = tasks[task].cells[name]
            curve = cell.reliability
            assert curve is not None, "only unmasked cells are drawn"
            axes.plot(curve.mean_probability, curve.observed_rate, "o-", markersize=3, linewidth=1, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability")
        axes.set_title(f"{ALL}, {_counted(cell.count)}" if name == "all" else _counted(cell.count))
        draw_patterns(below, [None if name == "all" else name], modalities, down=False)
        below.tick_params(labelleft=name == names[0])
    panels[0, 0].set_ylabel("observed rate")
    if len(scores) > 1 and names:
        panels[0, 0].legend(loc="upper left")  # `best` searches all positions, which takes seconds
    if not names:
        panels[1, 0].set_axis_off()
    return figure


@styled
def offset_plot(offsets: Mapping[str, OffsetTable], modalities: Sequence[str], title: str | None = None) -> Figure:
    """Draw the rectifier's offset to the logits of each pattern, with its 95 % interval.

    Args:
        offsets: by task, masked.
        modalities: names, in the order of the patterns' characters.
        title: of the figure.

    Returns:
        The figure.
    """
    entries = {task: dict(list(table.patterns.items())[:MAX_PATTERNS]) for task, table in offsets.items()}
    counts = {task: {name: entry.count for name, entry in own.items()} for task, own in entries.items()}
    figure, panels = _by_pattern(counts, modalities, title)
    for task, axes in panels.items():
        for place, entry in enumerate(entries[task].values()):
            draw_interval(axes, place, (entry.tau, entry.low, entry.high))
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        table = offsets[task]
        axes.set_xlabel(f"offset τ on the {table.scale} scale,\n95 % interval (strength {table.strength:.2f})")
    return figure


def draw_results(results: Results, folder: Path) -> None:
    """Draw every resampled metric with its intervals, reliability and decision curves, subgroups, and offsets.

    Args:
        results: of a run, public: nothing is masked here.
        folder: for the figures.
    """
    named = {SCORED[name]: scores for name, scores in results.scores.items()}
    title = "simulated data" if results.simulated else None
    for metric in RESAMPLED:
        save(interval_plot(results.tasks, metric, results.modalities, title), folder / f"{metric}.png")
    for task in results.tasks:
        save(reliability_plot(named, task, results.modalities, title), folder / f"reliability_{task}.png")
    for task, curve in (results.net_benefit or {}).items():
        save(decision_plot(curve, task, title), folder / f"decision_curve_{task}.png")
    final = results.rectified or results.tasks
    divided = {name: found.tasks for name, found in (results.subgroups or {}).items()}
    for task in dict.fromkeys(task for own in divided.values() for task in own):
        by_attribute = {name: own[task] for name, own in divided.items() if task in own}
        save(subgroup_plot(final[task].all, by_attribute, task, title), folder / f"subgroups_{task}.png")
    if results.rectifier is not None:
        save(offset_plot(results.rectifier, results.modalities, title), folder / "rectifier.png")
