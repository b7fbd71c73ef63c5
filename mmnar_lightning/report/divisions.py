"""Draws what divides the rows otherwise than by pattern: decision curves and subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmnar_lightning.evaluation.breakdown import DecisionCurve, NetBenefit, SubgroupScores
from mmnar_lightning.evaluation.results import Cell, Score
from mmnar_lightning.report.style import (
    GREY,
    MAIN,
    OTHER,
    draw_interval,
    in_order,
    level_words,
    new_figure,
    styled,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Thresholds that are written below a decision curve."""
MAX_LEVELS = 10
"""Largest levels of an attribute that are drawn; the others are in results.json."""


@styled
def decision_plot(curve: DecisionCurve, task: str, title: str | None = None) -> Figure:
    """Draw the net benefit of the prediction against the threshold, with its interval, beside treating all or none.

    Args:
        curve: public: thresholds without small counts alone.
        task: its name.
        title: of the figure.

    Returns:
        The figure.
    """
    figure = new_figure(4.2, 3.0)
    axes = figure.subplots()
    points = [point for point in curve.points if point.model.value is not None]
    at = [_logit(point.threshold) for point in points]
    by_model, all_treated = (_values([getattr(point, name) for point in points]) for name in ("model", "treat_all"))
    axes.axhline(0, color=GREY, linewidth=1, label="treat none")
    axes.plot(at, all_treated[:, 0], "--", color=OTHER, label="treat all")
    axes.plot(at, by_model[:, 0], "o-", color=MAIN, markersize=3, label="by the prediction")
    axes.fill_between(
        at, by_model[:, 1], by_model[:, 2], color=MAIN, alpha=0.2, linewidth=0, label="95 % interval of it"
    )
    axes.set_xticks([_logit(tick) for tick in TICKS], [f"{100 * tick:g}" for tick in TICKS])
    axes.set_xlim(_logit(TICKS[0]), _logit(TICKS[-1]))
    axes.set_ylim(*_limits(points))
    axes.set(xlabel="threshold of the risk, %", ylabel="net benefit")
    named = f"{titled(task)}, n={curve.count}"
    axes.set_title(": ".join(part for part in (title, named) if part))
    if not points:
        axes.text(0.5, 0.5, "every threshold is masked", transform=axes.transAxes, ha="center")
    axes.legend(loc="upper right")
    return figure


def _values(scores: Sequence[Score]) -> NDArray[np.float64]:
    """(n, 3) value, low and high of each; NaN where there is none."""
    ends = [[math.nan if end is None else end for end in (one.value, one.low, one.high)] for one in scores]
    return np.array(ends).reshape(-1, 3)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _limits(points: list[NetBenefit]) -> tuple[float, float]:
    """From a little below 0, where treating all falls far, to above the greatest benefit."""
    ends = [end for point in points for end in (point.model.high, point.model.value, point.treat_all.value)]
    top = max([0.02, *(end for end in ends if end is not None)])
    lows = [point.model.low for point in points if point.model.low is not None]
    return max(min([0.0, *lows]), -top / 2) - 0.1 * top, 1.1 * top


@styled
def subgroup_plot(whole: Cell, found: Mapping[str, SubgroupScores], task: str, title: str | None = None) -> Figure:
    """Draw the AUROC of every level of every attribute, with its interval, and the largest gap of each.

    Args:
        whole: scores over all rows.
        found: attribute -> scores, public.
        task: its name.
        title: of the figure.

    Returns:
        The figure.
    """
    lines: list[tuple[str, Cell | None]] = [("all rows", whole)]
    for name, scores in found.items():
        lines.append((_heading(name, scores), None))
        lines += [
            (level_words(name, level), scores.levels[level])
            for level in in_order(name, list(scores.levels)[:MAX_LEVELS])
        ]
        if scores.pooled is not None:
            lines.append((f"{scores.pooled.groups} smaller, pooled", scores.pooled))
    figure = new_figure(5.6, 1.0 + 0.17 * len(lines))
    axes = figure.subplots()
    for place, (label, cell) in enumerate(lines):
        _line(axes, place, label, cell)
    overall = None if whole.auroc is None else whole.auroc.value
    if overall is not None:
        axes.axvline(overall, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks([])
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.4, -0.6), xlabel="AUROC, 95 % interval")
    axes.spines["left"].set_visible(False)
    axes.set_title(": ".join(part for part in (title, titled(task)) if part))
    axes.grid(axis="x", color="0.93", linewidth=0.8)
    return figure


def _heading(name: str, scores: SubgroupScores) -> str:
    gap = scores.gaps.get("auroc")
    if gap is None or gap.difference.value is None:
        return titled(name)
    ends = "" if gap.difference.low is None else f" ({gap.difference.low:.2f} to {gap.difference.high:.2f})"
    pair = f"{level_words(name, gap.higher)} and {level_words(name, gap.lower)}"
    return f"{titled(name)}: largest gap {gap.difference.value:.2f}{ends}, {pair}"


def _line(axes: Axes, place: int, label: str, cell: Cell | None) -> None:
    across = axes.get_yaxis_transform()
    if cell is None:
        axes.text(-0.32, place, label, transform=across, va="center", weight="bold", fontsize=7)
        return
    axes.text(-0.3, place, label, transform=across, va="center", fontsize=7)
    axes.text(-0.01, place, f"n={cell.count}", transform=across, va="center", ha="right", fontsize=7, color=GREY)
    if cell.auroc is not None:
        draw_interval(axes, place, (cell.auroc.value, cell.auroc.low, cell.auroc.high))
