"""Draws figures as SVG within the page: in its font, and in colours that follow the reader's light or dark screen."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from mmnar_lightning.report.page.compact import compact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE, SURFACE = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#050501", "#050502", "#050503", "#050504", "#050505", "#050506")
"""Colours in which figures are drawn, for which the page's own are put."""
VARIABLES = {
    "#000000": "var(--ink)",
    "#e0e0e0": "var(--line)",  # what report/style.py draws in black, and in its light grey
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Of the series, which differ without their colours as well."""
STYLE: Any = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "mmnar",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "figure.facecolor": "none",
    "legend.frameon": False,
}
FONT = "system-ui, sans-serif"
SHORT = 22
"""Characters of a label that has half of the width."""
WIDTH = 3.6
"""Inches of a figure that stands beside others: 346 pixels."""
_ATTRIBUTES = re.compile(r'(?:\s+xmlns(?::\w+)?="[^"]*")')
_PREAMBLE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_IDS = re.compile(r'(\bid="|\bhref="#|url\(#)([^")]+)')


@contextmanager
def drawn(width: float, height: float) -> Iterator[Figure]:
    """Draw a figure in the page's style.

    Args:
        width: inches.
        height: inches.

    Yields:
        The empty figure.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Empty

    with mpl.rc_context(STYLE):
        yield Empty(figsize=(width, height), layout="constrained")


def legend(figure: Figure, axes: Any) -> None:
    """Put the legend of the axes below the figure, in two columns where its labels are short."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns(labels))


def columns(labels: Sequence[str]) -> int:
    """Columns of a legend; 0 for a single series, which needs none."""
    return 0 if len(labels) < 2 else 2 if max(map(len, labels)) <= SHORT else 1


def legend_height(labels: Sequence[str]) -> float:
    """Inches that the legend takes."""
    return 0.19 * -(-len(labels) // columns(labels)) if columns(labels) else 0.0


def inline(figure: Figure, name: str, title: str) -> Markup:
    """Write a figure as an SVG element.

    Args:
        figure: drawn by `drawn`, and within it.
        name: letters, digits and "-"; unique on the page, because ids within the figure begin with it.
        title: what a reader who cannot see the figure hears.

    Returns:
        The element, without any address.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = _METADATA.sub("", _PREAMBLE.sub("", file.getvalue(), count=1)).replace("xlink:href", "href")
    text = numbered(_ATTRIBUTES.sub("", text), name)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return labelled(Markup(compact(text.replace("'DejaVu Sans'", FONT))), name, title)


def numbered(text: str, name: str) -> str:
    """Number the ids in their order: some of matplotlib's are addresses in memory, others occur in every figure.

    Args:
        text: of an SVG.
        name: with which the ids begin.

    Returns:
        The same drawing.

    >>> numbered('<path id="m9f"/><use href="#m9f"/>', "a")
    '<path id="a-0"/><use href="#a-0"/>'
    """
    numbers: dict[str, int] = {}
    return _IDS.sub(lambda found: f"{found[1]}{name}-{numbers.setdefault(found[2], len(numbers))}", text)


def labelled(svg: Markup, name: str, title: str) -> Markup:
    """Give an SVG element a title, and the role of an image.

    Args:
        svg: the element.
        name: unique on the page.
        title: of it.

    Returns:
        The element with both.

    >>> labelled(Markup("<svg></svg>"), "a", "rows < 3")
    Markup('<svg role="img" aria-labelledby="a-title"><title id="a-title">rows &lt; 3</title></svg>')
    """
    start = svg.index(">") + 1
    head = Markup(str(svg[: start - 1]).replace("<svg", f'<svg role="img" aria-labelledby="{escape(name)}-title"', 1))
    return head + Markup('><title id="{}-title">{}</title>').format(name, title) + svg[start:]
