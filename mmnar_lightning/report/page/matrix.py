"""Figures with one line per pattern: its modalities as dots, as in an UpSet plot, and values beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mmnar_lightning.evaluation.results import Score, TaskScores
from mmnar_lightning.metrics.prediction_powered import Z
from mmnar_lightning.metrics.small_samples import wilson_ends
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.page import drawing, words
from mmnar_lightning.report.page.drawing import INK, LINE, MARKERS, MUTED, SERIES, SURFACE

ROW, DOT = 0.21, 0.17
"""Inches of a line, and of a modality's column."""
Values = Mapping[str, Sequence[Score | None]]
"""Name of a series -> its scores, for all rows and then each pattern; None is not shown."""


def shown_patterns(scores: TaskScores) -> list[str]:
    """Labels of the patterns that a figure shows, the most frequent first."""
    return list(scores.patterns)[:MAX_PATTERNS]


def forest(
    labels: Sequence[str],
    modalities: Sequence[str],
    values: Values,
    axis: str,
    name: str,
    title: str,
    *,
    at: float | None,
) -> Markup:
    """Draw scores with their intervals over all rows and by pattern.

    Args:
        labels: of the patterns.
        modalities: names, in the order of a label's characters.
        values: one score for all rows, then one for each pattern.
        axis: label of the scores' axis.
        name: unique on the page.
        title: of the figure.
        at: reference, a vertical line; None draws none.

    Returns:
        The figure.
    """
    with drawing.drawn(drawing.WIDTH, _height(len(labels) + 1, modalities, len(values))) as figure:
        dots, axes = figure.subplots(1, 2, sharey=True, width_ratios=[DOT * max(len(modalities), 3), 2.2])
        draw_dots(dots, labels, modalities, first="all")
        if at is not None:
            axes.axvline(at, color=LINE, linewidth=1, zorder=0)
        draw_values(axes, values)
        axes.set_xlabel(axis)
        if len(values) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return drawing.inline(figure, name, title)


def _height(rows: int, modalities: Sequence[str], series: int) -> float:
    return (
        0.55 + ROW * rows + 0.058 * max(len(words.modality(name)) for name in modalities) + (0.2 if series > 1 else 0)
    )


def draw_dots(axes: Any, labels: Sequence[str], modalities: Sequence[str], first: str = "") -> None:
    """Draw the matrix: a filled dot for a modality that is present, a pale one for one that is absent.

    Args:
        axes: to draw into.
        labels: of the patterns.
        modalities: names.
        first: text of a line above the patterns; none if empty.
    """
    above = 1 if first else 0
    for line, label in enumerate(labels, start=above):
        present = [place for place, mark in enumerate(label) if mark == "1"]
        absent = [place for place, mark in enumerate(label) if mark == "0"]
        axes.plot(absent, [line] * len(absent), "o", color=LINE, markersize=4.5)
        axes.plot(present, [line] * len(present), "-o", color=INK, markersize=4.5, linewidth=1.2)
    if first:
        axes.text(len(modalities) - 0.5, 0, first, ha="right", va="center", fontweight="bold")
    axes.set_xticks(range(len(modalities)), [words.modality(name) for name in modalities], rotation=90, fontsize=7)
    axes.xaxis.set_ticks_position("top")
    axes.set_xlim(-0.6, max(len(modalities), 3) - 0.4)
    axes.set_ylim(len(labels) + above - 0.4, -0.6)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_values(axes: Any, values: Values) -> None:
    """Draw points and intervals, the series of a line beside each other; a line without any says that it is masked."""
    offsets = [0.0] if len(values) == 1 else [(place - (len(values) - 1) / 2) * 0.28 for place in range(len(values))]
    for place, (series, scores) in enumerate(values.items()):
        style = {"color": SERIES[place], "marker": MARKERS[place], "markersize": 4.5, "linestyle": "none"}
        axes.plot([], [], label=series, **style)
        for line, score in enumerate(scores):
            if score is None or score.value is None:
                continue
            axes.plot(score.value, line + offsets[place], **style)
            if score.low is not None and score.high is not None:
                ends = [score.low, score.high]
                axes.plot(ends, [line + offsets[place]] * 2, color=SERIES[place], linewidth=1.4)
    for line, scores in enumerate(zip(*values.values(), strict=True)):
        if all(score is None for score in scores):
            over = {"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5}
            where = axes.get_yaxis_transform()
            axes.text(0.02, line, "masked", transform=where, color=MUTED, va="center", fontsize=7, bbox=over)
    axes.grid(axis="x", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines["left"].set_visible(False)


def upset(tasks: Mapping[str, TaskScores], modalities: Sequence[str], name: str, title: str) -> Markup:
    """Draw the patterns with their number of test rows, and the observed risk of each task with its interval.

    Args:
        tasks: scores by task, public.
        modalities: names.
        name: unique on the page.
        title: of the figure.

    Returns:
        The figure, wide.
    """
    labels = shown_patterns(next(iter(tasks.values())))
    with drawing.drawn(2.6 + 1.5 * len(tasks), _height(len(labels), modalities, 1)) as figure:
        widths = [DOT * max(len(modalities), 3), 1.3, *([1.3] * len(tasks))]
        dots, bars, *risks = figure.subplots(1, 2 + len(tasks), sharey=True, width_ratios=widths)
        draw_dots(dots, labels, modalities)
        counts = [rows_of(tasks, label) for label in labels]
        bars.barh(range(len(labels)), [count or 0 for count in counts], height=0.6, color=SERIES[0])
        for line, count in enumerate(counts):
            bars.annotate(
                "masked" if count is None else f"{count:,}",
                (count or 0, line),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=MUTED if count is None else INK,
            )
        bars.set_xlabel("test rows")
        bars.margins(x=0.25)
        bars.tick_params(axis="y", length=0, labelleft=False)
        for axes, (task, scores) in zip(risks, tasks.items(), strict=True):
            draw_values(axes, {"risk": [risk_of(scores, label) for label in labels]})
            if (overall := risk_of(scores, "all")) is not None:
                axes.axvline(overall.value, color=LINE, linewidth=1, zorder=0)
            axes.set_xlim(left=0)
            axes.set_xlabel(words.wrapped(f"risk: {words.title(task)}", 22))
        return drawing.inline(figure, name, title)


def rows_of(tasks: Mapping[str, TaskScores], label: str) -> int | None:
    """The largest number of test rows of a pattern over the tasks; None if all mask it."""
    counts = [scores.patterns[label].count for scores in tasks.values() if label in scores.patterns]
    return max((count for count in counts if count is not None), default=None)


def risk_of(scores: TaskScores, label: str) -> Score | None:
    """The share of positives with Wilson's interval, in which the subjects count, where these are fewer than rows.

    Args:
        scores: of a task, public.
        label: of a pattern, or `all`.

    Returns:
        The share; None if it is masked.
    """
    cell = scores.cells.get(label)
    if cell is None or cell.count is None or cell.positives is None or not cell.count:
        return None
    units = min(cell.count, cell.subjects or cell.count)
    share = cell.positives / cell.count
    low, high = wilson_ends(share, units, Z)
    return Score(value=share, low=low, high=high, method="wilson", num_defined=0)
