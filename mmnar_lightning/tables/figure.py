"""Draws a table as a forest plot: AUROC by method, over all rows and for the most frequent missingness patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmnar_lightning.metrics.suppression import ALL
from mmnar_lightning.report.figures import new_figure
from mmnar_lightning.tables.score import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PATTERNS = 4
"""Patterns beside all rows; the others are in table.csv."""
SALT = "mmnar"
"""A constant, so that an SVG has the same bytes each time."""
WITHOUT_DATE: Mapping[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}
"""Format -> metadata that would differ from one day or machine to another."""


def forest(lines: Sequence[Line], reference: str) -> Figure:
    """Draw the AUROC with its interval: a row of panels for each cohort and task, a panel for each pattern.

    Args:
        lines: of a table.
        reference: the method whose value is drawn through each panel.

    Returns:
        The figure.
    """
    rows: dict[tuple[str, str], dict[str, list[Line]]] = {}
    for line in lines:
        if not line.reason:
            rows.setdefault((line.cohort, line.task), {}).setdefault(line.pattern, []).append(line)
    methods = list(dict.fromkeys(line.method for line in lines if not line.reason))
    width = 1 + max((min(len(own) - 1, MAX_PATTERNS) for own in rows.values()), default=0)
    figure = new_figure(2.2 + 2.4 * width, max(1, len(rows)) * (1.1 + 0.17 * len(methods)))
    panels = figure.subplots(max(1, len(rows)), width, squeeze=False)
    for place, ((cohort, task), own) in zip(panels, rows.items(), strict=True) if rows else ():
        shown = [ALL, *[name for name in own if name != ALL][:MAX_PATTERNS]]
        for axes, pattern in zip(place, shown, strict=False):
            _panel(axes, own[pattern], methods, reference)
        for axes in place[len(shown) :]:
            axes.set_axis_off()
        place[0].set_title(f"{cohort}, {task}\nall rows{_count(own[ALL])}", fontsize=8)
        for axes in np.atleast_1d(place)[1:]:
            axes.set_yticklabels([])
    return figure


def _panel(axes: Any, own: Sequence[Line], methods: Sequence[str], reference: str) -> None:
    by_method = {line.method: line for line in own}
    for position, name in enumerate(methods):
        score = by_method[name].scores.get("auroc") if name in by_method else None
        if score is None or score.value is None:
            continue
        colour = "tab:red" if name == reference else "tab:blue"
        if score.low is not None:
            axes.plot([score.low, score.high], [position, position], color=colour, linewidth=1)
        axes.plot(score.value, position, "o", color=colour, markersize=3)
        if name == reference:
            axes.axvline(score.value, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(methods)), methods, fontsize=6)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel("AUROC, 95 % interval", fontsize=6)
    axes.set_title(f"{own[0].pattern}{_count(own)}", fontsize=8)


def _count(own: Sequence[Line]) -> str:
    counts = [line.rows for line in own if line.rows is not None]
    return f" (n={max(counts)})" if counts else " (masked)"


def save(figure: Figure, path: Path, *kinds: str) -> None:
    """Write a figure with the same bytes each time.

    Args:
        figure: the figure.
        path: without suffix.
        *kinds: formats, of `WITHOUT_DATE`.
    """
    from matplotlib import rc_context

    path.parent.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        with rc_context({"svg.hashsalt": SALT}):
            figure.savefig(path.with_suffix(f".{kind}"), dpi=100, metadata=WITHOUT_DATE[kind])
