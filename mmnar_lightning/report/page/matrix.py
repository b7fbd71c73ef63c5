"""Figures with one line per pattern: its modalities as dots, as in an UpSet plot, and values beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mmnar_lightning.evaluation.results import Score, TaskScores
from mmnar_lightning.metrics.prediction_powered import Z
from mmnar_lightning.metrics.small_samples import wilson_ends
from mmnar_lightning.report import style
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.page import drawing, words
from mmnar_lightning.report.page.drawing import INK, LINE, MARKERS, MUTED, SERIES, SURFACE

MAX_TASKS = 6
"""Tasks whose risks are drawn beside each other; the others are in the table."""
ROW = 0.21
"""Inches of a line."""
SPREAD = 0.8
"""Of the height of a line, what its series take at most."""
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
    with drawing.drawn(
        drawing.WIDTH, _height(len(labels) + 1, modalities) + drawing.legend_height(list(values))
    ) as figure:
        dots, axes = figure.subplots(1, 2, sharey=True, width_ratios=[style.matrix_size(modalities), 2.2])
        _draw_dots(dots, [None, *labels], modalities)
        if at is not None:
            axes.axvline(at, color=LINE, linewidth=1, zorder=0)
        draw_values(axes, values)
        axes.set_xlabel(axis)
        if len(values) > 1:
            drawing.legend(figure, axes)
        return drawing.inline(figure, name, title)


def _height(rows: int, modalities: Sequence[str]) -> float:
    return 0.55 + ROW * rows + _head(modalities)


def _head(modalities: Sequence[str]) -> float:
    """Inches that the names above the dots take."""
    if len(modalities) > style.MAX_DOTS:
        return 0.0
    return 0.058 * max(len(style.words(name)) for name in modalities)


def _draw_dots(axes: Any, labels: Sequence[str | None], modalities: Sequence[str]) -> None:
    """Draw the dots of the patterns; None is the line of all rows."""
    style.draw_patterns(axes, labels, modalities)
    if labels[0] is None:
        axes.text(1, 0, "all", transform=axes.get_yaxis_transform(), ha="right", va="center", fontweight="bold")


def draw_values(axes: Any, values: Values) -> None:
    """Draw points and intervals, the series of a line beside each other; a line without any says that it is masked."""
    step = min(0.28, SPREAD / len(values))
    offsets = [(place - (len(values) - 1) / 2) * step for place in range(len(values))]
    for place, (series, scores) in enumerate(values.items()):
        look = {"color": SERIES[place], "marker": MARKERS[place], "markersize": 4.5, "linestyle": "none"}
        axes.plot([], [], label=series, **look)
        for line, score in enumerate(scores):
            if score is None or score.value is None:
                continue
            axes.plot(score.value, line + offsets[place], **look)
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
    """Draw the patterns with their number of test rows, and the observed risk of the first tasks with its interval.

    Args:
        tasks: scores by task, public.
        modalities: names.
        name: unique on the page.
        title: of the figure.

    Returns:
        The figure, wide.
    """
    labels, drawn = shown_patterns(next(iter(tasks.values()))), dict(list(tasks.items())[:MAX_TASKS])
    with drawing.drawn(2.6 + 1.5 * len(drawn), _height(len(labels), modalities)) as figure:
        widths = [style.matrix_size(modalities), 1.3, *([1.3] * len(drawn))]
        dots, bars, *risks = figure.subplots(1, 2 + len(drawn), sharey=True, width_ratios=widths)
        _draw_dots(dots, labels, modalities)
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
        bars.set_xlim(0, None if any(counts) else 1)
        bars.tick_params(axis="y", length=0, labelleft=False)
        for axes, (task, scores) in zip(risks, drawn.items(), strict=True):
            draw_values(axes, {"risk": [risk_of(scores, label) for label in labels]})
            if (overall := risk_of(scores, "all")) is not None:
                axes.axvline(overall.value, color=LINE, linewidth=1, zorder=0)
            axes.set_xlim(left=0)
            axes.set_xlabel(words.wrapped(f"risk: {style.words(task)}", 22))
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
