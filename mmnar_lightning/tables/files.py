"""Writes the files of a table: CSV, Markdown, LaTeX and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmnar_lightning.report import style
from mmnar_lightning.tables import figure, written
from mmnar_lightning.tables.declared import Family
from mmnar_lightning.tables.score import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSV, MARKDOWN, LATEX, FIGURE = written.CSV, "table.md", "table.tex", "table"


def write(
    lines: Sequence[Line],
    family: Family,
    folder: Path,
    *,
    modalities: Mapping[str, Sequence[str]],
    left_out: Mapping[str, Sequence[str]],
) -> Figure:
    """Write table.csv, table.md, table.tex, and the figure in every format.

    Args:
        lines: of a table.
        family: of its tests.
        folder: to write into.
        modalities: cohort -> names, in the order of a pattern's characters.
        left_out: cohort -> sentences about what it lacks.

    Returns:
        The figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        CSV: written.to_csv(lines),
        MARKDOWN: written.to_markdown(lines, family, left_out),
        LATEX: written.to_latex(lines, family),
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    drawn = figure.forest(lines, family.reference, modalities)
    style.save(drawn, folder / FIGURE, dpi=style.PAGE_DPI)
    return drawn
