"""Net benefit against a loop written from Vickers and Elkin (2006), and its intervals against what they must be."""

import math

import numpy as np
import pytest
import torch

from mmnar_lightning.metrics.net_benefit import THRESHOLDS, benefit_ends, net_benefits
from mmnar_lightning.metrics.small_samples import wilson_ends

RATES = [0.05, 0.2, 0.5, 0.8]
Z = 1.959963984540054


def data(rows=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probability = (torch.rand(rows, generator=generator, dtype=torch.float64) * 20).round() / 20
    label = (torch.rand(rows, generator=generator) < 0.1 + 0.6 * probability).double()
    return probability, label, torch.randint(1000, (rows // 3,), generator=generator)[torch.arange(rows) // 3]


def by_hand(probability, label, threshold):
    """The definition: true positives less false positives at the odds, per row."""
    benefit = 0.0
    for risk, truth in zip(probability.tolist(), label.tolist(), strict=True):
        if risk >= threshold:
            benefit += 1 if truth else -threshold / (1 - threshold)
    return benefit / len(label)


@pytest.mark.parametrize("seed", range(2))
def test_values_and_counts_are_those_of_a_loop_over_rows(seed: int) -> None:
    probability, label, subject = data(seed=seed)
    found = net_benefits(probability, label, subject, thresholds=torch.tensor(RATES, dtype=torch.float64))
    for one, threshold in zip(found, RATES, strict=True):
        for side, risks in ((one.model, probability), (one.treat_all, torch.ones_like(probability))):
            assert side.value == pytest.approx(by_hand(risks, label, threshold))
            assert side.low < side.value < side.high
        treated = probability >= threshold
        assert one.true_positives == int(label[treated].sum())
        assert one.false_positives == int((1 - label[treated]).sum())


@pytest.mark.parametrize("positives", [0, 3, 40])
def test_treating_all_has_the_interval_of_the_prevalence(positives: int) -> None:
    """With one row per subject the net benefit of treating all is a line in the prevalence."""
    label = (torch.arange(40) < positives).double()
    (one,) = net_benefits(torch.rand(40), label, torch.arange(40), thresholds=torch.tensor([0.2], dtype=torch.float64))
    expected = [share - 0.25 * (1 - share) for share in wilson_ends(positives / 40, 40, Z)]
    assert (one.treat_all.low, one.treat_all.high) == pytest.approx(expected, abs=0.01)


def test_with_many_rows_the_interval_is_that_of_a_mean() -> None:
    probability, label, _ = data(rows=6000)
    found = net_benefits(probability, label, torch.arange(6000), thresholds=torch.tensor(RATES, dtype=torch.float64))
    for one, threshold in zip(found, RATES, strict=True):
        worth = np.where(label > 0, 1.0, -threshold / (1 - threshold)) * (probability.numpy() >= threshold)
        half = Z * worth.std() / math.sqrt(6000)
        assert (one.model.low, one.model.high) == pytest.approx(
            (one.model.value - half, one.model.value + half), abs=half / 20
        )


def test_two_shares_of_the_same_rows_vary_against_each_other() -> None:
    """Had both shares come from different rows, the interval would be narrower."""
    low, high = benefit_ends(0.4, 0.4, 1.0, 100, Z)
    apart = math.hypot(0.4 - wilson_ends(0.4, 100, Z)[0], wilson_ends(0.4, 100, Z)[1] - 0.4)
    assert high - low > 2.4 * apart


def test_copies_of_rows_narrow_nothing() -> None:
    probability, label, _ = data(rows=300)
    alone = net_benefits(probability, label, torch.arange(300))
    whole = net_benefits(torch.cat([probability] * 4), torch.cat([label] * 4), torch.arange(300).repeat(4))
    for one, four in zip(alone, whole, strict=True):
        assert four.model.value == pytest.approx(one.model.value)
        assert (four.model.low, four.model.high) == pytest.approx((one.model.low, one.model.high), abs=2e-3)
        assert four.true_positives == 4 * one.true_positives


def test_the_grid_is_even_in_logits_and_symmetric_about_one_half() -> None:
    assert (float(THRESHOLDS[0]), float(THRESHOLDS[-1])) == pytest.approx((0.01, 0.99))
    steps = THRESHOLDS.logit().diff()
    assert torch.allclose(steps, steps[0].expand(len(steps)))
    assert float(THRESHOLDS[len(THRESHOLDS) // 2]) == pytest.approx(0.5)


def test_one_subject_has_no_interval_and_no_row_no_value() -> None:
    probability, label, subject = data()
    (one, *_) = net_benefits(probability, label, torch.zeros_like(subject))
    assert math.isnan(one.model.low)
    assert not math.isnan(one.model.value)
    (empty, *_) = net_benefits(probability[:0], label[:0], subject[:0])
    assert math.isnan(empty.model.value)
    assert (empty.true_positives, empty.false_positives) == (0, 0)
