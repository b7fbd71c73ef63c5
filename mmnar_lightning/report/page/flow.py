"""The flow diagram of a cohort: what each rule leaves, and what it removes."""

import textwrap
from collections.abc import Sequence

from markupsafe import Markup

from mmnar_lightning.report.page.drawing import labelled

WIDTH, SIDE, GAP = 380, 170, 64
"""Pixels: of the diagram, of the box with what a rule removes, and between two boxes."""
LINE, PADDING = 17, 10
"""Pixels: from line to line of text, and around it."""
CHARACTERS = 48
"""Of a line in a box, in the widest of the usual fonts."""
Step = tuple[str, int | None, int | None]
"""Rule, and the rows and subjects that it leaves; None if masked."""


def diagram(steps: Sequence[Step], name: str, title: str) -> Markup:
    """Draw the flow of rows through the rules.

    Rules that remove nothing are listed in the box of the rule before them.

    Args:
        steps: from the candidates to the cohort.
        name: unique on the page.
        title: of the figure.

    Returns:
        The SVG element.
    """
    parts, top, before = [], 1, None
    for place, step in enumerate(merged(steps)):
        texts = [*(line for rule in step[0] for line in textwrap.wrap(rule, CHARACTERS)), counted(*step[1:])]
        if place:
            parts += [_arrow(top, top + GAP), _box(WIDTH - SIDE, top + 14, SIDE, [_removed(before, step)], "aside")]
            top += GAP
        parts.append(_box(1, top, WIDTH, texts, "box"))
        top += 2 * PADDING + LINE * len(texts)
        before = step
    svg = Markup('<svg class="flow" viewBox="0 0 {} {}">').format(WIDTH, top + 1)
    return labelled(svg + Markup("").join(parts) + Markup("</svg>"), name, title)


Merged = tuple[list[str], int | None, int | None]


def merged(steps: Sequence[Step]) -> list[Merged]:
    """Join rules that remove nothing with the rule before them.

    Args:
        steps: from the candidates to the cohort.

    Returns:
        Rules, rows and subjects.

    >>> merged([("stays", 9, 8), ("adults", 9, 8), ("alive", None, None), ("first", 5, 5)])
    [(['stays', 'adults'], 9, 8), (['alive'], None, None), (['first'], 5, 5)]
    """
    found: list[Merged] = []
    for rule, rows, subjects in steps:
        if found and rows is not None and found[-1][1:] == (rows, subjects):
            found[-1][0].append(rule)
        else:
            found.append(([rule], rows, subjects))
    return found


def counted(rows: int | None, subjects: int | None) -> str:
    """The counts of a box."""
    return "masked" if rows is None or subjects is None else f"{rows:,} rows of {subjects:,} subjects"


def _removed(before: Merged | None, step: Merged) -> str:
    assert before is not None, "the first box removes nothing"
    if before[1] is None or step[1] is None:
        return "removed: masked"
    return f"removed: {before[1] - step[1]:,} rows"


def _box(left: int, top: int, width: int, lines: Sequence[str], kind: str) -> Markup:
    height = 2 * PADDING + LINE * len(lines)
    rectangle = Markup('<rect class="flow-{}" x="{}" y="{}" width="{}" height="{}" rx="6"/>').format(
        kind, left, top, width - 2, height
    )
    texts = [
        Markup('<text class="flow-text{}" x="{}" y="{}">{}</text>').format(
            " flow-count" if kind == "box" and line is lines[-1] else "",
            left + PADDING,
            top + PADDING + LINE * place + 13,
            line,
        )
        for place, line in enumerate(lines)
    ]
    return rectangle + Markup("").join(texts)


def _arrow(start: int, end: int) -> Markup:
    across, middle = WIDTH // 4, start + 14 + PADDING + LINE // 2
    path = f"M{across} {start}V{end}M{across - 5} {end - 6}L{across} {end}L{across + 5} {end - 6}"
    return Markup('<path class="flow-line" d="{}M{} {}H{}"/>').format(path, across, middle, WIDTH - SIDE)
