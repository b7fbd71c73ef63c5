"""Sections on the scores by task and pattern, and on their calibration."""

from collections.abc import Mapping, Sequence

from mmnar_lightning.evaluation.results import Cell, Gain, Results, TaskScores, ValueScores
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.figures import SCORED
from mmnar_lightning.report.page import curves, matrix, words
from mmnar_lightning.report.page.blocks import Block, Heading, Note, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.about import final
from mmnar_lightning.report.page.sections.cohort import described

DRAWN: dict[str, float | None] = {"auroc": 0.5, "brier": None}
"""Metrics that have a forest plot -> the place of their reference line."""
NO_RECTIFIER = "This run has no rectifier: all scores are those of the model itself."


def performance(run: PageRun) -> Section:
    """Every metric of every task and pattern, before and after the rectifier.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    blocks: list[Block] = [Text(_reading(found))]
    if found.rectified is None:
        blocks.append(Text(NO_RECTIFIER))
    for number, task in enumerate(found.tasks):
        blocks += _of_task(found, task, f"forest-{number}")
    if found.target is not None:
        blocks += _target(found.target)
    return Section("performance", "How well it predicts, by task and pattern", blocks)


def _reading(found: Results) -> str:
    level = f"{found.intervals.level:.0%}".replace("%", " %")
    readings = "; ".join(f"{style.words(name)}: {words.BETTER[name]}" for name in METRICS)
    return f"Points are test rows, lines their {level} intervals. {readings}."


def _of_task(found: Results, task: str, name: str) -> list[Block]:
    named = {SCORED[field]: scores[task] for field, scores in found.scores.items()}
    labels = matrix.shown_patterns(found.tasks[task])
    last = found.scores[final(found)][task]
    return [
        Heading(_heading(task)),
        Pictures(forests(task, named, labels, found.modalities, DRAWN, name)),
        *(
            table(
                f"{task}, {series}: every metric with its 95 % interval", scores, found.modalities, scores is not last
            )
            for series, scores in named.items()
        ),
    ]


def forests(
    task: str,
    named: Mapping[str, TaskScores] | Mapping[str, ValueScores],
    labels: Sequence[str],
    modalities: Sequence[str],
    drawn: Mapping[str, float | None],
    name: str,
) -> list[Picture]:
    """Forest plots of a task by pattern, one for each metric.

    Args:
        task: its name.
        named: series -> public scores.
        labels: patterns that are shown below all rows.
        modalities: names.
        drawn: metric -> the place of its reference line.
        name: beginning of the names of the pictures' elements.

    Returns:
        The pictures.
    """
    pictures = []
    for metric, reference in drawn.items():
        title = f"{style.words(task)}: {style.words(metric)} by pattern"
        values = {
            series: [scores.cells[label].score(metric) for label in ("all", *labels)]
            for series, scores in named.items()
        }
        plot = matrix.forest(labels, modalities, values, style.words(metric), f"{name}-{metric}", title, at=reference)
        pictures.append(Picture(title, plot))
    return pictures


def _heading(task: str) -> str:
    """A task in words, then its name where that is another."""
    title = style.words(task)
    return title if title == task else f"{title} ({task})"


def table(caption: str, scores: TaskScores, modalities: list[str], is_folded: bool) -> Table:
    """Every metric of a task, over all rows and by pattern.

    Args:
        caption: of the table.
        scores: of the task, public.
        modalities: names.
        is_folded: whether it is shown on request only.

    Returns:
        The table.
    """
    header = ["pattern", "rows (positive)", *(style.words(name) for name in METRICS)]
    rows = [
        [described(label, modalities), *line(cell)] for label, cell in scores.cells.items() if cell.count is not None
    ]
    hidden = len(scores.cells) - len(rows)
    if hidden:
        rows.append([f"{hidden} masked", *[""] * (len(header) - 1)])
    return Table(caption, header, rows, folded=is_folded)


def line(cell: Cell) -> list[str]:
    """Counts of a cell, and every metric with its interval."""
    return [
        words.counts(cell.count, cell.positives),
        *(words.score(cell.score(name), ".2f") if cell.score(name) else "" for name in METRICS),
    ]


def _target(found: Results) -> list[Block]:
    blocks: list[Block] = [
        Heading(f"On the target: {words.database(found.dataset)}"),
        Text(
            f"The same model, tested on {words.number(found.split.rows)} rows of "
            f"{words.number(found.split.subjects)} subjects of another cohort."
        ),
    ]
    scores = found.scores[final(found)]
    blocks += [
        table(f"{task} at the target: every metric with its 95 % interval", own, found.modalities, is_folded=False)
        for task, own in scores.items()
    ]
    return blocks


def calibration(run: PageRun) -> Section:
    """Whether predicted risks occur, before and after the rectifier.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    pictures = []
    for number, task in enumerate(found.tasks):
        named = {SCORED[field]: scores[task].all.reliability for field, scores in found.scores.items()}
        shown = {series: curve for series, curve in named.items() if curve is not None and curve.count}
        if shown:
            title = f"{style.words(task)}: observed against predicted risk, and the distribution of the predictions"
            pictures.append(Picture(title, curves.reliability(shown, f"reliability-{number}", title)))
    blocks: list[Block] = [
        Text(
            "On the diagonal, risks are right. Lines are Wilson's 95 % intervals of each bin. The lower panel is the "
            "distribution of the predictions by bins; those with few rows are joined."
        ),
        Pictures(pictures),
    ]
    if not pictures:
        blocks[1:] = [Note("Every task is masked.")]
    if found.rectified_gain is not None:
        blocks.append(_gains(found.rectified_gain))
    return Section("calibration", "Whether predicted risks occur", blocks)


def _gains(gains: Mapping[str, Gain]) -> Table:
    metrics = ("auroc", "brier", "calibration_error")
    rows = [[task, *(words.score(gain.score(name), "+.4f") for name in metrics)] for task, gain in gains.items()]
    caption = "What the rectifier changes: after it minus before, paired, with 95 % intervals"
    return Table(caption, ["task", *(style.words(name) for name in metrics)], rows)
