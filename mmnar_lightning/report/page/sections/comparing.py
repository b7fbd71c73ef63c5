"""The section on several runs: side by side, and their paired differences."""

from collections.abc import Sequence

from mmnar_lightning.evaluation.comparison import Comparison
from mmnar_lightning.evaluation.results import Cell, Gain
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Heading, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.ladder import ladder
from mmnar_lightning.report.page.sections.about import final

RANKED = ("auroc", "average_precision", "brier")


def comparing(runs: Sequence[PageRun], comparisons: Sequence[Comparison]) -> Section:
    """The runs side by side.

    Args:
        runs: of the page, the first of which is compared with the others.
        comparisons: of these, as `mmnar compare` makes them.

    Returns:
        The section; without blocks for a single run that has no blend.
    """
    blocks: list[Block] = []
    if len(runs) > 1:
        blocks += _side_by_side(runs) + _differences(runs, comparisons)
    if runs[0].results.blend is not None:
        blocks += _blend(runs[0])
    return Section("compared", "Compared with other methods", blocks)


def labels_of(runs: Sequence[PageRun]) -> dict[str, str]:
    """Name of each run -> what a table calls it: its experiment, if no other run has the same."""
    experiments = [run.results.experiment for run in runs]
    return {
        run.name: run.results.experiment if experiments.count(run.results.experiment) == 1 else run.name for run in runs
    }


def _side_by_side(runs: Sequence[PageRun]) -> list[Block]:
    header = ["run", "rows (positive)", *(style.words(name) for name in METRICS)]
    labels, pictures, tables = labels_of(runs), [], []
    for number, task in enumerate(dict.fromkeys(task for run in runs for task in run.results.tasks)):
        cells = {
            labels[run.name]: scores.all
            for run in runs
            if (scores := run.results.scores[final(run.results)].get(task)) is not None
        }
        title = f"{style.words(task)}: AUROC of each run, with its 95 % interval"
        aurocs = {"AUROC": [cell.auroc for cell in cells.values()]}
        drawn = ladder(list(cells), aurocs, "AUROC", f"runs-{number}", title)
        pictures.append(Picture(title, drawn))
        rows = [[name, *_line(cell)] for name, cell in cells.items()]
        tables.append(Table(f"{style.words(task)}, with 95 % intervals", header, rows))
    text = "The final prediction of each run, on all test rows: after its rectifier, if it has one."
    return [Text(text), Pictures(pictures), *tables]


def _line(cell: Cell) -> list[str]:
    if cell.count is None:
        return ["masked", *[""] * len(METRICS)]
    return [words.counts(cell.count, cell.positives), *(words.score(cell.score(name), ".2f") for name in METRICS)]


def _differences(runs: Sequence[PageRun], comparisons: Sequence[Comparison]) -> list[Block]:
    labels = labels_of(runs)
    tested = [entry for entry in comparisons if entry.p is not None]
    pictures = []
    for number, task in enumerate(dict.fromkeys(entry.task for entry in tested)):
        title = f"{style.words(task)}: AUROC of {labels[runs[0].name]} minus that of each other run"
        own = [entry for entry in tested if entry.task == task]
        others = [labels.get(entry.method, entry.method) for entry in own]
        differences = {"difference": [entry.difference for entry in own]}
        drawn = ladder(others, differences, "difference of AUROC", f"differences-{number}", title, at=0.0)
        pictures.append(Picture(title, drawn))
    rows = [
        [
            style.words(entry.task),
            labels.get(entry.method, entry.method),
            words.score(entry.difference, "+.4f"),
            f"{entry.p:.3g}",
            "" if entry.corrected is None else f"{entry.corrected:.3g}",
            entry.verdict,
        ]
        for entry in tested
    ]
    header = ["task", "other run", "AUROC of the first minus it", "p", "corrected p", "the first is"]
    text = (
        f"DeLong's test with subjects as clusters; {len(tested)} tests, corrected together by Holm's method at 0.05. "
        "Differences are paired: both runs are scored on the same draws of subjects. They are what `mmnar compare` "
        "prints: the only numbers of this page that are not in results.public.json."
    )
    table = Table("The first run and each of the others", header, rows)
    return [Heading("Paired differences"), Text(text), Pictures(pictures), table]


def _blend(run: PageRun) -> list[Block]:
    found = run.results.blend
    assert found is not None, "it was asked for"
    rows = []
    for task, own in found.tasks.items():
        network = run.results.scores[final(run.results)][task].all
        gain = found.blend_minus_network.get(task)
        if gain is None:
            rows.append([task, "masked", *[""] * len(RANKED)])
            continue
        cells: dict[str, Cell | Gain] = {
            "network": network,
            "boosted trees": found.trees[task],
            "blend": own.all,
            "blend - network": gain,
            "network - trees": found.network_minus_trees[task],
        }
        rows += [
            [task, name, *(words.score(cell.score(metric), _digits(cell)) for metric in RANKED)]
            for name, cell in cells.items()
        ]
    header = ["task", "method", *(style.words(name) for name in RANKED)]
    text = "The mean logit of the network and boosted trees, which were fitted on the same rows."
    return [Heading("Blend with boosted trees"), Text(text), Table("Blend, with 95 % intervals", header, rows)]


def _digits(cell: Cell | Gain) -> str:
    return "+.4f" if isinstance(cell, Gain) else ".3f"
