"""Blends a network with boosted trees, and scores both and their mean on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, equal

from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.results import BlendScores
from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.outputs import ScoredRows


@dataclass(frozen=True, kw_only=True)
class Blended:
    """The same rows, predicted by a network, by trees and by both.

    Attributes:
        network: rows with the logits of the network that are reported in the end.
        trees: rows with the logits of the trees, finite.
        both: rows with the blended logits.
        iterations: task -> number of trees; None for several runs.
    """

    network: ScoredRows
    trees: ScoredRows
    both: ScoredRows
    iterations: Mapping[str, int] | None = None

    @property
    def columns(self) -> dict[str, ScoredRows]:
        """Name of a column of predictions.parquet -> the rows with its logits."""
        return {"blend": self.both, "trees": self.trees}


def blend(network: ScoredRows, trees: ScoredRows, iterations: Mapping[str, int] | None = None) -> Blended:
    """Average the logits of a network and of trees, without weights: no label chooses how much each counts.

    Args:
        network: N rows.
        trees: the same rows in the same order, with finite logits.
        iterations: task -> number of trees.

    Returns:
        All three predictions.
    """
    assert equal(network.row_id, trees.row_id), "network and trees predict the same rows"
    both = network.with_logits((network.logits + trees.logits) / 2)
    return Blended(network=network, trees=trees, both=both, iterations=iterations)


def compare(
    blended: Blended,
    tasks: Sequence[str],
    pattern_ids: Sequence[int],
    scoring: Scoring,
    *,
    fold: Tensor | None = None,
    repeat: Tensor | None = None,
) -> BlendScores:
    """Score the blend and the trees, and the paired differences between network, trees and blend.

    Args:
        blended: N test rows.
        tasks: T task names.
        pattern_ids: the cohort's patterns.
        scoring: replicates and seed.
        fold: (N,) int64, as of `score`.
        repeat: (N,) int64, as of `score`.

    Returns:
        The scores.
    """
    trees = score(blended.trees, tasks, [], scoring, fold=fold, repeat=repeat)
    pairs = {
        "blend_minus_network": (blended.network, blended.both),
        "network_minus_trees": (blended.trees, blended.network),
    }
    differences = {
        name: gains(before, after, tasks, scoring, fold=fold, repeat=repeat) for name, (before, after) in pairs.items()
    }
    return BlendScores(
        tasks=score(blended.both, tasks, pattern_ids, scoring, fold=fold, repeat=repeat),
        trees={task: found.all for task, found in trees.items()},
        iterations=None if blended.iterations is None else dict(blended.iterations),
        **differences,
    )
