"""Prints the public scores of a run as tables; nothing here masks a cell."""

from collections.abc import Mapping, Sequence

from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.results import Cell, Gain, Groups, Results, Risk, TaskScores
from mmnar_lightning.evaluation.results_json import from_json
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.report import formats
from mmnar_lightning.report.cohort import MAX_GROUPS

COMPARED = ("auroc", "brier", "calibration_error")
"""Metrics in the table of what a rectifier changes; the others are in results.json."""
RANKED = ("auroc", "average_precision", "brier")
"""Metrics in the table of a blend; the others are in results.json."""


def show_scores(results: Results, scores: Mapping[str, TaskScores]) -> None:
    """Print one table per task: every pattern with its metrics and intervals.

    Args:
        results: of a run, public.
        scores: of these, by task.
    """
    header = ["pattern", "rows (positive)", *(name.replace("_", " ") for name in RESAMPLED)]
    for task, found in scores.items():
        rows = formats.table_rows(found)
        hidden = len(found.cells) - len(rows)
        data = ", simulated data" if results.simulated else ""
        show(f"{task}, test split{data}, 95 % intervals clustered by subject", header, rows)
        if hidden:
            say(
                f"{hidden} cells are masked here but not in results.json: no number of rows, positives or negatives "
                f"below {results.masked_below} is shown or follows from others"
            )
        show_calibration(task, found)


def show_calibration(task: str, scores: TaskScores) -> None:
    """Print the metrics that the table leaves out, over all rows, and the share of cells without an interval.

    Args:
        task: name of the task.
        scores: of it, masked.
    """
    others = {
        name.replace("observed_", "observed over ").replace("_", " "): scores.all.score(name)
        for name in METRICS
        if name not in RESAMPLED
    }
    shown = [f"{name} {formats.score_text(score)}" for name, score in others.items() if score is not None]
    if shown:
        say(f"{task}, all rows: {', '.join(shown)}")
    if scores.without_interval:
        lacking = [f"{name.replace('_', ' ')} in {share:.0%}" for name, share in scores.without_interval.items()]
        say(f"{task}: too few rows for an interval: {', '.join(lacking)} of the cells")


def show_rectifier(results: Results) -> None:
    """Print one table per task: the rectifier's offset of each pattern, and the calibration error before and after.

    Args:
        results: of a run, public; without a rectifier nothing is printed.
    """
    if results.rectifier is None or results.rectified is None or results.mean_risk is None:
        return
    before, after = results.tasks, results.rectified
    for task, table in results.rectifier.items():
        if task not in results.mean_risk:
            continue
        risks = results.mean_risk[task]
        rows = [["all", "", "", *_errors(before[task].all, after[task].all, risks.all)]]
        for name, entry in table.patterns.items():
            cells = before[task].patterns[name], after[task].patterns[name]
            if entry.count is not None and name in risks.patterns:
                tau = f"{entry.tau:.2f} ({entry.low:.2f} to {entry.high:.2f})"
                counts = f"{entry.count} ({entry.positives})"
                rows.append([name, counts, tau, *_errors(*cells, risks.patterns[name])])
        header = ["pattern", "calibration rows (positive)", "τ", "calibration error before", "after", "mean risk"]
        show(f"{task}, rectifier of strength {table.strength:.1f}, 95 % intervals", header, rows)


def show_gains(results: Results) -> None:
    """Print one table per task: the metrics without a rectifier, with each that is compared, and the differences.

    Args:
        results: of a run, public; without `rectified_gain` nothing is printed.
    """
    if results.rectified_gain is None or results.rectified is None:
        return
    origin = (results.checkpoint or {}).get("rectifier", "target")
    compared = [(f"fitted at the {origin}", results.rectified, results.rectified_gain)]
    if results.carried is not None and results.carried_gain is not None:
        compared.append(("fitted at the source", results.carried, results.carried_gain))
    header = ["", *(name.replace("_", " ") for name in COMPARED)]
    for task in results.rectified_gain:
        rows = [["no rectifier", *_scores(results.tasks[task].all)]]
        if results.recalibrated_gain is not None:
            rows += [["one offset for all"], ["difference", *_scores(results.recalibrated_gain[task])]]
        for name, scores, differences in compared:
            rows += [[name, *_scores(scores[task].all)], ["difference", *_scores(differences[task])]]
        show(f"{task}, what a rectifier changes at the target: paired differences, 95 % intervals", header, rows)


def show_blend(results: Results) -> None:
    """Print one table per task: the metrics of network, boosted trees and blend, and the paired differences.

    Args:
        results: of a run, public; without `blend` nothing is printed.
    """
    found = results.blend
    if found is None:
        return
    header = ["", *(name.replace("_", " ") for name in RANKED)]
    for task, gain in found.blend_minus_network.items():
        compared: dict[str, Cell | Gain] = {
            "network": (results.rectified or results.tasks)[task].all,
            "boosted trees": found.trees[task],
            "blend": found.tasks[task].all,
            "blend - network": gain,
            "network - trees": found.network_minus_trees[task],
        }
        rows = [[name, *_scores(own, RANKED)] for name, own in compared.items()]
        show(f"{task}, mean logit of network and boosted trees, 95 % intervals, paired differences", header, rows)


def show_part_gains(results: Results) -> None:
    """Print a table with one line per part: what it gains in AUROC, out of fold, for each task.

    Args:
        results: of a run, public; without `parts` in `diagnostics` nothing is printed.
    """
    found = (results.diagnostics or {}).get("parts")
    if not found:
        return
    rows = []
    for part, by_task in found.items():
        gains = {task: from_json(Gain, content) for task, content in by_task.items()}
        shown = {task: formats.difference_text(gain.auroc) for task, gain in gains.items()}
        rows.append([part, *(shown.get(task, "too few rows") for task in results.tasks)])
    title = "out-of-fold gain of each part in AUROC: with all parts minus without this one, paired, 95 % intervals"
    show(title, ["part", *results.tasks], rows)


def _scores(found: Cell | Gain, metrics: Sequence[str] = COMPARED) -> list[str]:
    text = formats.difference_text if isinstance(found, Gain) else formats.score_text
    return [text(found.score(metric)) for metric in metrics]


def show_groups(groups: Groups) -> None:
    """Print one table per task: AUROC of the largest groups, of the small ones pooled, and within groups.

    Args:
        groups: scores by group, public: hospitals are numbered.
    """
    kind = groups.by
    for task, found in groups.tasks.items():
        named = list(found.groups.items())
        cells = [(name if kind == "year group" else f"{kind} {name}", cell) for name, cell in named]
        if found.pooled is not None:
            cells = [*cells[:MAX_GROUPS], (f"{found.pooled.groups} smaller ones pooled", found.pooled)]
        rows = [
            [name, f"{cell.count} ({cell.positives})", formats.score_text(cell.auroc)]
            for name, cell in cells[: MAX_GROUPS + 1]
        ]
        within = found.within
        rows.append([f"pairs of one {kind}, {within.groups} of them", "", formats.score_text(within.auroc)])
        show(f"{task} by {kind}, 95 % intervals clustered by subject", [kind, "rows (positive)", "auroc"], rows)


def _errors(before: Cell, after: Cell, risk: Risk) -> list[str]:
    errors = [cell.calibration_error for cell in (before, after)]
    shown = ["" if error is None or error.value is None else f"{error.value:.3f}" for error in errors]
    if risk.value is None:
        return [*shown, "too few rows"]
    return [*shown, f"{risk.value:.3f} ({risk.low:.3f} to {risk.high:.3f})"]


def show_parts(scores: Mapping[str, TaskScores], num_parts: int) -> None:
    """Print over how many test sets metrics are averaged, and the number of these in which a metric is undefined.

    Args:
        scores: with folds or repeats, public.
        num_parts: number of test sets: folds times repeats.
    """
    for task, found in scores.items():
        if found.all.count is None:
            continue
        metrics = {name.replace("_", " "): found.all.score(name) for name in RESAMPLED}
        lacking = {name: num_parts - (score.num_parts or 0) for name, score in metrics.items() if score is not None}
        undefined = [f"{name} in {count}" for name, count in lacking.items() if count]
        say(f"{task}: means over {num_parts} test set{'s' if num_parts > 1 else ''}")
        if undefined:
            say(f"{task}: undefined, and excluded from the mean: {', '.join(undefined)} of {num_parts}")
