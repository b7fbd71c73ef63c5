"""Figures of a sweep: the metric over trials and the importance of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmnar_lightning.report.style import GREY, new_figure, styled
from mmnar_lightning.sweeps.table import FINISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def draw_trials(values: Sequence[float | None], states: Sequence[str], metric: str, maximise: bool) -> Figure:
    """Plot the metric of each trial, in order, and the best of the finished trials so far."""
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    for state in dict.fromkeys(states):
        at = [
            n for n, (value, own) in enumerate(zip(values, states, strict=True)) if own == state and value is not None
        ]
        axes.scatter(at, [values[n] for n in at], label=state, marker="o" if state == FINISHED else "x")  # type: ignore[arg-type]
    at, so_far = best_so_far(values, states, maximise)
    axes.step(at, so_far, where="post", color=GREY, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(metric)
    axes.legend(loc="lower right")
    return figure


def best_so_far(values: Sequence[float | None], states: Sequence[str], maximise: bool) -> tuple[list[int], list[float]]:
    """Finished trials and the best value up to each.

    Args:
        values: metric of each trial, in order; None without a value.
        states: state of each trial.
        maximise: whether larger values are better.

    Returns:
        Positions of the finished trials, and the best value up to each.

    >>> best_so_far([0.5, 0.9, 0.4, 0.6], ["finished", "pruned", "finished", "finished"], maximise=True)
    ([0, 2, 3], [0.5, 0.5, 0.6])
    """
    at: list[int] = []
    found: list[float] = []
    for number, (value, state) in enumerate(zip(values, states, strict=True)):
        if state != FINISHED or value is None:
            continue
        better = max if maximise else min
        found.append(better(value, found[-1]) if found else value)
        at.append(number)
    return at, found


@styled
def draw_importance(importance: Mapping[str, float], metric: str) -> Figure:
    """Plot the share of the metric's variance that each parameter explains (functional ANOVA; Hutter et al., 2014)."""
    figure = new_figure(6.4, 1.2 + 0.35 * len(importance))
    axes = figure.subplots()
    names = sorted(importance, key=importance.__getitem__)
    axes.barh(names, [importance[name] for name in names])
    axes.set_xlabel(f"share of the variance of {metric}")
    return figure
