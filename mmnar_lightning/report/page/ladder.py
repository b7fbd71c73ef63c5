"""Draws scores with their intervals, one named line below the other."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mmnar_lightning.report.page import drawing, words
from mmnar_lightning.report.page.matrix import ROW, Values, draw_values

CHARACTERS = 22
"""Of a line of a name."""


def ladder(
    labels: Sequence[str], values: Values, axis: str, name: str, title: str, *, at: float | None = None
) -> Markup:
    """Draw one or several series of scores.

    Args:
        labels: of the lines.
        values: series -> a score for each line, public; None is masked.
        axis: label of the scores' axis.
        name: unique on the page.
        title: of the figure.
        at: reference, a vertical line; None draws none.

    Returns:
        The figure.
    """
    wrapped = [words.wrapped(label, CHARACTERS) for label in labels]
    lines = sum(label.count("\n") + 1 for label in wrapped)
    row = max(1.3 * ROW, 0.11 * (len(values) + 1))
    with drawing.drawn(
        drawing.WIDTH, 0.55 + drawing.legend_height(list(values)) + max(row * len(wrapped), 0.14 * lines)
    ) as figure:
        axes = figure.subplots()
        if at is not None:
            axes.axvline(at, color=drawing.LINE, linewidth=1, zorder=0)
        draw_values(axes, values)
        axes.set_yticks(range(len(wrapped)), wrapped)
        axes.tick_params(axis="y", labelleft=True)
        axes.set_ylim(len(wrapped) - 0.4, -0.6)
        axes.set_xlabel(axis)
        if len(values) > 1:
            drawing.legend(figure, axes)
        return drawing.inline(figure, name, title)
