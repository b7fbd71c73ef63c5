"""The parts of public results that divide the rows otherwise than by pattern: subgroups, thresholds, known labels."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from mmnar_lightning.evaluation.breakdown import (
    MASKED_LABELS,
    POOLED,
    DecisionCurve,
    Gap,
    LabelAvailability,
    NetBenefit,
    Subgroups,
    SubgroupScores,
)
from mmnar_lightning.evaluation.cell import Cell, Reliability
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.value_cell import ValueLevels, ValueSubgroups
from mmnar_lightning.metrics.suppression import ALL, Labels, hidden_cells, hidden_labels
from mmnar_lightning.report.public_cells import Hidden, cell_of, counts_of, rounded

CURVE_DIGITS = 3
"""Digits of a net benefit: all of them would show the numbers of true and false positives."""
NUMBERED = ("hospital",)
"""Attributes whose levels are numbered, because their ids stay here."""


def subgroups_of(results: Results, whole: Collection[str], min_count: int) -> dict[str, Subgroups] | None:
    """Scores by subgroup without hidden levels, and without the gaps of these.

    Each attribute is a table of its own: any two divisions of the same rows with the same totals fit each other.

    Args:
        results: of a run.
        whole: tasks that are hidden whole.
        min_count: smallest count that is shown.

    Returns:
        Attribute -> scores of the tasks that are not hidden whole; None if there are no subgroups.
    """
    if results.subgroups is None:
        return None
    return {
        name: replace(found, tasks=_of_attribute(results, name, found, whole, min_count))
        for name, found in results.subgroups.items()
    }


def _of_attribute(
    results: Results, name: str, found: Subgroups, whole: Collection[str], min_count: int
) -> dict[str, SubgroupScores]:
    tasks = {task: scores for task, scores in found.tasks.items() if task not in whole}
    tables = {task: counts_of({ALL: results.tasks[task].all, **scores.cells}) for task, scores in tasks.items()}
    hidden = hidden_cells(tables, min_count)
    return {task: _shown(scores, hidden[task], name in NUMBERED, min_count) for task, scores in tasks.items()}


def _shown(found: SubgroupScores, hidden: frozenset[str], is_numbered: bool, min_count: int) -> SubgroupScores:
    kept = {name: cell_of(cell, min_count) for name, cell in found.levels.items() if name not in hidden}
    names = {name: str(number) if is_numbered else name for number, name in enumerate(kept, start=1)}
    pooled = None if found.pooled is None or POOLED in hidden else cell_of(found.pooled, min_count)
    gaps = {metric: _renamed(gap, names) for metric, gap in found.gaps.items() if {gap.higher, gap.lower} <= set(names)}
    return SubgroupScores(levels={names[name]: cell for name, cell in kept.items()}, pooled=pooled, gaps=gaps)


def value_subgroups_of(results: Results, whole: Collection[str], min_count: int) -> dict[str, ValueSubgroups] | None:
    """Scores of numbers by subgroup, as `subgroups_of`: cells count by their rows alone.

    Args:
        results: of a run.
        whole: tasks that are hidden whole.
        min_count: smallest count that is shown.

    Returns:
        Attribute -> scores of the tasks that are not hidden whole; None if there are no subgroups.
    """
    values = results.values
    if results.value_subgroups is None or values is None:
        return None
    shown = {}
    for name, found in results.value_subgroups.items():
        tasks = {task: scores for task, scores in found.tasks.items() if task not in whole}
        tables = {task: counts_of({ALL: values[task].all, **scores.cells}) for task, scores in tasks.items()}
        hidden = hidden_cells(tables, min_count)
        kept = {task: _shown_values(scores, hidden[task], name in NUMBERED) for task, scores in tasks.items()}
        shown[name] = replace(found, tasks=kept)
    return shown


def _shown_values(found: ValueLevels, hidden: frozenset[str], is_numbered: bool) -> ValueLevels:
    kept = {name: cell for name, cell in found.levels.items() if name not in hidden}
    names = {name: str(number) if is_numbered else name for number, name in enumerate(kept, start=1)}
    return ValueLevels(
        levels={names[name]: cell for name, cell in kept.items()},
        pooled=None if POOLED in hidden else found.pooled,
        gaps={
            metric: _renamed(gap, names) for metric, gap in found.gaps.items() if {gap.higher, gap.lower} <= set(names)
        },
    )


def _renamed(gap: Gap, names: Mapping[str, str]) -> Gap:
    return replace(gap, higher=names[gap.higher], lower=names[gap.lower])


def curves_of(results: Results, whole: Collection[str], min_count: int) -> dict[str, DecisionCurve] | None:
    """Decision curves without counts, at the thresholds that divide no class into a small number of rows.

    A net benefit shows the true and false positives at its threshold, and so do the bins of a reliability curve. All
    thresholds and bins that are shown are therefore one division of the rows by their probability, whose parts have
    none or at least `min_count` rows of each class. The values are rounded as well.

    Args:
        results: of a run.
        whole: tasks that are hidden whole.
        min_count: smallest count that is shown.

    Returns:
        task -> curve; None in results of an earlier schema.
    """
    if results.net_benefit is None:
        return None
    final = results.rectified or results.tasks
    return {
        task: _thinned(curve, final[task].all, min_count)
        for task, curve in results.net_benefit.items()
        if task not in whole
    }


Division = tuple[float, float]
"""Positives and negatives with at least some probability."""


def _thinned(curve: DecisionCurve, cell: Cell, min_count: int) -> DecisionCurve:
    shown: list[NetBenefit] = []
    divisions = [(0.0, 0.0), (float(curve.positives), float(curve.count - curve.positives))]
    divisions += _divisions(cell_of(cell, min_count).reliability)
    for point in curve.points:
        assert point.true_positives is not None, "of results.json"
        assert point.false_positives is not None, "of results.json"
        own = float(point.true_positives), float(point.false_positives)
        if all(_is_apart(own, other, min_count) for other in divisions):
            divisions.append(own)
            shown.append(_without_counts(point))
    return replace(curve, points=shown)


def _divisions(curve: Reliability | None) -> Iterable[Division]:
    """What the bins of a reliability curve show, from the highest."""
    if curve is None:
        return
    positives = negatives = 0.0
    for rate, count in zip(reversed(curve.observed_rate), reversed(curve.count), strict=True):
        positives, negatives = positives + round(rate * count), negatives + count - round(rate * count)
        yield positives, negatives


def _is_apart(one: Division, other: Division, min_count: int) -> bool:
    """Whether no class has a small number of rows between two divisions."""
    between = [abs(own - theirs) for own, theirs in zip(one, other, strict=True)]
    return all(count == 0 or count >= min_count for count in between)


def _without_counts(point: NetBenefit) -> NetBenefit:
    model, treat_all = rounded(point.model, CURVE_DIGITS), rounded(point.treat_all, CURVE_DIGITS)
    return NetBenefit(threshold=point.threshold, model=model, treat_all=treat_all)


def labels_of(
    results: Results, hidden: Hidden, min_count: int, *, totals_only: bool
) -> dict[str, LabelAvailability] | None:
    """Numbers of known labels without those of hidden patterns, which are the same in every task.

    Args:
        results: of a run.
        hidden: task -> cells that are hidden in its scores.
        min_count: smallest count that is shown.
        totals_only: whether every pattern is hidden.

    Returns:
        task -> counts of the tasks that are not hidden whole; None in results of an earlier schema.
    """
    if results.label_availability is None:
        return None
    shown = {task: found for task, found in results.label_availability.items() if ALL not in hidden[task]}
    tables = {
        task: {name: Labels(own.rows or 0, own.known or 0) for name, own in found.patterns.items()}
        for task, found in shown.items()
    }
    masked = hidden_labels(tables, frozenset().union(*(hidden[task] for task in shown)), min_count)
    return {
        task: replace(
            found,
            patterns={
                name: MASKED_LABELS if totals_only or name in masked else own for name, own in found.patterns.items()
            },
        )
        for task, found in shown.items()
    }
