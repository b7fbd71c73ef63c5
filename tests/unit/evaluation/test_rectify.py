"""One offset for all patterns, beside the rectifier: against the root of the plain hierarchy and a plain loop."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss

from data_modules import patterns
from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.rectify import rectify
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from tests.helpers.rectifier_worlds import drawn
from tests.helpers.reference_rectifier import posterior_mode

NUM_REPLICATES = 40
SCORING = Scoring(num_replicates=NUM_REPLICATES, seed=3, min_count=10)


def rows_of(seed: int, first: int, shift: float) -> ScoredRows:
    """Rows of subjects from `first` on, some without a label, whose predictions are too high by a shift."""
    risk, label, subject, pattern = drawn(seed, num_subjects=120)
    generator = np.random.default_rng(seed)
    return ScoredRows(
        row_id=torch.arange(len(label)),
        subject=torch.from_numpy(subject) + first,
        present=patterns.decode(torch.from_numpy(pattern), 3),
        logits=torch.from_numpy(risk + shift)[:, None],
        label=torch.from_numpy(label)[:, None],
        label_mask=torch.from_numpy(generator.random(len(label)) < 0.8)[:, None],
    )


@pytest.fixture
def fitted() -> tuple[Any, ScoredRows, ScoredRows, Any]:
    """A module with a gated rectifier of strength 0, test rows, calibration rows and their cohort."""
    calibration, tested = rows_of(1, 0, 0.9), rows_of(2, 120, 0.9)
    rectifier = Rectifier(1, 3, range(8), 240, RectifierConfig())
    rectifier.fit(**calibration.labelled, cohort="c")
    rectifier.strength.zero_()
    cohort = SimpleNamespace(scored_patterns=list(range(8)), tasks=["death"], holds_out=False)
    return SimpleNamespace(rectifier=rectifier, cohort="c"), tested, calibration, cohort


def test_the_offset_is_the_root_of_the_estimate_for_all_patterns_whatever_the_gate(fitted) -> None:
    module, tested, calibration, cohort = fitted
    found = rectify(module.rectifier, module.cohort, tested, calibration, cohort)
    known = calibration.label_mask[:, 0]
    columns = calibration.logits[known, 0].tolist(), calibration.label[known, 0].tolist()
    root = posterior_mode([{"logit": own, "label": label} for own, label in zip(*columns, strict=True)], 0.0, 1.0)
    assert root < -0.4
    np.testing.assert_allclose(found.recalibrated.logits - tested.logits, root, atol=1e-6)
    assert torch.equal(found.rows.logits, tested.logits), "the gate closes the rectifier"


def test_its_gain_is_the_paired_difference_over_draws_of_subjects(fitted) -> None:
    module, tested, calibration, cohort = fitted
    after = rectify(module.rectifier, module.cohort, tested, calibration, cohort).recalibrated
    found = gains(tested, after, ["death"], SCORING)["death"].brier
    keep = tested.label_mask[:, 0].numpy()
    label, before = tested.label[keep, 0].numpy(), tested.probability[keep, 0].numpy()
    moved = expit(logit(before) + float(module.rectifier.offset[0, 0]))
    names, place = np.unique(tested.subject.numpy()[keep], return_inverse=True)
    replicates = []
    for draw in np.random.default_rng(SCORING.seed).integers(len(names), size=(NUM_REPLICATES, len(names))):
        weight = np.bincount(draw, minlength=len(names))[place]
        losses = [brier_score_loss(label, own, sample_weight=weight) for own in (moved, before)]
        replicates.append(losses[0] - losses[1])
    assert found.value == pytest.approx(((moved - label) ** 2 - (before - label) ** 2).mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])))
    assert found.high < 0, "it corrects predictions that are too high"


def test_subjects_of_the_fit_are_refused(fitted) -> None:
    module, tested, calibration, _ = fitted
    with pytest.raises(ValueError, match="3 of 3 rows belong to subjects that the rectifier was fitted on"):
        module.rectifier.recalibrate(calibration.logits[:3], calibration.subject[:3], "c")
    assert len(module.rectifier.recalibrate(tested.logits, tested.subject, "c")) == len(tested)
