"""Intervals of few rows, against the equations that their sources state."""

import math

import numpy as np
import pytest
import torch

from mmnar_lightning.metrics import cells
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.differences import recovered_ends, student_ends
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.metrics.parts import design_effect, effective_count, parts_of
from mmnar_lightning.metrics.small_samples import auroc_ends, newcombe_ends, wilson_ends

Z = 1.959963984540054


def variance(theta: float, positives: float, negatives: float) -> float:
    """Hanley and McNeil's variance of an AUROC with the mean of both class sizes in the place of each."""
    mean = (positives + negatives) / 2
    first, second = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    one = theta * (1 - theta) + (mean - 1) * (first - theta**2) + (mean - 1) * (second - theta**2)
    return one / (positives * negatives)


@pytest.mark.parametrize(("value", "positives", "negatives"), [(0.8, 4, 30), (0.3, 12, 7), (0.95, 3, 3)])
def test_both_ends_are_at_z_standard_errors_of_the_end_itself(value, positives, negatives) -> None:
    for end in newcombe_ends(value, [positives], [negatives], [1.0], Z):
        assert abs(value - end) == pytest.approx(Z * math.sqrt(variance(end, positives, negatives)), abs=1e-9)


def test_equal_folds_have_the_width_of_their_mean() -> None:
    one = newcombe_ends(0.5, [400.0], [400.0], [1.0], Z)
    four = newcombe_ends(0.5, [400.0] * 4, [400.0] * 4, [0.25] * 4, Z)
    assert four[1] - four[0] == pytest.approx((one[1] - one[0]) / 2, rel=0.01)


def test_an_auroc_of_one_positive_is_not_certain() -> None:
    probability, label = torch.linspace(0, 1, 20), torch.tensor([0.0] * 19 + [1.0])
    found = metric_intervals(probability, label, torch.arange(20))
    assert (found["auroc"].value, found["auroc"].high) == (1.0, 1.0)
    assert found["auroc"].low < 0.5
    assert found["average_precision"].low < 0.3


@pytest.mark.parametrize(("value", "count"), [(0.0, 8), (0.25, 8), (1.0, 3)])
def test_wilson_has_the_shares_that_the_score_test_just_accepts(value, count) -> None:
    ends = wilson_ends(value, count, Z)
    assert ends[0] <= value <= ends[1]
    assert ends[1] - ends[0] > 0.01
    for end in ends:
        if 0 < end < 1:
            assert (value - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / count, rel=1e-9)
        else:
            assert end == value


def test_copies_of_rows_widen_nothing_and_narrow_nothing() -> None:
    """A subject's copies are one row: their class sizes are divided by the number of copies, but for the prior."""
    generator = np.random.default_rng(0)
    label = np.arange(40) % 4 == 0
    risk = np.clip(0.3 * label + generator.normal(0.4, 0.15, 40), 0, 1)
    once = parts_of(torch.from_numpy(risk), torch.from_numpy(label), torch.arange(40))
    copies = [torch.from_numpy(column).repeat_interleave(3) for column in (risk, label, np.arange(40))]
    again = parts_of(*copies)
    assert auroc_ends(again, 0.8, Z) == pytest.approx(auroc_ends(once, 0.8, Z), abs=1e-6)
    assert again.few() == pytest.approx(once.few()) == pytest.approx(10)
    torn = parts_of(copies[0], copies[1], torch.arange(120))
    ends, whole = auroc_ends(torn, 0.8, Z), auroc_ends(once, 0.8, Z)
    assert ends[1] - ends[0] < 0.7 * (whole[1] - whole[0])


def test_repeats_of_the_same_rows_narrow_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    label, subject = (torch.arange(60) % 6 == 0).double(), torch.arange(60) // 2
    risk = (0.2 * label + 0.6 * torch.rand(60, generator=generator)).double()
    once = metric_intervals(risk, label, subject)
    repeat = torch.arange(2).repeat_interleave(60)
    twice = metric_intervals(risk.repeat(2), label.repeat(2), subject.repeat(2), repeat=repeat)
    for name in ("auroc", "average_precision", "brier"):
        assert twice[name].num_parts == 2
        ends = [(found[name].value, found[name].low, found[name].high) for found in (once, twice)]
        assert ends[1] == pytest.approx(ends[0], abs=1e-9), name
    for name in ("calibration_error", "observed_expected", "calibration_slope", "calibration_intercept"):
        widths = [found[name].high - found[name].low for found in (once, twice)]
        assert widths[1] > 0.9 * widths[0], name


def test_the_design_effect_follows_the_correlation_and_is_careful_with_few_subjects() -> None:
    subject = np.arange(400).repeat(3)
    generator = np.random.default_rng(2)
    between, own = generator.normal(size=400).repeat(3), generator.normal(size=1200)
    assert design_effect(own, subject) == pytest.approx(1.0, abs=0.15)
    assert design_effect((between + own) / math.sqrt(2), subject) == pytest.approx(2.0, abs=0.15)
    assert design_effect(own[:6], subject[:6]) > 2, "two subjects do not show that their rows are independent"
    assert effective_count(subject) == pytest.approx(400)


def test_a_brier_score_without_positives_allows_for_some() -> None:
    probability, label = torch.full((20,), 0.02, dtype=torch.float64), torch.zeros(20)
    found = metric_intervals(probability, label, torch.arange(20))["brier"]
    assert found.value == pytest.approx(0.0004)
    assert found.high > 0.1, "three in twenty are positive as often as one in twenty-five times"
    assert found.low <= found.value


def test_the_bootstrap_takes_over_where_enough_rows_are_known() -> None:
    generator = torch.Generator().manual_seed(3)
    for positives, method in ((29, "newcombe"), (30, "bootstrap")):
        label = (torch.arange(200) < positives).double()
        found = metric_intervals(torch.rand(200, generator=generator), label, torch.arange(200), num_replicates=50)
        assert found["auroc"].method == method
        assert (found["auroc"].num_defined == 50) == (method == "bootstrap")


def pair(positives: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    label = (torch.arange(80) < positives).double()
    first, second = (0.2 * label + 0.8 * torch.rand(80, generator=generator, dtype=torch.float64) for _ in range(2))
    return first, second, label, torch.arange(80)


@pytest.mark.parametrize(("positives", "method"), [(2, "recovered"), (12, "student"), (35, "bootstrap")])
def test_a_difference_of_few_rows_is_never_narrower_than_its_percentiles(positives, method, monkeypatch) -> None:
    found = paired_difference(*pair(positives, seed=4), num_replicates=200)
    monkeypatch.setattr(cells, "FEW", 0)
    plain = paired_difference(*pair(positives, seed=4), num_replicates=200)
    assert found.pop("calibration_error").method == "recovered"
    for name, interval in found.items():
        assert interval.method == method
        assert interval.low <= plain[name].low
        assert interval.high >= plain[name].high
        assert (interval.high - interval.low > plain[name].high - plain[name].low) == (method != "bootstrap")


def test_folds_of_few_positives_have_no_interval_of_average_precision_at_any_size() -> None:
    generator = torch.Generator().manual_seed(6)
    subject = torch.arange(2000)
    for folds, rate, methods in (
        (5, 0.09, (None, "bootstrap")), (5, 0.2, (None, "delong")), (1, 0.09, ("bootstrap",) * 2),
        (2, 0.1, ("influence", "delong")), (5, 0.25, ("influence", "delong")),
    ):  # fmt: skip
        label = (subject % 100 < 100 * rate).double()
        risk = (label + 2 * torch.rand(2000, generator=generator)) / 3
        found = metric_intervals(risk, label, subject, fold=subject // 100 % folds, num_replicates=20)
        assert (found["average_precision"].method, found["auroc"].method) == methods


def test_a_difference_over_folds_of_two_positives_rests_on_both_intervals() -> None:
    first, second, label, subject = pair(12, seed=4)
    assert paired_difference(first, second, label, subject, num_replicates=50)["auroc"].method == "student"
    folds = paired_difference(first, second, label, subject, fold=subject % 5, num_replicates=50)
    assert folds["auroc"].method == "recovered"


def test_methods_that_order_rows_alike_do_not_differ_by_order() -> None:
    first, _, label, subject = pair(5, seed=5)
    found = paired_difference(first, first.square(), label, subject, num_replicates=50)
    assert (found["auroc"].low, found["auroc"].high) == (0.0, 0.0)
    assert found["brier"].low < found["brier"].high
    folds = paired_difference(first, first.square(), label, subject, fold=subject // 4, num_replicates=50)["auroc"]
    assert folds.low < 0 < folds.high, "four rows are in the same order by chance"


def test_a_difference_recovers_both_variances() -> None:
    apart = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    alone = [(0.6, 0.9), (0.4, 0.8)]
    ends = recovered_ends((0.8, 0.6), alone, apart)
    assert ends == pytest.approx((0.2 - math.hypot(0.2, 0.2), 0.2 + math.hypot(0.1, 0.2)))
    together = recovered_ends((0.8, 0.6), alone, apart[[0, 3]])
    assert together == pytest.approx((0.2, 0.2 + 0.1))
    assert student_ends(0.0, np.array([-1.0, 1.0]), 2, 0.95)[1] == pytest.approx(12.706 * math.sqrt(2), rel=1e-3)
