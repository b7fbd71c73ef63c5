"""Applies the rectifier to the test rows, and estimates their mean risk from the calibration rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data_modules import patterns
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.evaluation.results import OffsetTable, Risk, TaskRisks
from mmnar_lightning.evaluation.results_json import from_json
from mmnar_lightning.metrics.prediction_powered import MeanRisk, mean_risk, no_mean_risk
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.rectifier.rectifier import Rectifier


@dataclass(frozen=True, kw_only=True)
class Rectification:
    """The test rows after the rectifier.

    Attributes:
        rows: the test rows with rectified logits.
        recalibrated: the test rows after one offset for all patterns, the root of the same estimate.
        table: task -> offsets by pattern.
        mean_risk: task -> prediction-powered estimates of the mean risk; empty where the tasks are numbers.
    """

    rows: ScoredRows
    recalibrated: ScoredRows
    table: dict[str, OffsetTable]
    mean_risk: dict[str, TaskRisks]


def rectify(
    rectifier: Rectifier, name: str, rows: ScoredRows, calibration: ScoredRows, cohort: OpenedCohort
) -> Rectification:
    """Apply the fitted rectifier.

    Args:
        rectifier: fitted.
        name: fingerprint of the cohort of the test rows.
        rows: test rows.
        calibration: half B, on which the rectifier was fitted.
        cohort: of the test rows.

    Returns:
        The rows after the rectifier, its table and the mean risks.
    """
    found = rectifier.cpu()(rows.logits, rows.present, rows.subject, name)
    tables = rectifier.table([code for code in cohort.scored_patterns if code != patterns.REST])
    return Rectification(
        rows=rows.with_logits(found),
        recalibrated=rows.with_logits(rectifier.recalibrate(rows.logits, rows.subject, name)),
        table={task: from_json(OffsetTable, table) for task, table in zip(cohort.tasks, tables, strict=True)},
        mean_risk={}
        if rectifier.kind == "value"
        else {
            task: _risks(column, rows, calibration, cohort.scored_patterns, cohort.holds_out)
            for column, task in enumerate(cohort.tasks)
        },
    )


def _risks(
    column: int, rows: ScoredRows, calibration: ScoredRows, pattern_ids: Sequence[int], holds_out: bool
) -> TaskRisks:
    """Estimate the mean risks of one task, over all rows and by pattern; labels of test rows are not used.

    With a held-out pattern the calibration rows do not represent all test rows, so the overall risk is undefined.

    Returns:
        The mean risks.
    """
    known = calibration.label_mask[:, column]

    def risk(tested: torch.Tensor, labelled: torch.Tensor) -> Risk:
        estimate = mean_risk(
            rows.probability[tested, column],
            rows.subject[tested],
            calibration.probability[labelled, column],
            calibration.label[labelled, column],
            calibration.subject[labelled],
        )
        return _plain(estimate)

    whole = torch.ones(len(rows), dtype=torch.bool)
    tested, labelled = (
        patterns.members(part.pattern, pattern_ids, rows.present.shape[1]) for part in (rows, calibration)
    )
    return TaskRisks(
        all=_plain(no_mean_risk(len(rows), int(known.sum()))) if holds_out else risk(whole, known),
        patterns={name: risk(own, known & labelled[name]) for name, own in tested.items()},
    )


def _plain(estimate: MeanRisk) -> Risk:
    return Risk(**vars(estimate))
