"""Sections on tasks that are numbers: their scores by pattern, and the offsets of the rectifier."""

from collections.abc import Mapping

from mmnar_lightning.evaluation.results import Results, ValueCell, ValueScores, ValueSubgroups
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Heading, Listing, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.drawing import SERIES
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.ladder import ladder
from mmnar_lightning.report.page.sections.cohort import described
from mmnar_lightning.report.page.sections.groups import MAX_ROWS, level_name
from mmnar_lightning.report.page.sections.scores import forests

DRAWN: dict[str, float | None] = {"mae": None, "mean_error": 0.0}
"""Metrics that have a forest plot -> the place of their reference line."""
READINGS = (
    "Errors are in the units of the task. The mean error is prediction minus value: 0 is perfect, below it predictions "
    "are too low. R² is the share of the variance that is explained: 1 is perfect, 0 is the mean of all rows."
)


def numbers(run: PageRun) -> Section:
    """Every metric of every task and pattern, before and after the rectifier.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    blocks: list[Block] = [Text(f"Points are test rows, lines their 95 % intervals. {READINGS}")]
    for number, task in enumerate(found.values or {}):
        blocks += _of_task(found, task, f"numbers-{number}")
    return Section("performance", "How well it predicts, by task and pattern", blocks)


def _of_task(found: Results, task: str, name: str) -> list[Block]:
    fields = {"before the rectifier": found.values, "after the rectifier": found.rectified_values}
    named = {series: scores[task] for series, scores in fields.items() if scores is not None}
    labels = list(next(iter(named.values())).patterns)[:MAX_PATTERNS]
    last = list(named)[-1]
    tables = [
        _table(f"{task}, {series}: every metric with its 95 % interval", scores, found, series != last)
        for series, scores in named.items()
    ]
    return [Heading(style.titled(task)), Pictures(forests(task, named, labels, found.modalities, DRAWN, name)), *tables]


def _table(caption: str, scores: ValueScores, found: Results, is_folded: bool) -> Table:
    header = ["pattern", "rows", *(style.words(name) for name in VALUE_METRICS)]
    rows = [
        [described(label, found.modalities), *_cells(cell)]
        for label, cell in scores.cells.items()
        if cell.count is not None
    ]
    hidden = len(scores.cells) - len(rows)
    if hidden:
        rows.append([f"{hidden} masked", *[""] * (len(header) - 1)])
    return Table(caption, header, rows, folded=is_folded)


def value_groups(run: PageRun) -> Section:
    """The scores by subgroup, and their largest gaps.

    Args:
        run: of the page.

    Returns:
        The section; its blocks are empty without subgroups.
    """
    found = run.results.value_subgroups
    if not found:
        return Section("subgroups", "By group", [])
    blocks: list[Block] = [Text(f"The final prediction. {READINGS}"), Pictures(_ladders(found))]
    gaps = [
        [
            style.words(attribute),
            style.words(task),
            style.words(metric),
            gap.higher,
            gap.lower,
            words.score(gap.difference, "+.2f"),
        ]
        for attribute, own in found.items()
        for task, scores in own.tasks.items()
        for metric, gap in scores.gaps.items()
    ]
    if gaps:
        header = ["attribute", "task", "metric", "highest", "lowest", "difference"]
        caption = "Largest gaps, with 95 % intervals that allow for the choice of the pair"
        blocks.append(Table(caption, header, gaps, folded=len(gaps) > MAX_ROWS))
    blocks += [_levels(attribute, own) for attribute, own in found.items()]
    return Section("subgroups", "By group", blocks)


def _ladders(found: Mapping[str, ValueSubgroups]) -> list[Picture]:
    """The mean absolute error by level, a picture for each attribute."""
    pictures = []
    for number, (attribute, own) in enumerate(found.items()):
        known = dict.fromkeys(level for scores in own.tasks.values() for level in scores.cells)
        levels = style.in_order(attribute, known)
        if not levels:
            continue
        values = {
            style.words(task): [scores.cells[level].mae if level in scores.cells else None for level in levels]
            for task, scores in list(own.tasks.items())[: len(SERIES)]
        }
        title = f"Mean absolute error by {style.words(attribute)}, with 95 % intervals"
        plot = ladder(
            [level_name(level) for level in levels], values, style.words("mae"), f"subgroups-{number}", title, at=None
        )
        pictures.append(Picture(title, plot))
    return pictures


def _levels(attribute: str, found: ValueSubgroups) -> Table:
    rows = [
        [level_name(level), style.words(task), *_cells(cell)]
        for task, scores in found.tasks.items()
        for level in style.in_order(attribute, scores.cells)
        if (cell := scores.cells[level]).count is not None
    ]
    header = [style.words(attribute), "task", "rows", *(style.words(name) for name in VALUE_METRICS)]
    return Table(f"By {style.words(attribute)}: every metric with its 95 % interval", header, rows, folded=True)


def _cells(cell: ValueCell) -> list[str]:
    return [words.number(cell.count), *(words.score(cell.score(name), ".2f") for name in VALUE_METRICS)]


def offsets(run: PageRun) -> Section:
    """What the rectifier adds to the predictions of each pattern; no content without one.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    if found.rectifier is None:
        return Section("missingness", "What missingness does", [Text("This run has no rectifier.")])
    strengths = [
        f"{task}: the offsets are applied with strength {table.strength:.1f} (1 is whole)."
        if table.strength
        else f"{task}: the offsets are not applied (strength 0): they did not lower the error on held-out subjects."
        for task, table in found.rectifier.items()
    ]
    rows = [
        [
            task,
            described(label, found.modalities),
            f"{own.tau:+.2f} ({own.low:+.2f} to {own.high:+.2f})",
            "of its parent" if own.inherited else "its own",
            words.number(own.count),
        ]
        for task, table in found.rectifier.items()
        for label, own in table.patterns.items()
        if own.tau is not None
    ]
    caption = "Offset of each pattern in the units of the task, with its 95 % interval; strength times offset is added"
    header = ["task", "pattern", "offset", "estimate", "calibration rows"]
    return Section("missingness", "What missingness does", [Listing(strengths), Table(caption, header, rows)])
