"""Draws what each part earns, by world: dots with intervals over the predicted range."""

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmnar_lightning.report import style

PANELS = {
    "rows, linear world": ("base-2k", "base", "base-30k", "base-60k"),
    "nu: risk at both ends": ("base", "nu-0.4", "nu-0.8"),
    "kappa: two modalities together": ("base", "kappa-0.4", "kappa-0.7-2k", "kappa-0.7", "kappa-0.7-30k"),
    "pi: slopes by pattern": ("base", "pi-0.5", "pi-0.9", "pi-0.9-30k"),
    "phi: a rare phrase": ("phi-1.5", "phi-2.5"),
    "shared, under nuisance": ("shared-fewest", "shared-few", "shared-some", "shared-all", "unshared-few"),
    "shift: another site": ("shift-0", "shift-0.5", "shift-1"),
}
"""Title -> cells."""
COLOURED = (
    "conditioning", "reconstruction", "contrast", "rectifier", "additive", "piecewise", "lead",
    "columns", "pretraining", "canonical", "axes", "fusion",
)  # fmt: skip
"""Parts, in the order of the colours; those beyond them have another marker."""
MARKS = {
    part: (style.COLOURS[number % len(style.COLOURS)], "o" if number < len(style.COLOURS) else "s")
    for number, part in enumerate(COLOURED)
}
"""Part -> colour and marker."""
STEP = 0.09
"""Distance between the parts of a cell, whose own distance is 1."""
Row = dict[str, float]


@style.styled
def draw(found: pl.DataFrame) -> Figure:
    """Draw the parts of all cells.

    Args:
        found: as docs/phases.csv.

    Returns:
        One panel a knob; the grey bars are the predicted ranges.
    """
    parts = found.filter(pl.col("part").is_in(list(MARKS)))
    figure = style.new_figure(13, 7.5)
    places = figure.subplots(2, 4).ravel()
    for axes, (title, cells) in zip(places, PANELS.items(), strict=False):
        _panel(axes, title, cells, parts)
    places[-1].axis("off")
    handles = [places[-1].plot([], [], mark, color=colour, label=name)[0] for name, (colour, mark) in MARKS.items()]
    handles.append(places[-1].add_patch(Rectangle((0, 0), 0, 0, color="0.85", label="predicted")))
    places[-1].legend(handles=handles, loc="center", frameon=False)
    figure.suptitle("What a part adds to mean AUROC, 95 % intervals, simulated data", fontsize=11)
    return figure


def _panel(axes: Axes, title: str, cells: Sequence[str], parts: pl.DataFrame) -> None:
    known = [cell for cell in cells if cell in parts["cell"]]
    shown = parts.filter(pl.col("cell").is_in(known))
    axes.set_title(title, fontsize=9)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xticks(range(len(known)), known, fontsize=7, rotation=20)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlim(-0.6, max(len(known), 1) - 0.4)
    if not known:
        axes.text(0, 0, "not run", ha="center")
        axes.set_ylim(-1, 1)
        return
    ends = (
        [shown[name].min() for name in ("low", "predicted_low")],
        [shown[name].max() for name in ("high", "predicted_high")],
    )
    low, high = limits(
        [end for end in ends[0] if isinstance(end, float)], [end for end in ends[1] if isinstance(end, float)]
    )
    axes.set_ylim(low, high)
    for place, cell in enumerate(known):
        own = shown.filter(pl.col("cell") == cell)
        for number, row in enumerate(own.iter_rows(named=True)):
            _dot(axes, place + STEP * (number - (own.height - 1) / 2), row, *MARKS[str(row["part"])])


def limits(low: Sequence[float], high: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis that hold finite ends, with a tenth to spare and at least 0.004 either side of zero.

    >>> limits([-0.01, float("-inf")], [0.03])
    (-0.014, 0.034)
    """
    finite = [end for end in (*low, *high) if abs(end) < 1]
    bottom, top = min([-0.004, *finite]), max([0.004, *finite])
    spare = (top - bottom) / 10
    return round(bottom - spare, 6), round(top + spare, 6)


def _dot(axes: Axes, place: float, row: Row, colour: str, mark: str) -> None:
    if row["predicted_low"] is not None:
        bottom, top = axes.get_ylim()
        low, high = max(row["predicted_low"], bottom), min(row["predicted_high"], top)
        axes.add_patch(Rectangle((place - 0.4 * STEP, low), 0.8 * STEP, high - low, color="0.85", zorder=0))
    axes.plot([place, place], [row["low"], row["high"]], color=colour, linewidth=1.2)
    axes.plot(place, row["value"], mark, color=colour, markersize=3.5)
