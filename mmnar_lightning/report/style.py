"""The style of every figure: fonts, colours, names in words, patterns as dots, and the formats that are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mmnar_lightning.report.page.drawing import numbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that differ with every common colour vision (Okabe and Ito, Color Universal Design, 2008)."""
MAIN, OTHER = COLOURS[:2]
GREY, LIGHT = "0.45", "0.88"
DPI = 300
ON_PAGE, PAGE_DPI = ("png",), 150
"""Formats and resolution of the figures of docs/, which the repository holds."""
FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}
"""Format -> metadata that is left out, so that the same figure has the same bytes."""
SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelsize": 8,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.titlesize": 9,
    "font.family": "sans-serif",
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "mmnar",
    "xtick.color": GREY,
    "xtick.labelcolor": "black",
    "xtick.labelsize": 7,
    "ytick.color": GREY,
    "ytick.labelcolor": "black",
    "ytick.labelsize": 7,
}
DOT, MAX_DOTS = 0.17, 16
"""Inches between the dots of a pattern, and the number of modalities that are drawn as dots."""
MAX_LABEL = 24
"""Maximum number of characters of a pattern's label."""
ORDERED = ("age_band", "year_group")
"""Attributes whose levels have an order of their own."""
UPPER = {"icu": "ICU", "auroc": "AUROC", "drg": "DRG", "cxr": "CXR", "ecg": "ECG"}
"""Words that are written in capitals."""
METRICS = {
    "auroc": "AUROC",
    "brier": "Brier score",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "observed_expected": "observed / expected",
}
"""Metric -> name in a figure, where it is not its own words."""

P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw with the settings of the style."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        from matplotlib import rc_context, rcsetup

        settings: Any = {**SETTINGS, "axes.prop_cycle": rcsetup.cycler(color=COLOURS)}
        with rc_context(settings):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure, with width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@styled
def save(figure: Figure, path: Path, formats: Sequence[str] = tuple(FORMATS), dpi: int = DPI) -> None:
    """Write a figure, reproducibly: the same figure has the same bytes.

    Args:
        figure: to write.
        path: whose suffix is replaced by that of each format.
        formats: keys of `FORMATS`.
        dpi: of what is no vector.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    # It was laid out. With an engine, even with the one named "none", every format would draw it once more before.
    figure.set_layout_engine(None)
    for name in formats:
        written = path.with_suffix(f".{name}")
        figure.savefig(written, dpi=dpi, metadata=FORMATS[name])
        if name == "svg":
            written.write_text(numbered(written.read_text(encoding="utf-8"), "id"), encoding="utf-8")


def words(name: str) -> str:
    """Return the name of a task, metric or attribute in words.

    >>> [words(name) for name in ("mortality_180d", "icu_readmission", "in_hospital_mortality", "brier")]
    ['mortality, 180 days', 'ICU readmission', 'in-hospital mortality', 'Brier score']
    """
    if name in METRICS:
        return METRICS[name]
    spaced = re.sub(r"_(\d+)d$", r", \1 days", name).replace("in_hospital", "in-hospital").replace("_", " ")
    return " ".join(
        UPPER.get(word.rstrip(","), word.rstrip(",")) + "," * word.endswith(",") for word in spaced.split(" ")
    )


def titled(name: str) -> str:
    """Return the name in words, as a title.

    >>> titled("mortality_180d")
    'Mortality, 180 days'
    """
    text = words(name)
    return text[:1].upper() + text[1:]


def level_words(attribute: str, level: str) -> str:
    """Return the name of a level of an attribute in words: hospitals are numbered.

    >>> level_words("hospital", "3"), level_words("age_band", "18 to 44")
    ('hospital 3', '18 to 44')
    """
    return f"{words(attribute)} {level}" if attribute == "hospital" else words(level)


def in_order(attribute: str, levels: Iterable[str]) -> list[str]:
    """Return levels as they are, but ages and years in their own order, what is no age or year last.

    >>> in_order("age_band", ["65 to 74", "unknown", "18 to 44", "under 18"]), in_order("race", ["white", "asian"])
    (['under 18', '18 to 44', '65 to 74', 'unknown'], ['white', 'asian'])
    """
    if attribute not in ORDERED:
        return list(levels)
    return sorted(levels, key=lambda level: (not level.startswith("under"), not level[:1].isdigit(), level))


def draw_patterns(axes: Axes, patterns: Sequence[str | None], modalities: Sequence[str], *, down: bool = True) -> None:
    """Draw patterns as a matrix of dots, dark where a modality is present.

    What is no pattern (`others`), and all of them with more than `MAX_DOTS` modalities, are written instead.

    Args:
        axes: to draw into; its own ticks are replaced.
        patterns: labels such as "101", in order; None leaves its place empty.
        modalities: names, in the order of the characters.
        down: whether patterns are rows, from the top, or columns.
    """
    modalities = modalities if len(modalities) <= MAX_DOTS else []
    dotted = [pattern if modalities and set(pattern or "") <= {"0", "1"} else None for pattern in patterns]
    for place, (pattern, own) in enumerate(zip(patterns, dotted, strict=True)):
        if pattern is not None and own is None:
            _write(axes, place, short(pattern), down=down)
    dots = [(place, number, mark) for place, pattern in enumerate(dotted) for number, mark in enumerate(pattern or "")]
    for character, colour in (("0", LIGHT), ("1", "black")):
        at = [(number, place) if down else (place, number) for place, number, mark in dots if mark == character]
        axes.plot([x for x, _ in at], [y for _, y in at], "o", markersize=5, color=colour, zorder=2)
    for place, pattern in enumerate(dotted):
        if pattern and "1" in pattern:
            ends = pattern.index("1"), pattern.rindex("1")
            lines = axes.hlines if down else axes.vlines
            lines(place, *ends, color="black", linewidth=1.2, zorder=1)
    names = [words(name) for name in modalities]
    if down:
        axes.set_xticks(range(len(names)), names, rotation=60, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(len(patterns) - 0.4, -0.6))
        axes.set_yticks([])
    else:
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(-0.5, len(patterns) - 0.5))
        axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _write(axes: Axes, place: int, text: str, *, down: bool) -> None:
    """Write the line of a matrix of patterns."""
    if down:
        axes.text(1, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7)
        return
    across = axes.get_xaxis_transform()
    axes.text(place, 1, text, transform=across, ha="center", va="top", rotation=90, fontsize=6)


def matrix_size(modalities: Sequence[str]) -> float:
    """Return the length of a line of `draw_patterns` in inches.

    >>> matrix_size(["labs"] * 5) < matrix_size(["labs"] * 500)
    True
    """
    return DOT * max(3, len(modalities)) if len(modalities) <= MAX_DOTS else 1.4


def short(name: str) -> str:
    """Return the label of a pattern, shortened where many modalities would leave no room for the axes.

    >>> short("101"), short("10" * 40)
    ('101', '1010101010101010… 40 of 80')
    """
    return name if len(name) <= MAX_LABEL else f"{name[:16]}… {name.count('1')} of {len(name)}"


def draw_interval(
    axes: Axes, place: float, score: tuple[float | None, float | None, float | None], colour: str = MAIN
) -> None:
    """Draw a value with its interval, value, low and high; what is None is left out."""
    value, low, high = score
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, solid_capstyle="butt")
    axes.plot(value, place, "o", color=colour)
