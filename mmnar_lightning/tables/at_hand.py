"""Scores finished runs as a table: one cohort, on which each run is a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_modules import stage
from mmnar_lightning.config.compose import load
from mmnar_lightning.evaluation.comparison import rows_in_common
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.runs import folders, gather
from mmnar_lightning.runs.plan import LEAVE_PATTERN_OUT
from mmnar_lightning.runs.run import scores_a_fold
from mmnar_lightning.tables.declared import Family
from mmnar_lightning.tables.score import Line, judged, of_cohort, small_folds
from mmnar_lightning.tables.stored import Tested, final, lacking


@dataclass(frozen=True, kw_only=True)
class AtHand:
    """A table of finished runs.

    Attributes:
        lines: of the table; the first run is the reference, and all tests are corrected together.
        family: of its tests.
        modalities: cohort -> names, in the order of a pattern's characters.
        left_out: cohort -> sentences about what it lacks.
    """

    lines: list[Line]
    family: Family
    modalities: dict[str, list[str]]
    left_out: dict[str, list[str]]


def make(runs: Sequence[Path], predictions: Mapping[str, pl.DataFrame], scoring: Scoring) -> AtHand:
    """Score runs that were tested on the same rows; others are a `UserError`.

    Args:
        runs: their folders.
        predictions: name -> predictions.parquet, in the same order.
        scoring: replicates, seed and the smallest count that is shown.

    Returns:
        The table; patterns are those of the first run.
    """
    tested = _tested(predictions, list(rows_in_common(predictions)))
    results = stage.read_json(runs[0] / folders.RESULTS)
    # A left-out pattern is no fold of rows: no run shows its total.
    is_folded = results.get("protocol") != LEAVE_PATTERN_OUT
    withheld = small_folds(tested, scoring.min_count) if is_folded else set()
    totals_only = any(scores_a_fold(load([f"experiment={run / folders.CONFIG}"])) for run in runs)
    family = Family(reference=next(iter(tested)))
    cohort = f"simulated {results['dataset']}" if results["simulated"] else results["dataset"]
    lines = of_cohort(cohort, tested, family.reference, scoring, withheld, totals_only=totals_only)
    return AtHand(
        lines=judged(lines, family),
        family=family,
        modalities={cohort: results["modalities"]},
        left_out={cohort: sorted(lacking(results))},
    )


def _tested(predictions: Mapping[str, pl.DataFrame], tasks: Sequence[str]) -> dict[str, Tested]:
    """The rows of all runs with a known label of any task, in the same order, with the patterns of the first run."""
    found: dict[str, Tested] = {}
    for name, frame in predictions.items():
        kept = frame.filter(pl.any_horizontal(pl.col(gather.LABEL + task).is_not_null() for task in tasks))
        keys = {
            key: kept[key].cast(pl.Int64) if key in kept.columns else pl.lit(usual, pl.Int64)
            for key, usual in (("seed", 0), ("fold", None))
        }
        rows = final(kept).with_columns(**keys).sort("seed", "fold", "row_id")
        shown = [prefix + task for task in tasks for prefix in (gather.LABEL, gather.LOGIT)]
        rows = rows.select("seed", "fold", "row_id", "subject_id", "pattern", *shown)
        if found:
            rows = rows.with_columns(next(iter(found.values())).rows["pattern"])
        found[name] = Tested(rows=rows, folded=rows["fold"].n_unique() > 1)
    return found
