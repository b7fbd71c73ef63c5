"""The section on groups of rows: subgroups by attribute, or hospitals and year groups alone."""

from collections.abc import Mapping

from mmnar_lightning.evaluation.breakdown import POOLED, Subgroups
from mmnar_lightning.evaluation.results import Groups
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Heading, Listing, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.drawing import SERIES
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.ladder import ladder
from mmnar_lightning.report.page.sections.scores import line

MAX_ROWS = 12
"""Rows of a table that is shown without a request."""
SMALLER = "smaller ones"
"""Stands for the levels that are pooled."""


def groups(run: PageRun) -> Section:
    """The scores by subgroup and their largest gaps, and the scores within hospitals or year groups.

    Args:
        run: of the page.

    Returns:
        The section; its blocks are empty if the cohort has no groups.
    """
    blocks: list[Block] = []
    if run.results.subgroups:
        blocks += _subgroups(run.results.subgroups)
    if run.results.groups is not None:
        blocks += _within(run.results.groups) if run.results.subgroups else _groups(run.results.groups)
    return Section("subgroups", "By group", blocks)


def _subgroups(found: Mapping[str, Subgroups]) -> list[Block]:
    pictures = []
    for number, (attribute, own) in enumerate(found.items()):
        found_in = dict.fromkeys(level for scores in own.tasks.values() for level in scores.cells)
        levels = style.in_order(attribute, found_in)
        if not levels:
            continue
        values = {
            style.words(task): [scores.cells[level].auroc if level in scores.cells else None for level in levels]
            for task, scores in list(own.tasks.items())[: len(SERIES)]
        }
        title = f"AUROC by {style.words(attribute)}, with 95 % intervals"
        labels = [level_name(level) for level in levels]
        pictures.append(Picture(title, ladder(labels, values, "AUROC", f"subgroups-{number}", title, at=0.5)))
    text = (
        "The final prediction. A level with few rows is pooled with other such levels; a level that is masked is shown "
        "in no task, or in some only."
    )
    tables = [_table(attribute, own) for attribute, own in found.items()]
    return [Text(text), Pictures(pictures), *_gaps(found), *tables]


def level_name(name: str) -> str:
    """The name of a level, or what is pooled in words."""
    return SMALLER if name == POOLED else name


def _table(attribute: str, found: Subgroups) -> Table:
    rows = [
        [level_name(level), style.words(task), *line(scores.cells[level])]
        for task, scores in found.tasks.items()
        for level in style.in_order(attribute, scores.cells)
        if scores.cells[level].count is not None
    ]
    header = [style.words(attribute), "task", "rows (positive)", *(style.words(name) for name in METRICS)]
    caption = f"By {style.words(attribute)}: every metric with its 95 % interval"
    return Table(caption, header, rows, folded=True)


def _gaps(found: Mapping[str, Subgroups]) -> list[Block]:
    rows = [
        [
            style.words(attribute),
            style.words(task),
            style.words(metric),
            level_name(gap.higher),
            level_name(gap.lower),
            words.score(gap.difference, "+.3f"),
        ]
        for attribute, own in found.items()
        for task, scores in own.tasks.items()
        for metric, gap in scores.gaps.items()
    ]
    if not rows:
        return []
    gaps = [gap for own in found.values() for scores in own.tasks.values() for gap in scores.gaps.values()]
    sure = sum(gap.difference.low is not None and gap.difference.low > 0 for gap in gaps)
    header = ["attribute", "task", "metric", "highest", "lowest", "difference"]
    text = (
        f"{sure} of {len(gaps)} intervals lie above 0. An interval allows for the choice of the pair, but not "
        "for the number of attributes, tasks and metrics. One that holds 0 is no evidence of a difference, and none of "
        "equality either: small levels have wide intervals."
    )
    return [
        Heading("Largest gaps"),
        Text(text),
        Table("Largest gaps, with 95 % intervals", header, rows, folded=len(rows) > MAX_ROWS),
    ]


def _within(found: Groups) -> list[Block]:
    sentences = [
        f"{style.words(task)}: over pairs of rows of the same {found.by}, the AUROC is "
        f"{words.score(own.within.auroc, '.2f')}."
        for task, own in found.tasks.items()
    ]
    return [Heading(f"Within {found.by}s"), Listing(sentences)]


def _groups(found: Groups) -> list[Block]:
    """Tables of results that have no subgroups."""
    blocks: list[Block] = [
        Text(
            f"Before the rectifier. Every {found.by} with at least {found.min_rows} rows has a line, the others are "
            "pooled. The last line compares only rows of the same group with each other."
        )
    ]
    for task, own in found.tasks.items():
        cells = {f"{found.by} {name}" if found.by == "hospital" else name: cell for name, cell in own.groups.items()}
        if own.pooled is not None:
            cells[f"{own.pooled.groups} {SMALLER}"] = own.pooled
        header = [found.by, "rows (positive)", *(style.words(name) for name in METRICS)]
        rows = [[name, *line(cell)] for name, cell in cells.items() if cell.count is not None]
        within = ["within groups", "", words.score(own.within.auroc, ".2f"), *[""] * (len(METRICS) - 1)]
        blocks.append(Table(f"{style.words(task)} by {found.by}, with 95 % intervals", header, [*rows, within]))
    return blocks
