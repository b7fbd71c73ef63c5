"""Offsets of numbers: shrunk means of residuals, a gate that asks whether they help, and the same guard."""

import numpy as np
import pytest
import torch

from mmnar_lightning.rectifier import gate
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate
from mmnar_lightning.rectifier.rectifier import Rectifier

SIZES = np.array([0, 1, 1, 2])
MINIMUM = Minimum(rows=10, class_rows=10_000)


def world(shift: tuple[float, ...], each: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    pattern = np.repeat(np.arange(len(shift)), each)
    predicted = generator.normal(size=len(pattern))
    value = predicted + np.asarray(shift)[pattern] + generator.normal(0, 0.5, len(pattern))
    return predicted, value, np.arange(len(pattern)), pattern


def rows_of(shift: tuple[float, ...], each: int, seed: int = 0) -> Rows:
    return Rows.of(*world(shift, each, seed), kind="value")


def test_the_global_offset_is_the_posterior_mean_of_the_residuals():
    rows = rows_of((0.4,), 50)
    found = estimate(rows, np.array([1]), 1, MINIMUM).overall
    residual = rows.label - rows.logit
    weight = 50 / (50 + residual.var())  # prior N(0, 1), residual variance as estimated
    assert found.offset[0] == pytest.approx(weight * residual.mean())
    assert found.raw[0] == pytest.approx(residual.mean())


def test_classes_are_not_asked_of_numbers():
    found = estimate(rows_of((0.4, -0.4), 50), np.array([1, 1]), 2, MINIMUM).pattern
    assert found.estimated.all()
    assert found.positives.tolist() == [0, 0]


def test_offsets_of_patterns_are_found_and_noise_is_shrunk():
    shift = (-0.8, 0.5, 0.0, 0.3)
    found = estimate(rows_of(shift, 400), SIZES, 2, MINIMUM).pattern
    assert found.offset == pytest.approx(np.array(shift), abs=0.1)
    noise = estimate(rows_of((0.0,) * 4, 40, seed=5), SIZES, 2, MINIMUM).pattern
    raw = np.nan_to_num(noise.raw)
    assert np.square(noise.offset).sum() < 0.6 * np.square(raw).sum()


def test_the_interval_is_clustered_by_subject():
    predicted, value, subject, pattern = world((0.4,), 60)
    alone = estimate(Rows.of(predicted, value, subject, pattern, kind="value"), np.array([1]), 1, MINIMUM).overall
    four = [np.tile(column, 4) for column in (predicted, value, subject, pattern)]
    repeated = estimate(Rows.of(*four, kind="value"), np.array([1]), 1, MINIMUM).overall
    assert repeated.variance[0] == pytest.approx(alone.variance[0], rel=0.02)


def fitted(shift: tuple[float, ...], each: int = 200) -> Rectifier:
    predicted, value, subject, pattern = world(shift, each)
    rectifier = Rectifier(1, 2, [0, 1, 2, 3], 2 * len(subject), RectifierConfig(min_rows=10), "value")
    rectifier.fit(**columns(predicted, value, subject, pattern), cohort="own")
    return rectifier


def columns(predicted: np.ndarray, value: np.ndarray, subject: np.ndarray, pattern: np.ndarray) -> dict:
    present = torch.from_numpy(np.stack([pattern & 1, pattern >> 1], axis=1).astype(bool))
    return {
        "logits": torch.from_numpy(predicted)[:, None],
        "label": torch.from_numpy(value)[:, None],
        "label_mask": torch.ones(len(value), 1, dtype=torch.bool),
        "present": present,
        "subject": torch.from_numpy(subject),
    }


def test_the_gate_opens_for_a_shift_by_pattern_and_is_closed_without_one():
    assert float(fitted((-0.8, 0.5, 0.0, 0.3)).strength[0]) > 0.8
    assert float(fitted((0.0, 0.0, 0.0, 0.0)).strength[0]) == 0.0


def test_the_gain_of_the_gate_is_that_in_squared_error():
    shift = (-0.8, 0.5, 0.0, 0.3)
    rows, rectifier = rows_of(shift, 400), fitted(shift)
    best, gain, error = gate.recommended(rows, rectifier._shift)
    residual = rows.label - rows.logit
    possible = np.square(residual).sum() - np.square(residual - np.array(shift)[rows.pattern]).sum()
    assert best >= 0.9
    assert gain == pytest.approx(possible, rel=0.05)
    assert 0 < error < 0.1 * gain


def test_numbers_are_shifted_and_the_errors_of_new_subjects_fall():
    shift = (-0.8, 0.5, 0.0, 0.3)
    rectifier = fitted(shift)
    predicted, value, subject, pattern = world(shift, 100, seed=9)
    new = columns(predicted, value, subject + 800, pattern)
    after = rectifier(new["logits"], new["present"], new["subject"], "own")
    before = (new["logits"] - new["label"]).square().mean()
    assert (after - new["label"]).square().mean() < 0.7 * before
    assert rectifier.table([3, 1])[0]["scale"] == "standard deviations"


def test_the_guard_and_labels_of_yes_or_no_are_as_they_were():
    rectifier = fitted((0.2, 0.2, 0.2, 0.2))
    given = columns(*world((0.2, 0.2, 0.2, 0.2), 5))
    with pytest.raises(ValueError, match="belong to subjects that the rectifier was fitted on"):
        rectifier(given["logits"], given["present"], given["subject"], "own")
    binary = Rectifier(1, 2, [0, 1, 2, 3], 20, RectifierConfig(min_rows=1))
    with pytest.raises(ValueError, match="labels that are 0 or 1"):
        binary.fit(**given, cohort="own")
