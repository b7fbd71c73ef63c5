"""Diagnostics against plain loops, and their ends."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmnar_lightning.metrics.diagnostics import (
    assignment,
    decision_tipping_point,
    order_tipping_point,
)
from mmnar_lightning.metrics.functional import calibration_error

COUNT = 300


def rows(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(COUNT, generator=generator, dtype=torch.float64)
    label = (torch.rand(COUNT, generator=generator) < logits.sigmoid()).double()
    return logits, label, torch.arange(COUNT) // 2, torch.arange(COUNT) % 3


def test_assignment_equals_scikit_learn_and_counts_the_rows_without_overlap() -> None:
    logits, label, subject, _ = rows()
    propensity = (4 * logits).sigmoid()
    found = assignment(propensity, label.bool(), subject)
    assert found.auroc.value == pytest.approx(roc_auc_score(label, propensity))
    error, plain = found.calibration_error, calibration_error(propensity, label)
    assert 0 < error.low < error.value < plain, "the noise of the bins is not taken away"
    assert found.auroc.low < found.auroc.value < found.auroc.high
    outside = sum(value < 0.02 or value > 0.98 for value in propensity.tolist())
    assert 0 < outside < COUNT
    share, low, high = found.outside_overlap
    assert share == pytest.approx(outside / COUNT)
    pairs = ((propensity < 0.02) | (propensity > 0.98)).double().view(-1, 2).mean(1)  # the two rows of a subject
    assert (high - low) / 2 == pytest.approx(1.959964 * float(pairs.std() / len(pairs) ** 0.5))
    assert (found.count, found.present) == (COUNT, int(label.sum()))


def test_the_ends_of_the_overlap_belong_to_it_and_a_modality_of_every_row_has_no_auroc() -> None:
    reported = torch.tensor([0.02, 0.98, 0.5], dtype=torch.float64)
    found = assignment(reported, torch.ones(3, dtype=torch.bool), torch.arange(3))
    assert found.outside_overlap == (0, 0, 0)
    assert math.isnan(found.auroc.value)


def order(first, second, label) -> float:
    return roc_auc_score(label, first) - roc_auc_score(label, second)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_two_methods_flips_at_the_tipping_point_and_not_before(seed: int) -> None:
    logits, label, _, group = rows(seed)
    noise = torch.randn(COUNT, generator=torch.Generator().manual_seed(seed + 50), dtype=torch.float64)
    other = logits + 0.25 * noise
    shift = order_tipping_point(logits, other, label, group == 1)
    before = order(logits, other, label)
    assert shift is not None
    assert before * order(logits + shift * (group == 1), other, label) <= 0
    for step in np.arange(0.01, abs(shift) - 0.005, 0.01):
        for sign in (1, -1):
            assert before * order(logits + sign * step * (group == 1), other, label) > 0


def test_a_tie_counts_one_half_in_the_order_of_two_methods() -> None:
    label, nobody = torch.tensor([0, 1, 0, 1]), torch.zeros(4, dtype=torch.bool)
    tied, untied = torch.tensor([1.0, 1.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert roc_auc_score(label, tied) == roc_auc_score(label, untied) == 0.75
    assert order_tipping_point(tied, untied, label, nobody) == 0
    assert order_tipping_point(untied, tied, label, nobody) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_scores_with_many_ties_flips_at_the_tipping_point_and_not_before(seed: int) -> None:
    logits, label, _, group = rows(seed)
    coarse, other = (logits * 2).round() / 2, logits.round()
    assert len(coarse.unique()) < COUNT / 10, "there are few ties"
    shift = order_tipping_point(coarse, other, label, group == 1)
    before = order(coarse, other, label)
    assert before > 0
    assert shift is not None
    assert order(coarse + shift * (group == 1), other, label) <= 0
    for step in np.arange(0.01, abs(shift) - 0.005, 0.01):
        for sign in (1, -1):
            assert order(coarse + sign * step * (group == 1), other, label) > 0


def test_there_is_no_tipping_point_where_nothing_can_flip() -> None:
    logits, label, _, group = rows()
    assert order_tipping_point(logits, -logits, label, torch.zeros(COUNT, dtype=torch.bool)) is None
    assert order_tipping_point(10 * label, logits, label, group == 1, max_shift=0.5) is None
    assert order_tipping_point(logits, logits, label, group == 1) == 0
    assert order_tipping_point(logits, -logits, torch.ones(COUNT), group == 1) is None


def test_the_mean_risk_of_the_pattern_meets_the_threshold_at_its_tipping_point() -> None:
    logits, _, _, group = rows()
    shift = decision_tipping_point(logits, group == 2, 0.3)
    assert torch.sigmoid(logits[group == 2] + shift).mean() == pytest.approx(0.3, abs=1e-6)
    assert decision_tipping_point(logits, group == 2, 0.999) is None
    assert decision_tipping_point(logits, group == 2, 0.001) is None
    assert decision_tipping_point(logits, group == 9, 0.3) is None
    with pytest.raises(AssertionError, match=r"threshold=1\.0 must be in"):
        decision_tipping_point(logits, group == 2, 1.0)
