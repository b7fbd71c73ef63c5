"""Scores by subgroup, decision curves and the availability of labels of test rows."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.cohorts.subgroups import SUBGROUP
from mmnar_lightning.evaluation.breakdown import (
    DecisionCurve,
    Gap,
    LabelAvailability,
    LabelCounts,
    NetBenefit,
    Subgroups,
    SubgroupScores,
)
from mmnar_lightning.evaluation.scores import UNKNOWN, Scoring, numbered, plain, score_levels
from mmnar_lightning.metrics.gaps import LargestGap, largest_gaps
from mmnar_lightning.metrics.net_benefit import net_benefits
from mmnar_lightning.outputs import ScoredRows


def score_subgroups(
    rows: ScoredRows,
    attributes: pl.DataFrame,
    tasks: Sequence[str],
    scoring: Scoring,
    fold: Tensor | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, Subgroups]:
    """Score every task by the levels of every attribute.

    Args:
        rows: N test rows.
        attributes: columns `subgroup/<attribute>` of the same rows, text; null forms its own level, `unknown`.
        tasks: T task names.
        scoring: replicates, seed, and the minimum number of rows with a known label below which levels are pooled.
        fold: (N,) int64, fold in which a row was tested.
        advance: is called with 1 for every attribute and task that were scored.

    Returns:
        Attribute -> scores. `unknown` is scored, but not compared with other levels.
    """
    found = {}
    for name in attributes.columns:
        number, names = numbered(attributes[name])
        by_task = {}
        for column, task in enumerate(tasks):
            by_task[task] = _of_attribute(rows, column, number, names, scoring, fold)
            advance(1)
        found[name.removeprefix(SUBGROUP)] = Subgroups(min_rows=scoring.min_count, tasks=by_task)
    return found


def _of_attribute(
    rows: ScoredRows, column: int, number: Tensor, names: Sequence[str], scoring: Scoring, fold: Tensor | None
) -> SubgroupScores:
    levels, pooled = score_levels(rows, column, number, names, scoring, fold)
    known = rows.label_mask[:, column]
    gaps = largest_gaps(
        rows.probability[known, column],
        rows.label[known, column],
        rows.subject[known],
        number[known],
        compared=[names.index(name) for name in levels if name != UNKNOWN],
        fold=None if fold is None else fold[known],
        num_replicates=scoring.num_replicates,
        seed=scoring.seed,
    )
    return SubgroupScores(
        levels=levels,
        pooled=pooled,
        gaps=named_gaps(gaps, names),
    )


def named_gaps(gaps: Mapping[str, LargestGap], names: Sequence[str]) -> dict[str, Gap]:
    """Gaps between levels, with the names of these.

    Args:
        gaps: metric -> gap between two numbered levels.
        names: of the levels.

    Returns:
        Metric -> gap.
    """
    return {
        metric: Gap(
            higher=names[gap.higher],
            lower=names[gap.lower],
            difference=plain(gap.difference),
            num_levels=gap.num_levels,
        )
        for metric, gap in gaps.items()
    }


def decision_curves(rows: ScoredRows, tasks: Sequence[str]) -> dict[str, DecisionCurve]:
    """The net benefit of every task over all test rows with a known label.

    Args:
        rows: N test rows, each once.
        tasks: T task names.

    Returns:
        task -> curve.
    """
    found = {}
    for column, task in enumerate(tasks):
        known = rows.label_mask[:, column]
        label = rows.label[known, column]
        benefits = net_benefits(rows.probability[known, column], label, rows.subject[known])
        points = [
            NetBenefit(
                threshold=one.threshold,
                model=plain(one.model),
                treat_all=plain(one.treat_all),
                true_positives=one.true_positives,
                false_positives=one.false_positives,
            )
            for one in benefits
        ]
        found[task] = DecisionCurve(count=len(label), positives=int(label.sum()), points=points)
    return found


def label_availability(
    rows: ScoredRows, tasks: Sequence[str], pattern_ids: Sequence[int]
) -> dict[str, LabelAvailability]:
    """Count the rows with a known label, over all test rows and by pattern.

    Args:
        rows: N test rows, each once.
        tasks: T task names.
        pattern_ids: the cohort's patterns, the most frequent first.

    Returns:
        task -> counts.
    """
    members = patterns.members(rows.pattern, pattern_ids, rows.present.shape[1])

    def counts(column: int, member: Tensor) -> LabelCounts:
        num_rows, known = int(member.sum()), int(rows.label_mask[member, column].sum())
        return LabelCounts(rows=num_rows, known=known, share=known / num_rows if num_rows else None)

    every = torch.ones(len(rows), dtype=torch.bool)
    return {
        task: LabelAvailability(
            all=counts(column, every), patterns={name: counts(column, member) for name, member in members.items()}
        )
        for column, task in enumerate(tasks)
    }
