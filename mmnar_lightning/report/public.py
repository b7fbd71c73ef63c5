"""Results that may leave this machine: without small cells, and without anything that they would follow from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mmnar_lightning.evaluation.results import BlendScores, Gain, Results, SplitCounts, TaskScores, ValueScores
from mmnar_lightning.evaluation.results_json import from_json
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells, is_small, with_sum
from mmnar_lightning.report.public_breakdown import curves_of, labels_of, subgroups_of, value_subgroups_of
from mmnar_lightning.report.public_cells import (
    Hidden,
    cell_of,
    counts_of,
    groups_of,
    risks_of,
    scores_of,
    tables_of,
    values_of,
)

OF_CHECKPOINT = ("epoch", "step", "strength", "rectifier", "iterations")
OF_CHILD = ("name", "seed", "fold", "pattern", "present", "cohort")
"""Keys of the origin of predictions, and of a protocol's run, that hold no count."""

T = TypeVar("T")


def public(results: Results, min_count: int, *, totals_only: bool = False, withheld: Collection[str] = ()) -> Results:
    """Leave out what docs/privacy.md lists: small cells, those that they follow from, and all metrics of both.

    Args:
        results: of a run.
        min_count: `privacy.min_count`, the smallest number of rows, positives or negatives that is shown.
        totals_only: whether only scores over all rows are shown, because other runs score other folds.
        withheld: tasks that are hidden whole.

    Returns:
        Results with `masked_below`; hidden cells are `MASKED`, and what has no masked form is absent.
    """
    tables = {task: counts_of(found.cells) for task, found in results.tasks.items()}
    tables |= {task: counts_of(found.cells) for task, found in (results.values or {}).items()}
    hidden = hidden_cells(tables, min_count, totals_only=totals_only, withheld=withheld)
    fitted = {task: counts_of(found.patterns) for task, found in (results.rectifier or {}).items()}
    offsets = hidden_cells({task: with_sum(own) for task, own in fitted.items()}, min_count, totals_only=totals_only)
    whole = {task for task, names in hidden.items() if ALL in names}

    def scores(found: Mapping[str, TaskScores] | None) -> dict[str, TaskScores] | None:
        return None if found is None else {task: scores_of(own, hidden[task], min_count) for task, own in found.items()}

    def numbers(found: Mapping[str, ValueScores] | None) -> dict[str, ValueScores] | None:
        return None if found is None else {task: values_of(own, hidden[task]) for task, own in found.items()}

    def without(found: Mapping[str, T] | None) -> dict[str, T] | None:
        return None if found is None else {task: own for task, own in found.items() if task not in whole}

    tasks = scores(results.tasks)
    assert tasks is not None
    return replace(
        results,
        masked_below=min_count,
        checkpoint=_chosen(results.checkpoint, OF_CHECKPOINT),
        children=None if results.children is None else [_chosen(child, OF_CHILD) or {} for child in results.children],
        split=_split(results.split, min_count),
        unseen_pattern_rows=_unseen(results, hidden),
        diagnostics=_diagnostics(results.diagnostics, hidden, min_count),
        tasks=tasks,
        values=numbers(results.values),
        rectified_values=numbers(results.rectified_values),
        rectified=scores(results.rectified),
        rectified_gain=without(results.rectified_gain),
        recalibrated_gain=without(results.recalibrated_gain),
        carried=scores(results.carried),
        carried_gain=without(results.carried_gain),
        blend=None
        if results.blend is None
        else _blend(results.blend, scores(results.blend.tasks) or {}, whole, min_count),
        groups=groups_of(results, whole, min_count, totals_only=totals_only),
        subgroups=None if totals_only else subgroups_of(results, whole, min_count),
        value_subgroups=None if totals_only else value_subgroups_of(results, whole, min_count),
        net_benefit=None if totals_only else curves_of(results, whole, min_count),
        label_availability=labels_of(results, hidden, min_count, totals_only=totals_only),
        rectifier=None if results.rectifier is None else tables_of(results.rectifier, offsets),
        mean_risk=None if results.mean_risk is None else risks_of(results.mean_risk, [hidden, offsets]),
        target=public(results.target, min_count, totals_only=totals_only) if results.target else None,
    )


def _chosen(content: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    return None if content is None else {key: content[key] for key in keys if key in content}


def _split(split: SplitCounts, min_count: int) -> SplitCounts:
    known = [count for count in (split.rows, split.subjects) if count is not None]
    return split if all(count >= min_count for count in known) else replace(split, rows=None, subjects=None)


def _unseen(results: Results, hidden: Hidden) -> int | None:
    """Rows of unseen patterns: only if they are the sum of rows that are shown."""
    patterns = frozenset(results.unseen_patterns or ())
    is_shown = any(not patterns & names for names in hidden.values())
    return results.unseen_pattern_rows if is_shown or not results.unseen_pattern_rows else None


def _diagnostics(diagnostics: Mapping[str, Any] | None, hidden: Hidden, min_count: int) -> dict[str, Any] | None:
    """Only what is known here: presence by modality is a sum of patterns, and is left out if any of these is hidden."""
    found = dict(diagnostics or {})
    public_ones: dict[str, Any] = {}
    if "decision_tipping_point" in found:
        public_ones["decision_tipping_point"] = {
            task: {name: shift for name, shift in own.items() if name not in hidden[task]}
            for task, own in found["decision_tipping_point"].items()
        }
    if "assignment" in found and not any(hidden.values()):
        public_ones["assignment"] = found["assignment"]
    if "parts" in found:
        public_ones["parts"] = {
            part: {task: gain for task, gain in own.items() if not _is_small_gain(from_json(Gain, gain), min_count)}
            for part, own in found["parts"].items()
        }
    return None if diagnostics is None else public_ones


def _is_small_gain(gain: Gain, min_count: int) -> bool:
    return is_small(Counts(gain.count, gain.positives), min_count)


def _blend(blend: BlendScores, tasks: dict[str, TaskScores], whole: Collection[str], min_count: int) -> BlendScores:
    def without(found: Mapping[str, T]) -> dict[str, T]:
        return {task: own for task, own in found.items() if task not in whole}

    return replace(
        blend,
        tasks=tasks,
        trees={task: cell_of(cell, min_count) for task, cell in without(blend.trees).items()},
        blend_minus_network=without(blend.blend_minus_network),
        network_minus_trees=without(blend.network_minus_trees),
    )
