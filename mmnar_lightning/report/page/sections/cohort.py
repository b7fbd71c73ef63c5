"""Sections on the cohort: attrition, and the patterns of presence."""

from data_modules import patterns as bits
from mmnar_lightning.evaluation.breakdown import LabelCounts
from mmnar_lightning.report import style
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.page import flow, matrix, words
from mmnar_lightning.report.page.blocks import Block, Note, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun


def attrition(run: PageRun) -> Section:
    """Who was left out by which rule, and how the rest was divided.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    cohort = run.cohort
    if cohort is None:
        text = (
            "The folder of the cohort, which has these counts, is not on this machine: run `mmnar report` where "
            "`mmnar train` ran."
        )
        return Section("attrition", "From the records to the cohort", [Note(text)])
    title = "Rows and subjects that each rule leaves"
    rows = [[rule, words.number(left), words.number(subjects)] for rule, left, subjects in cohort.attrition]
    blocks: list[Block] = [
        Pictures([Picture(title, flow.diagram(cohort.attrition, "flow", title), is_wide=True)]),
        Table("The same as a table", ["rule", "rows", "subjects"], rows, folded=True),
    ]
    if cohort.splits:
        splits = list(dict.fromkeys(split for found in cohort.splits.values() for split in found))
        lines = [
            [task, *(words.counts(own[split].rows, own[split].positives) for split in splits)]
            for task, own in cohort.splits.items()
        ]
        blocks.append(Table("Rows with a known outcome (positive) by split", ["task", *splits], lines))
    return Section("attrition", "From the records to the cohort", blocks)


def patterns(run: PageRun) -> Section:
    """Which inputs are present together, how often, and the risk of these rows.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    title = "Patterns of presence, their test rows, and the observed risk with its 95 % interval"
    labels = list(next(iter(found.tasks.values())).patterns) if found.tasks else []
    if not labels:
        return Section("patterns", "Which inputs are present", [Note("No pattern may be shown for this run.")])
    blocks: list[Block] = [
        Text(
            "A dark dot is an input that is present, a pale one an input that is absent; the most frequent pattern is "
            "at the top. The vertical line is the risk of all test rows. A risk that differs between patterns is what "
            "“missing not at random” looks like: who lacks an input is another kind of patient."
        ),
        Pictures([Picture(title, matrix.upset(found.tasks, found.modalities, "upset", title), is_wide=True)]),
        Table(
            "Patterns: test rows, and risk with its 95 % interval",
            ["pattern", "rows", *(f"risk: {task}" for task in found.tasks)],
            [
                [
                    described(label, found.modalities),
                    words.number(matrix.rows_of(found.tasks, label)),
                    *(words.score(matrix.risk_of(scores, label)) for scores in found.tasks.values()),
                ]
                for label in labels
            ],
            folded=True,
        ),
    ]
    blocks += _known_labels(run)
    if len(found.tasks) > matrix.MAX_TASKS:
        blocks.append(Text(f"The figure has the risks of the first {matrix.MAX_TASKS} of {len(found.tasks)} tasks."))
    if len(labels) > MAX_PATTERNS:
        blocks.append(Text(f"The figure has the {MAX_PATTERNS} most frequent of {len(labels)} patterns."))
    if found.unseen_patterns:
        unseen = words.joined([described(label, found.modalities) for label in found.unseen_patterns])
        blocks.append(Note(f"No train row has these patterns: {unseen}."))
    return Section("patterns", "Which inputs are present", blocks)


def _known_labels(run: PageRun) -> list[Block]:
    """How many outcomes are known by pattern; nothing in results of an earlier schema."""
    found = run.results.label_availability
    if not found:
        return []
    if all(own.all.share == 1 for own in found.values()):
        return [Text("The outcome of every test row is known.")]
    labels = list(dict.fromkeys(label for own in found.values() for label in own.cells))
    rows = [
        [
            described(label, run.results.modalities),
            *(_known(own.cells[label]) if label in own.cells else "" for own in found.values()),
        ]
        for label in labels
    ]
    header = ["pattern", *(style.words(task) for task in found)]
    return [Table("Test rows whose outcome is known, of all rows with the pattern", header, rows, folded=True)]


def _known(own: LabelCounts) -> str:
    share = "" if own.share is None else f"{words.SPACE}({own.share:.0%})"
    return "masked" if own.known is None else f"{own.known:,} of {words.number(own.rows)}{share}"


def described(label: str, modalities: list[str]) -> str:
    """The modalities of a pattern label; all rows for `all`."""
    if label == "all":
        return "all rows"
    if label == bits.OTHERS:
        return "all other patterns"
    return bits.describe(bits.parse(label), [style.words(name) for name in modalities])
