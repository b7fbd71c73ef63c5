"""Calibration of a cell: values against plain fits, and no bias by the size of the cell."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mmnar_lightning.metrics import calibration, functional, profile, slope_fit
from mmnar_lightning.metrics.parts import Parts, parts_of

Z = 1.96


def drawn(rows: int, seed: int, shift: float = 0.0, factor: float = 1.0) -> Parts:
    """Rows of a model whose logits are the true ones times `factor` plus `shift`."""
    generator = np.random.default_rng(seed)
    true = generator.normal(-0.5, 1.2, rows)
    label = generator.random(rows) < expit(true)
    columns = expit(factor * true + shift), label.astype(float), np.arange(rows)
    return parts_of(*(torch.from_numpy(column) for column in columns))


@pytest.mark.parametrize("rows", [20, 60, 200, 1000])
def test_a_calibrated_model_has_hardly_an_error_at_any_size(rows: int) -> None:
    found = [calibration.calibration_error(drawn(rows, seed), Z) for seed in range(60)]
    plain = [_plain(drawn(rows, seed)) for seed in range(60)]
    assert np.mean([value for value, _ in found]) < min(0.06, 0.4 * np.mean(plain))
    assert np.mean([low == 0 for _, (low, _) in found]) > 0.9


@pytest.mark.parametrize("rows", [60, 200, 1000])
def test_an_error_that_is_there_is_kept(rows: int) -> None:
    true = _plain(drawn(100_000, 0, shift=1.0))
    found = [calibration.calibration_error(drawn(rows, seed, shift=1.0), Z) for seed in range(60)]
    assert true > 0.15
    assert np.mean([value for value, _ in found]) == pytest.approx(true, abs=0.02)
    assert np.mean([low <= true <= high for _, (low, high) in found]) > 0.88


def _plain(parts: Parts) -> float:
    return functional.calibration_error(torch.from_numpy(parts.probability), torch.from_numpy(parts.label))


def test_observed_over_expected_solves_its_score_equation() -> None:
    parts = drawn(50, 1)
    value, ends = calibration.observed_expected(parts, Z)
    expected, squares = parts.probability.sum(), (parts.probability**2).sum()
    assert value == pytest.approx(parts.label.sum() / expected)
    for ratio in ends:
        spread = ratio * expected - ratio**2 * squares
        inflation = (parts.label.sum() - ratio * expected) ** 2 / (Z**2 * spread)
        assert 1 <= inflation < 1.4
    none = parts_of(torch.full((30,), 0.1), torch.zeros(30), torch.arange(30))
    value, (low, high) = calibration.observed_expected(none, Z)
    assert (value, low) == (0.0, 0.0)
    assert 0.8 < high < 1.2, "with three expected, none is observed one time in twenty"


def test_the_intercept_is_that_of_the_penalised_likelihood() -> None:
    parts = drawn(40, 2, shift=0.7)
    value, (low, high) = calibration.intercept(parts, Z)
    risk = expit(logit(parts.probability) + value)
    weight = risk * (1 - risk)
    assert float((parts.label - risk).sum() + (weight * (0.5 - risk)).sum() / weight.sum()) == pytest.approx(
        0, abs=1e-4
    )
    assert low < -0.7 < high
    without = parts_of(torch.full((30,), 0.1), torch.zeros(30), torch.arange(30))
    value, (low, high) = calibration.intercept(without, Z)
    assert low < value < high < 1


def test_the_slope_is_that_of_a_logistic_regression_and_finite_where_that_is_not() -> None:
    parts = drawn(4000, 3, factor=1.5)
    fitted = LogisticRegression(C=np.inf).fit(logit(parts.probability)[:, None], parts.label)
    value, (low, high) = calibration.slope(parts, Z)
    assert value == pytest.approx(float(fitted.coef_[0, 0]), rel=0.01)
    assert low < 1 / 1.5 < high
    apart = parts_of(torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7]), torch.tensor([0, 0, 0, 1, 1]), torch.arange(5))
    value, (low, high) = calibration.slope(apart, Z)
    assert all(math.isfinite(number) for number in (value, low, high))
    assert low < value < high


def test_a_slope_over_folds_compares_no_rows_of_two_folds() -> None:
    """Each fold's model is wrong by a constant, against the rate of its fold."""
    generator = np.random.default_rng(4)
    fold = np.arange(6000) % 3
    shift, own = np.array([-2.0, 0.0, 2.0])[fold], generator.normal(size=6000)
    label = (generator.random(6000) < expit(own + shift)).astype(float)
    columns = [torch.from_numpy(column) for column in (expit(own - shift), label, np.arange(6000), fold)]
    value, (low, high) = calibration.slope(parts_of(*columns), Z)
    assert low < 1 < high
    assert value == pytest.approx(1, abs=0.1)
    assert calibration.slope(parts_of(*columns[:3]), Z)[0] < 0.3


def test_what_is_undefined_is_nan_without_an_interval() -> None:
    empty = parts_of(torch.zeros(0), torch.zeros(0), torch.zeros(0))
    estimates = (
        calibration.calibration_error,
        calibration.observed_expected,
        calibration.intercept,
        calibration.slope,
    )
    for estimate in estimates:
        value, ends = estimate(empty, Z)
        assert all(math.isnan(number) for number in (value, *ends))
    constant = parts_of(torch.full((4,), 0.5), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    assert math.isnan(calibration.slope(constant, Z)[0])


@pytest.mark.parametrize("folds", [1, 4])
@pytest.mark.parametrize(("shift", "factor"), [(0.0, 1.0), (1.5, 0.4), (-1.0, -0.7)])
def test_newtons_method_finds_what_a_search_of_the_whole_range_finds(folds, shift, factor, monkeypatch) -> None:
    one = drawn(1500, 5, shift=shift, factor=factor).rows[0]
    probability, label, subject = (torch.from_numpy(column) for column in (one.probability, one.label, one.subject))
    parts = parts_of(probability, label, subject, subject % folds)
    found = [getattr(calibration, name)(parts, Z) for name in ("intercept", "slope")]
    monkeypatch.setattr(profile, "NEWTON_ROWS", 10**6)
    searched = [getattr(calibration, name)(parts, Z) for name in ("intercept", "slope")]
    for (value, ends), (expected, expected_ends) in zip(found, searched, strict=True):
        assert (value, *ends) == pytest.approx((expected, *expected_ends), abs=1e-7)


def test_newtons_method_takes_a_few_steps(monkeypatch) -> None:
    parts, places = drawn(1500, 6, factor=2.0), []
    at = slope_fit.Regression.at
    monkeypatch.setattr(slope_fit.Regression, "at", lambda self, slope: (places.append(slope), at(self, slope))[1])
    calibration.slope(parts, Z)
    assert len(set(places)) < 20
    places.clear()
    monkeypatch.setattr(profile, "NEWTON_ROWS", 10**6)
    calibration.slope(parts, Z)
    assert len(set(places)) > 20
