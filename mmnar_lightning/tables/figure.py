"""Draws a table as a forest plot: AUROC by method, over all rows and for the most frequent missingness patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mmnar_lightning.evaluation.cell import Score
from mmnar_lightning.metrics.suppression import ALL
from mmnar_lightning.report import style
from mmnar_lightning.report.page.sections.cohort import described
from mmnar_lightning.tables.score import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PATTERNS = 4
"""Patterns beside all rows; the others are in table.csv."""
TITLE_WIDTH = 34
"""Characters of a line of a panel's title."""


@style.styled
def forest(lines: Sequence[Line], reference: str, modalities: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the AUROC with its interval: a row of panels for each cohort and task, a panel for each pattern.

    A task that is masked for all methods has no panels.

    Args:
        lines: of a table.
        reference: the method whose value is drawn through each panel.
        modalities: cohort -> names, in the order of a pattern's characters.

    Returns:
        The figure.
    """
    rows: dict[tuple[str, str], dict[str, list[Line]]] = {}
    for line in lines:
        if not line.reason:
            rows.setdefault((line.cohort, line.task), {}).setdefault(line.pattern, []).append(line)
    rows = {key: own for key, own in rows.items() if any(_auroc(line) is not None for line in own[ALL])}
    methods = {key: [line.method for line in own[ALL]] for key, own in rows.items()}
    names = {key: _shown(own) for key, own in rows.items()}
    width = max((len(shown) for shown in names.values()), default=1)
    height = 1.1 + 0.17 * max((len(own) for own in methods.values()), default=1)
    figure = style.new_figure(2.2 + 2.4 * width, max(1, len(rows)) * height)
    panels = figure.subplots(max(1, len(rows)), width, squeeze=False)
    for place, ((cohort, task), own) in zip(panels, rows.items(), strict=True) if rows else ():
        for axes, pattern in zip(place, names[cohort, task], strict=False):
            _panel(axes, own[pattern], methods[cohort, task], reference)
            axes.set_title(_title(pattern, own[pattern], modalities[cohort]), fontsize=8)
        for axes in place[len(names[cohort, task]) :]:
            axes.set_axis_off()
        named = fill(f"{cohort}, {style.words(task)}", TITLE_WIDTH)
        place[0].set_title(f"{named}\n{_title(ALL, own[ALL], [])}", fontsize=8)
        for axes in np.atleast_1d(place)[1:]:
            axes.set_yticklabels([])
    return figure


def _shown(own: Mapping[str, Sequence[Line]]) -> list[str]:
    """All rows, and the most frequent patterns in which a method has an AUROC."""
    scored = [name for name, lines in own.items() if any(_auroc(line) is not None for line in lines)]
    return [ALL, *[name for name in scored if name != ALL][:MAX_PATTERNS]]


def _auroc(line: Line) -> Score | None:
    """The AUROC of a line; None where it is masked or not defined."""
    score = line.scores.get("auroc")
    return None if score is None or score.value is None else score


def _panel(axes: Any, own: Sequence[Line], methods: Sequence[str], reference: str) -> None:
    by_method = {line.method: line for line in own}
    for position, name in enumerate(methods):
        score = _auroc(by_method[name]) if name in by_method else None
        if score is None:
            continue
        colour = style.OTHER if name == reference else style.MAIN
        if score.low is not None:
            axes.plot([score.low, score.high], [position, position], color=colour, linewidth=1)
        axes.plot(score.value, position, "o", color=colour, markersize=3)
        if name == reference:
            axes.axvline(score.value, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(methods)), methods, fontsize=6)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel("AUROC, 95 % interval", fontsize=6)


def _title(pattern: str, own: Sequence[Line], modalities: Sequence[str]) -> str:
    """The modalities of a pattern in words, and its rows."""
    name = style.short(pattern) if len(modalities) > style.MAX_DOTS else described(pattern, list(modalities))
    return fill(f"{name}{_count(own)}", TITLE_WIDTH)


def _count(own: Sequence[Line]) -> str:
    counts = [line.rows for line in own if line.rows is not None]
    return f" (n={max(counts)})" if counts else " (masked)"
