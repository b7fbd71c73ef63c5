"""The gate: shut on noise, open where there is an effect."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from data_modules import patterns
from mmnar_lightning.rectifier import gate
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Rows
from mmnar_lightning.rectifier.rectifier import Rectifier


def strength(seed: int, effect: float, num_subjects: int = 600, *, centred: bool = False, level: float = 0.0) -> float:
    """The strength for rows of 8 patterns with an effect of ± `effect` and labels whose level is off by `level`."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(num_subjects), 2)
    pattern = generator.integers(8, size=len(subject))
    logit = -1 + generator.standard_normal(len(subject))
    tau = effect * np.array([1, -1, 1, -1, -1, 1, 1, -1])
    label = (generator.random(len(subject)) < expit(logit + level + tau[pattern])).astype(float)
    rectifier = Rectifier(1, 3, range(8), num_subjects, RectifierConfig())
    rows = {
        "logits": torch.from_numpy(logit)[:, None],
        "label": torch.from_numpy(label)[:, None],
        "label_mask": torch.ones(len(label), 1, dtype=torch.bool),
        "present": patterns.decode(torch.from_numpy(pattern), 3),
        "subject": torch.from_numpy(subject),
    }
    (rectifier.fit_centred if centred else rectifier.fit)(**rows, cohort="first")
    return float(rectifier.strength)


@pytest.mark.parametrize("centred", [False, True])
def test_it_is_shut_on_noise(centred: bool) -> None:
    found = np.array([strength(seed, 0.0, centred=centred) for seed in range(40)])
    assert (found == 0).mean() >= 0.8


@pytest.mark.parametrize("centred", [False, True])
def test_it_is_open_for_a_large_effect(centred: bool) -> None:
    found = np.array([strength(seed, 1.0, centred=centred) for seed in range(10)])
    assert (found >= 0.8).all()


def test_a_wrong_level_opens_it_for_all_patterns_together_and_not_for_centred_offsets() -> None:
    assert min(strength(seed, 0.0, level=1.0) for seed in range(10)) >= 0.8
    assert np.mean([strength(seed, 0.0, centred=True, level=1.0) == 0 for seed in range(30)]) >= 0.8


def test_folds_are_of_subjects_and_about_equal() -> None:
    subject = np.repeat(np.arange(2000), 3)
    fold = gate.folds(subject).reshape(-1, 3)
    assert (fold == fold[:, :1]).all()
    assert np.bincount(fold[:, 0], minlength=5).min() > 350
    assert (gate.folds(subject[::-1])[::-1].reshape(-1, 3) == fold).all()


def test_a_row_is_shifted_by_what_other_subjects_say() -> None:
    seen: list[Any] = []

    def shift(fitted: Rows, shifted: Rows) -> np.ndarray:
        assert not set(fitted.subject) & set(shifted.subject)
        seen.extend(shifted.subject)
        return np.full((len(shifted.label), len(gate.STRENGTHS)), 0.5)

    rows = Rows.of(np.zeros(60), np.tile([0.0, 1.0], 30), np.repeat(np.arange(20), 3), np.zeros(60, dtype=np.int64))
    assert gate.strength(rows, shift) == 0.0
    assert sorted(seen) == sorted(rows.subject)


def test_it_opens_by_more_than_a_standard_error_over_subjects_and_not_below() -> None:
    """A good subject gains 3 ln(0.6 / 0.5) = 0.55, a bad one loses 3 ln(0.5 / 0.4) = 0.67."""

    def with_gains(good: int) -> float:
        def shift(fitted: Rows, shifted: Rows) -> np.ndarray:
            better = np.where(shifted.subject < good, 0.6, 0.4)[:, None]
            return np.concatenate([np.full((len(better), 10), 0.5), better], axis=1)

        label = np.ones(300)
        rows = Rows.of(np.zeros(300), label, np.repeat(np.arange(100), 3), np.zeros(300, dtype=np.int64))
        return gate.strength(rows, shift)

    assert with_gains(70) == 1.0
    # 59 subjects gain 4.8 in sum, with a standard error of about 6; of 171 rows it would be about 3.5.
    assert with_gains(59) == 0.0


def test_log_loss_of_an_impossible_label_is_finite() -> None:
    loss = gate.log_loss(np.array([[0.0, 1.0]]), np.array([1.0]))
    assert np.isfinite(loss).all()
    assert loss[0, 0] > 700
    assert loss[0, 1] == 0
