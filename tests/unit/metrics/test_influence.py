"""Analytic intervals of many rows: derivatives by the weight of a subject, DeLong's error, and what few rows share."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from mmnar_lightning.metrics import cells
from mmnar_lightning.metrics.bootstrap import ERROR, METRICS, draw_each, samples_of
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.delong import delong
from mmnar_lightning.metrics.influence import drawn_errors, linear
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.metrics.parts import parts_of
from mmnar_lightning.metrics.weighted import WeightedRows

Z = 1.959963984540054


def rows(seed: int, count: int = 150, levels: int = 10**9, folds: int = 1) -> tuple[torch.Tensor, ...]:
    """Two methods, labels, subjects of several rows, and folds of them."""
    generator = np.random.default_rng(seed)
    label, subject = generator.integers(2, size=count), generator.integers(count // 2, size=count)
    scores = [np.clip(generator.normal(0.4 + 0.2 * label, 0.25), 0, 1) for _ in range(2)]
    rounded = [np.round(score * levels) / levels for score in scores]
    return tuple(torch.from_numpy(column) for column in (*rounded, label.astype(float), subject, subject % folds))


@pytest.mark.parametrize("levels", [5, 10**9])
def test_an_influence_is_the_derivative_by_the_weight_of_a_subject(levels: int) -> None:
    probability, _, label, subject, _ = rows(1, levels=levels)
    sample = WeightedRows.of(probability, label, subject)
    number, large = len(sample.names), 10_000
    steps = [np.full((number, number), large) + sign * np.eye(number, dtype=int) for sign in (1, -1)]
    up, down = (sample.metrics(step.astype(float), calibrated=False)[:, :3] for step in steps)
    expected = (up - down) / 2 * large
    assert linear([[sample]]).influence[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("folds", [1, 3])
def test_the_error_of_auroc_is_that_of_delong_with_clusters(folds: int) -> None:
    first, second, label, subject, fold = rows(2, folds=folds)
    own, other = (linear(samples_of(one, label, subject, fold, None)) for one in (first, second))
    difference, error = delong(first, second, label, subject, fold=fold)
    assert own.minus(other).values[0] == pytest.approx(difference)
    by_fold = [torch.unique(subject[fold == number]).numel() for number in range(folds)]
    scale = max(size / (size - 1) for size in by_fold)
    assert error * 0.99 <= own.minus(other).error[0] <= error * scale


@pytest.mark.parametrize("folds", [1, 5])
def test_analytic_ends_are_near_those_of_many_replicates(folds: int, monkeypatch) -> None:
    first, second, label, subject, fold = rows(3, count=3000, folds=folds)
    columns: dict[str, Any] = {"fold": fold, "num_replicates": 2000}
    found = metric_intervals(first, label, subject, **columns)
    pair = paired_difference(first, second, label, subject, **columns)
    monkeypatch.setattr(cells, "MANY", np.inf)
    drawn = metric_intervals(first, label, subject, **columns)
    drawn_pair = paired_difference(first, second, label, subject, **columns)
    for name in ("auroc", "average_precision", "brier"):
        for ours, theirs in ((found[name], drawn[name]), (pair[name], drawn_pair[name])):
            assert (ours.method, theirs.method) == (cells.LINEAR[name], "bootstrap")
            assert (ours.num_defined, ours.num_parts) == (0, theirs.num_parts)
            assert ours.value == pytest.approx(theirs.value, abs=1e-12)
            assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.08)
    error, expected = pair["calibration_error"], drawn_pair["calibration_error"]
    assert error.method == "recovered"
    assert error.value == pytest.approx(expected.value)
    assert (error.low, error.high) == pytest.approx((expected.low, expected.high), abs=0.1 * (error.high - error.low))
    assert [name for name in METRICS[3:] if found[name] != drawn[name]] == []


def test_auroc_has_the_ends_of_its_logit_and_no_other_end_leaves_the_range() -> None:
    first, _, label, subject, _ = rows(4, count=1000)
    found = metric_intervals(first, label, subject)["auroc"]
    error = linear(samples_of(first, label, subject, None, None)).error[0]
    half = Z * error / found.value / (1 - found.value)
    assert (found.low, found.high) == pytest.approx(tuple(expit(logit(found.value) + half * np.array([-1, 1]))))
    sure = metric_intervals(0.001 + 0.998 * label, label, subject)
    assert (sure["auroc"].method, sure["average_precision"].method) == ("newcombe", "wilson")
    assert sure["auroc"].low < sure["auroc"].value == 1.0, "a perfect order of many rows is not certain"


def test_the_rule_begins_at_a_number_of_effective_rows() -> None:
    generator = torch.Generator().manual_seed(3)
    for positives, method in ((cells.MANY - 1, "bootstrap"), (cells.MANY, "delong")):
        label = (torch.arange(600) < positives).double()
        found = metric_intervals(torch.rand(600, generator=generator), label, torch.arange(600), num_replicates=20)
        assert (found["auroc"].method, found["auroc"].num_defined > 0) == (method, method == "bootstrap")
    copies = torch.arange(600) // 2
    assert metric_intervals(torch.rand(600), label, copies, num_replicates=20)["auroc"].method == "bootstrap"


def test_a_fold_of_one_subject_takes_the_analytic_interval_away_as_the_bootstrap_does() -> None:
    first, second, label, subject, fold = rows(5, count=1200, folds=3)
    subject = torch.where(fold == 0, 10_000, subject)
    found = metric_intervals(first, label, subject, fold=fold, num_replicates=20)
    difference = paired_difference(first, second, label, subject, fold=fold, num_replicates=20)
    assert parts_of(first, label, subject, fold).few() >= cells.MANY
    for one in (known[name] for known in (found, difference) for name in cells.LINEAR):
        assert one.value == one.value
        assert one.method is None


def test_equal_methods_do_not_differ() -> None:
    first, _, label, subject, _ = rows(6, count=1000)
    for interval in paired_difference(first, first.clone(), label, subject, num_replicates=50).values():
        assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_normal_sums_of_bins_vary_as_drawn_subjects_do() -> None:
    first, second, label, subject, fold = rows(7, count=3000, folds=2)
    near = (0.9 * first + 0.1 * second).clamp(0, 1)
    samples = [samples_of(one, label, subject, fold, None) for one in (first, near)]
    ours = drawn_errors(samples, 4000, seed=1)
    theirs = np.stack([one.replicates[:, ERROR] for one in draw_each(samples, num_replicates=2000, seed=1)], axis=1)
    assert ours.std(0) == pytest.approx(theirs.std(0), rel=0.1)
    correlation = np.corrcoef(theirs.T)[0, 1]
    assert correlation > 0.3
    assert np.corrcoef(ours.T)[0, 1] == pytest.approx(correlation, abs=0.1)
    assert ours.mean(0) == pytest.approx(theirs.mean(0), rel=0.1, abs=0.02)
    assert np.array_equal(ours, drawn_errors(samples, 4000, seed=1))


def uneven(seed: int, positives: list[int]) -> tuple[torch.Tensor, ...]:
    """A method, labels, subjects and folds with these numbers of positives and 150 negatives each."""
    generator = np.random.default_rng(seed)
    label = np.concatenate([[1.0] * own + [0.0] * 150 for own in positives])
    fold = np.repeat(np.arange(len(positives)), [own + 150 for own in positives])
    score = expit(generator.normal(label - 1, 1))
    return tuple(torch.from_numpy(column) for column in (score, label, np.arange(len(label)), fold))


def test_a_fold_of_few_rows_has_no_analytic_interval_and_is_not_taken_for_certain() -> None:
    ratios = []
    for seed in range(6):
        probability, label, subject, fold = uneven(seed, [60, 60, 60, 60, 1])
        found = metric_intervals(probability, label, subject, fold=fold, num_replicates=100)["auroc"]
        certain = linear(samples_of(probability, label, subject, fold, None)).error[0]
        ratios.append((found.high - found.low) / (2 * Z * certain))
        paired = paired_difference(probability, 1 - probability, label, subject, fold=fold, num_replicates=10)
        assert "delong" not in {found.method, paired["auroc"].method}
    assert np.mean(ratios) > 1.2
    probability, label, subject, fold = uneven(0, [60, 60, 60, 60, 40])
    assert metric_intervals(probability, label, subject, fold=fold)["auroc"].method == "delong"


@pytest.mark.parametrize("positives", [60, 250])
def test_a_difference_of_two_methods_that_do_not_vary_has_a_width(positives: int) -> None:
    label = torch.tensor([1.0] * positives + [0.0] * 350, dtype=torch.float64)
    found = paired_difference(label, torch.full_like(label, 0.5), label, torch.arange(len(label)), num_replicates=200)
    assert found["auroc"].value == 0.5
    assert found["auroc"].low < 0.5 < found["auroc"].high
    assert found["auroc"].method == "recovered"


@pytest.mark.parametrize(("folds", "each"), [(50, 6), (5, 12)])
def test_where_the_average_precision_of_folds_has_no_interval_its_difference_has_none(folds: int, each: int) -> None:
    probability, label, subject, fold = uneven(5, [each] * folds)
    alone = metric_intervals(probability, label, subject, fold=fold, num_replicates=50)["average_precision"]
    other = torch.from_numpy(np.random.default_rng(6).permutation(probability.numpy()))
    paired = paired_difference(probability, other, label, subject, fold=fold, num_replicates=50)["average_precision"]
    assert (alone.method, paired.method) == (None, None)
    assert np.isnan([alone.low, paired.low]).all()
    assert paired.value > 0
