"""Diagnostics on test rows: of a trained network, and of any predictions."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.evaluation.predict import propensities
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.metrics import diagnostics
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.outputs import ScoredRows


def diagnose(
    module: MMNARModule,
    cohort: OpenedCohort,
    batches: Iterable[Batch],
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    scoring: Scoring,
) -> dict[str, Any]:
    """Compute `diagnostics` of results.json; every rank must call it.

    Args:
        module: as tested, on its device.
        cohort: of the test rows.
        batches: the test rows of this rank.
        context: context manager of the forward pass, for example mixed precision.
        scoring: replicates of the intervals, and the seed of the bootstrap.

    Returns:
        With an assignment head, `assignment`: each modality whose presence varies among train rows -> how well its
        presence is predicted. Empty without one.
    """
    model = module.model
    first = model.members[0] if isinstance(model, FoldEnsemble) else model
    if not isinstance(first, MMNARModel) or first.assignment is None:
        return {}
    propensity, present = propensities(model, batches, module.device, context)
    subject = cohort.arrays.subject[cohort.rows("test")]
    found = {
        modality.name: _plain(
            diagnostics.assignment(
                propensity[:, place],
                present[:, place],
                subject,
                num_replicates=scoring.num_replicates,
                seed=scoring.seed,
            )
        )
        for place, modality in enumerate(cohort.modalities)
        if bool(first.assignable[place])
    }
    return {"assignment": found}


def decision_tipping_points(
    rows: ScoredRows, tasks: Sequence[str], pattern_ids: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """Compute the error of a pattern's offset at which the order of its risk and that of all other rows flips.

    Args:
        rows: final test rows, after the rectifier if there is one.
        tasks: T names.
        pattern_ids: patterns of the cohort.

    Returns:
        task -> pattern label -> the shift of its logits at which its mean risk equals that of the other rows; None
        without such rows or shift.
    """
    members = patterns.members(rows.pattern, pattern_ids, rows.present.shape[1])
    return {
        task: {name: _flip(rows.logits[:, column], own) for name, own in members.items()}
        for column, task in enumerate(tasks)
    }


def _flip(logits: Tensor, own: Tensor) -> float | None:
    if not bool(own.any()) or bool(own.all()):
        return None
    rest = float(torch.sigmoid(logits[~own]).mean())
    return diagnostics.decision_tipping_point(logits, own, rest) if 0 < rest < 1 else None


def _plain(found: diagnostics.Assignment) -> dict[str, Any]:
    """Convert to JSON, which has no NaN."""
    intervals = {name: getattr(found, name) for name in ("auroc", "calibration_error")}
    ends = {name: (interval.value, interval.low, interval.high) for name, interval in intervals.items()}
    ends["outside_overlap"] = found.outside_overlap
    return {
        "count": found.count,
        "present": found.present,
        **{
            name: dict(zip(("value", "low", "high"), map(_number, values), strict=True))
            for name, values in ends.items()
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
