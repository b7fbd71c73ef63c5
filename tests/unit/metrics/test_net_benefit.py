"""Net benefit against loops over rows and replicates written from Vickers and Elkin (2006)."""

import math

import numpy as np
import pytest
import torch

from mmnar_lightning.metrics.bootstrap import draw
from mmnar_lightning.metrics.net_benefit import THRESHOLDS, net_benefits

RATES = [0.05, 0.2, 0.5, 0.8]


def data(rows=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probability = (torch.rand(rows, generator=generator, dtype=torch.float64) * 20).round() / 20
    label = (torch.rand(rows, generator=generator) < 0.1 + 0.6 * probability).double()
    return probability, label, torch.randint(1000, (rows // 3,), generator=generator)[torch.arange(rows) // 3]


def by_hand(probability, label, threshold, weight):
    """The definition: true positives less false positives at the odds, per row."""
    total = benefit = 0.0
    for risk, truth, times in zip(probability.tolist(), label.tolist(), weight, strict=True):
        total += times
        if risk >= threshold:
            benefit += times * (1 if truth else -threshold / (1 - threshold))
    return benefit / total


@pytest.mark.parametrize("seed", range(2))
def test_values_counts_and_intervals_are_those_of_a_loop_over_drawn_subjects(seed: int) -> None:
    probability, label, subject = data(seed=seed)
    names, dense = np.unique(subject.numpy(), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[dense] for _ in range(40)]
    found = net_benefits(
        probability, label, subject, thresholds=torch.tensor(RATES, dtype=torch.float64), num_replicates=40, seed=seed
    )
    for one, threshold in zip(found, RATES, strict=True):
        everyone = torch.ones_like(probability)
        for side, risks in ((one.model, probability), (one.treat_all, everyone)):
            assert side.value == pytest.approx(by_hand(risks, label, threshold, np.ones(len(label))))
            replicates = [by_hand(risks, label, threshold, weight) for weight in drawn]
            assert (side.low, side.high) == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])))
        treated = probability >= threshold
        assert one.true_positives == int(label[treated].sum())
        assert one.false_positives == int((1 - label[treated]).sum())


def test_the_subjects_are_those_that_the_other_metrics_draw() -> None:
    probability, label, subject = data()
    # Treating all at a threshold near 0 gives the prevalence, which is the Brier score of predicting none.
    none = draw(torch.zeros_like(probability), label, subject, None, None, num_replicates=200, seed=3)
    (one,) = net_benefits(
        probability, label, subject, thresholds=torch.tensor([1e-12], dtype=torch.float64), num_replicates=200, seed=3
    )
    prevalence = none.replicates[:, 2].numpy()
    assert (one.treat_all.low, one.treat_all.high) == pytest.approx(tuple(np.quantile(prevalence, [0.025, 0.975])))


def test_a_subject_of_many_rows_widens_the_interval() -> None:
    probability, label, _ = data(rows=300)
    alone = net_benefits(probability, label, torch.arange(300), num_replicates=300)
    whole = net_benefits(
        torch.cat([probability] * 4), torch.cat([label] * 4), torch.arange(300).repeat(4), num_replicates=300
    )
    for one, four in zip(alone, whole, strict=True):
        assert four.model.value == pytest.approx(one.model.value)
        assert (four.model.low, four.model.high) == pytest.approx((one.model.low, one.model.high))
        assert four.true_positives == 4 * one.true_positives


def test_the_grid_is_even_in_logits_and_symmetric_about_one_half() -> None:
    assert (float(THRESHOLDS[0]), float(THRESHOLDS[-1])) == pytest.approx((0.01, 0.99))
    steps = THRESHOLDS.logit().diff()
    assert torch.allclose(steps, steps[0].expand(len(steps)))
    assert float(THRESHOLDS[len(THRESHOLDS) // 2]) == pytest.approx(0.5)


def test_one_subject_has_no_interval_and_no_row_no_value() -> None:
    probability, label, subject = data()
    (one, *_) = net_benefits(probability, label, torch.zeros_like(subject), num_replicates=10)
    assert math.isnan(one.model.low)
    assert not math.isnan(one.model.value)
    (empty, *_) = net_benefits(probability[:0], label[:0], subject[:0], num_replicates=10)
    assert math.isnan(empty.model.value)
    assert (empty.true_positives, empty.false_positives) == (0, 0)
