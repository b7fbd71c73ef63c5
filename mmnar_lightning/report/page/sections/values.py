"""Sections on tasks that are numbers: their scores by pattern, and the offsets of the rectifier."""

from mmnar_lightning.evaluation.results import Results, ValueScores
from mmnar_lightning.metrics.values import VALUE_METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Heading, Listing, Pictures, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.cohort import described
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
        [
            described(label, found.modalities),
            words.number(cell.count),
            *(words.score(cell.score(name), ".2f") for name in VALUE_METRICS),
        ]
        for label, cell in scores.cells.items()
        if cell.count is not None
    ]
    hidden = len(scores.cells) - len(rows)
    if hidden:
        rows.append([f"{hidden} masked", *[""] * (len(header) - 1)])
    return Table(caption, header, rows, folded=is_folded)


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
