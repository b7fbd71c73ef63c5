"""Draws scores with their intervals, one named line below the other."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.report.page import drawing, words
from mmnar_lightning.report.page.matrix import ROW, draw_values

CHARACTERS = 22
"""Of a line of a name."""


def ladder(scores: Mapping[str, Score | None], axis: str, name: str, title: str, *, at: float | None = None) -> Markup:
    """Draw one score for each name.

    Args:
        scores: name -> score, public; None is masked.
        axis: label of the scores' axis.
        name: unique on the page.
        title: of the figure.
        at: reference, a vertical line; None draws none.

    Returns:
        The figure.
    """
    labels = [words.wrapped(own, CHARACTERS) for own in scores]
    lines = sum(label.count("\n") + 1 for label in labels)
    with drawing.drawn(drawing.WIDTH, 0.55 + max(ROW * 1.3 * len(labels), 0.14 * lines)) as figure:
        axes = figure.subplots()
        if at is not None:
            axes.axvline(at, color=drawing.LINE, linewidth=1, zorder=0)
        draw_values(axes, {axis: list(scores.values())})
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", labelleft=True)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(axis)
        return drawing.inline(figure, name, title)
