"""What the rectifier does to the test rows, and what the calibration rows say of their risk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from data_modules import patterns
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.evaluation.predict import PredictedRows
from mmnar_lightning.metrics.prediction_powered import mean_risk, no_mean_risk
from mmnar_lightning.module import MMNARModule


@dataclass(frozen=True, kw_only=True)
class Rectification:
    """The test rows after the rectifier.

    Attributes:
        rows: as given, with `probability` rectified.
        table: task -> {`scale`, `strength`, `patterns`: label -> offset with interval, counts, where it comes from}.
        mean_risk: task -> {`all`, `patterns`} -> prediction-powered estimate of the mean risk.
    """

    rows: dict[str, Tensor]
    table: dict[str, Any]
    mean_risk: dict[str, Any]


def rectify(
    module: MMNARModule, rows: Mapping[str, Tensor], calibration: PredictedRows, cohort: OpenedCohort
) -> Rectification:
    """Apply the fitted rectifier.

    Args:
        module: with a fitted rectifier.
        rows: test rows as `PatternMetric.rows` gives them.
        calibration: half B, which the rectifier was fitted on.
        cohort: of the test rows.
    """
    rectifier = module.rectifier
    assert rectifier is not None
    arrays, num_modalities, listed = cohort.arrays, rectifier.num_modalities, cohort.patterns
    subject = arrays.subject[rows["row_id"]]
    present = patterns.decode(rows["pattern"], num_modalities)
    found = rectifier.cpu().rectify(rows["probability"].logit(), present, subject, module.cohort)
    return Rectification(
        rows={**rows, "probability": found},
        table=dict(zip(cohort.tasks, rectifier.table(listed), strict=True)),
        mean_risk={
            task: _risks(column, rows, subject, calibration, listed, num_modalities, cohort.holds_out)
            for column, task in enumerate(cohort.tasks)
        },
    )


def _risks(
    column: int,
    rows: Mapping[str, Tensor],
    subject: Tensor,
    calibration: PredictedRows,
    pattern_ids: Sequence[int],
    num_modalities: int,
    holds_out: bool,
) -> dict[str, Any]:
    """Of one task, over all rows and by pattern; the labels of the test rows are not read.

    Calibration rows without a pattern that is held out say nothing of all test rows together.
    """
    known = calibration.label_mask[:, column]
    codes = patterns.encode(calibration.present)
    probability = torch.sigmoid(calibration.logits[:, column])

    def risk(tested: Tensor, labelled: Tensor) -> dict[str, Any]:
        estimate = mean_risk(
            rows["probability"][tested, column],
            subject[tested],
            probability[labelled],
            calibration.label[labelled, column],
            calibration.subject[labelled],
        )
        return asdict(estimate)

    whole = torch.ones(len(subject), dtype=torch.bool)
    return {
        "all": asdict(no_mean_risk(len(subject), int(known.sum()))) if holds_out else risk(whole, known),
        "patterns": {
            patterns.label(code, num_modalities): risk(rows["pattern"] == code, known & (codes == code))
            for code in pattern_ids
        },
    }
