"""Figures of curves: reliability with the distribution of the predictions, training, and net benefit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from mmnar_lightning.evaluation.results import Reliability
from mmnar_lightning.metrics.prediction_powered import Z
from mmnar_lightning.metrics.small_samples import wilson_ends
from mmnar_lightning.report.page import drawing
from mmnar_lightning.report.page.drawing import LINE, MARKERS, SERIES

DASHES = ("-", "--", ":", "-.")
"""Lines of the series, which differ without their colours as well."""
Curve = tuple[Sequence[float], Sequence[float]]
"""Places and values."""


def reliability(curves: Mapping[str, Reliability], name: str, title: str) -> Markup:
    """Draw the observed risk against the predicted one, with intervals, above the distribution of the predictions.

    Args:
        curves: before and, with a rectifier, after it -> bins, public.
        name: unique on the page.
        title: of the figure.

    Returns:
        The figure.
    """
    top = _top(curves.values())
    with drawing.drawn(drawing.WIDTH, 3.7) as figure:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, zorder=0)
        for place, (series, curve) in enumerate(curves.items()):
            _reliability(axes, place, series, curve, top / 200)
            edges, density = histogram(curve)
            below.stairs(density, edges, color=SERIES[place], linestyle=DASHES[place], linewidth=1.2)
        axes.set(xlim=(0, top), ylim=(0, top), ylabel="observed risk")
        below.set(xlabel="predicted risk", ylabel="density", yticks=[])
        if len(curves) > 1:
            axes.legend(loc="upper left")
        return drawing.inline(figure, name, title)


def _reliability(axes: Any, place: int, series: str, curve: Reliability, apart: float) -> None:
    shifted = np.array(curve.mean_probability) + apart * (2 * place - 1)
    ends = np.array([wilson_ends(rate, count, Z) for rate, count in zip(curve.observed_rate, curve.count, strict=True)])
    axes.vlines(shifted, ends[:, 0], ends[:, 1], color=SERIES[place], linewidth=1)
    axes.plot(
        shifted,
        curve.observed_rate,
        marker=MARKERS[place],
        markersize=3.5,
        linewidth=1,
        linestyle=DASHES[place],
        color=SERIES[place],
        label=series,
    )


def _top(curves: Any) -> float:
    """The end of both axes: the largest risk of a bin or of its interval, rounded up to a tenth."""
    largest = max(
        max(probability, wilson_ends(rate, count, Z)[1])
        for curve in curves
        for probability, rate, count in zip(curve.mean_probability, curve.observed_rate, curve.count, strict=True)
    )
    return min(1.0, float(np.ceil(largest * 10) / 10))


def histogram(curve: Reliability) -> tuple[list[float], list[float]]:
    """The distribution of the predictions, by public bins.

    An edge between two bins is the middle of their mean predictions; the first and last bin extend as far beyond their
    means as to these edges.

    Args:
        curve: bins, public.

    Returns:
        K + 1 edges and K densities, whose integral is 1; no bins for fewer than two distinct predictions.

    >>> histogram(Reliability(mean_probability=[0.1, 0.3, 0.7], observed_rate=[0.0, 0.5, 1.0], count=[10, 20, 10]))
    ([0.0, 0.2, 0.5, 0.9], [1.25, 1.6667, 0.625])
    """
    means = np.unique(curve.mean_probability)
    if len(means) < 2:
        return [0.0], []
    counts = np.array(
        [
            sum(count for mean, count in zip(curve.mean_probability, curve.count, strict=True) if mean == own)
            for own in means
        ]
    )
    middle = (means[1:] + means[:-1]) / 2
    first, last = 2 * means[0] - middle[0], 2 * means[-1] - middle[-1]
    edges = np.concatenate([[max(first, 0.0)], middle, [min(last, 1.0)]])
    density = counts / counts.sum() / np.diff(edges)
    return edges.round(4).tolist(), density.round(4).tolist()


def lines(
    curves: Mapping[str, Curve],
    axis: str,
    value: str,
    name: str,
    title: str,
    *,
    marked: float | None = None,
    bands: Mapping[str, Curve] | None = None,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """Draw series over a common axis.

    Args:
        curves: series -> places and values.
        axis: label of the places.
        value: label of the values.
        name: unique on the page.
        title: of the figure.
        marked: a place with a vertical line; None has none.
        bands: series -> lower and upper ends of its intervals, at its places.
        limits: of the values' axis; None takes those of the values.

    Returns:
        The figure.
    """
    from matplotlib.ticker import MaxNLocator

    with drawing.drawn(drawing.WIDTH, 2.3 + drawing.legend_height(list(curves))) as figure:
        axes = figure.subplots()
        for place, (series, (places, values)) in enumerate(curves.items()):
            axes.plot(
                places,
                values,
                color=SERIES[place % len(SERIES)],
                linestyle=DASHES[place % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)] if len(places) < 30 else None,
                markersize=3.5,
                linewidth=1.3,
                label=series,
            )
            if bands and series in bands:
                axes.fill_between(places, *bands[series], color=SERIES[place % len(SERIES)], alpha=0.18, linewidth=0)
        if limits is not None:
            axes.set_ylim(*limits)
        if marked is not None:
            axes.axvline(marked, color=LINE, linewidth=1.5, zorder=0)
        axes.grid(axis="y", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set(xlabel=axis, ylabel=value)
        if axis == "epoch":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(curves) > 1:
            drawing.legend(figure, axes)
        return drawing.inline(figure, name, title)
