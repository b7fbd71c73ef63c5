"""Prints what divides the rows otherwise than by pattern: subgroups, thresholds of a decision, known labels."""

from mmnar_lightning.console import show
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.report.formats import difference_text, score_text
from mmnar_lightning.report.style import in_order

SHOWN = ("auroc", "brier", "calibration_error")
"""Metrics in the tables of subgroups; the others are in results.json."""


def show_subgroups(results: Results) -> None:
    """Print one table per attribute: every task and level with its metrics, and the largest gaps of each.

    Args:
        results: of a run, public; without subgroups nothing is printed.
    """
    for attribute, found in (results.subgroups or {}).items():
        rows = []
        for task, scores in found.tasks.items():
            for level in in_order(attribute, scores.cells):
                cell = scores.cells[level]
                if cell.count is not None:
                    texts = (score_text(cell.score(metric)) for metric in SHOWN)
                    rows.append([task, level, f"{cell.count} ({cell.positives})", *texts])
            gaps = [scores.gaps.get(metric) for metric in SHOWN]
            if any(gaps):
                texts = (
                    f"{gap.higher} - {gap.lower}: {difference_text(gap.difference)}" if gap else "" for gap in gaps
                )
                rows.append([task, "largest gap", "", *texts])
        header = ["task", attribute, "rows (positive)", *(name.replace("_", " ") for name in SHOWN)]
        show(
            f"by {attribute}, final prediction, 95 % intervals; those of gaps hold for all pairs at once", header, rows
        )


def show_net_benefit(results: Results) -> None:
    """Print one table per task: the net benefit of deciding by the prediction, and of treating every row.

    Args:
        results: of a run, public; without decision curves nothing is printed.
    """
    for task, curve in (results.net_benefit or {}).items():
        rows = [
            [f"{point.threshold:.2f}", difference_text(point.model), difference_text(point.treat_all)]
            for point in curve.points
        ]
        title = f"{task}, net benefit over {curve.count} rows ({curve.positives} positive); treating none has 0"
        show(title, ["threshold", "by the prediction", "treating all"], rows)


def show_labels(results: Results) -> None:
    """Print one table: of how many rows of each pattern the label of each task is known.

    Args:
        results: of a run, public; in a file of an earlier schema nothing is printed.
    """
    found = results.label_availability or {}
    names = list(dict.fromkeys(name for own in found.values() for name in own.cells))
    rows = []
    for name in names:
        cells = [own.cells.get(name) for own in found.values()]
        rows.append(
            [
                name,
                *("masked" if cell is None or cell.rows is None else f"{cell.known} of {cell.rows}" for cell in cells),
            ]
        )
    show("known labels among the test rows", ["pattern", *found], rows)
