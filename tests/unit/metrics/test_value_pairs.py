"""Paired differences of predicted numbers: by other code, their coverage, and their test."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmnar_lightning.metrics.value_pairs import paired_error_test, paired_value_differences
from mmnar_lightning.metrics.values import VALUE_METRICS, value_intervals


def sample(generator: np.random.Generator, subjects: int = 60, better: float = 1.0) -> tuple[torch.Tensor, ...]:
    """Two methods, whose errors share a part of each subject; those of the second are `better` times as large."""
    subject = np.repeat(np.arange(subjects), generator.integers(1, 4, subjects))
    own = generator.normal(size=subjects)[subject]
    value = generator.exponential(3, len(subject))
    errors = [own + generator.normal(size=len(subject)) for _ in range(2)]
    columns = (value + errors[0], value + better * errors[1], value, subject)
    return tuple(torch.from_numpy(np.asarray(column)) for column in columns)


def test_the_differences_are_those_of_the_metrics() -> None:
    first, second, value, subject = sample(np.random.default_rng(0))
    found = paired_value_differences(first, second, value, subject, num_replicates=100)
    one, other = (value_intervals(own, value, subject, num_replicates=100) for own in (first, second))
    for name in VALUE_METRICS:
        assert found[name].value == pytest.approx(one[name].value - other[name].value)
        assert found[name].low < found[name].value < found[name].high


def test_an_interval_of_pairs_is_narrower_than_that_of_a_method() -> None:
    first, _, value, subject = sample(np.random.default_rng(1), 200)
    near = first + 0.1 * torch.from_numpy(np.random.default_rng(2).normal(size=len(first)))
    found = paired_value_differences(first, near, value, subject)
    alone = value_intervals(first, value, subject)
    for name in ("mae", "rmse"):
        assert found[name].high - found[name].low < 0.3 * (alone[name].high - alone[name].low)


def test_a_single_row_of_each_subject_gives_the_paired_t_test() -> None:
    first, second, value, _ = sample(np.random.default_rng(3))
    subject = torch.arange(len(value))
    one, other = ((own - value).abs().numpy() for own in (first, second))
    assert paired_error_test(first, second, value, subject) == pytest.approx(stats.ttest_rel(one, other).pvalue)


def test_rows_that_are_repeated_prove_no_more() -> None:
    first, second, value, subject = sample(np.random.default_rng(4), better=1.3)
    once = paired_error_test(first, second, value, subject)
    again = [torch.cat([own, own]) for own in (first, second, value, subject)]
    assert paired_error_test(*again) == pytest.approx(once)
    drawn = [
        paired_value_differences(*rows, num_replicates=200)["rmse"] for rows in ((first, second, value, subject), again)
    ]
    assert drawn[0].low == pytest.approx(drawn[1].low)


def test_equal_methods_are_seldom_different_and_intervals_hold_zero() -> None:
    generator, rejected, held = np.random.default_rng(5), 0, dict.fromkeys(VALUE_METRICS, 0)
    times = 300
    for _ in range(times):
        rows = sample(generator)
        rejected += paired_error_test(*rows) < 0.05
        found = paired_value_differences(*rows, num_replicates=200)
        for name in VALUE_METRICS:
            held[name] += found[name].low < 0 < found[name].high
    assert 0.02 < rejected / times < 0.09
    assert all(0.9 < own / times < 0.98 for own in held.values()), held


def test_few_subjects_have_no_interval_of_squares() -> None:
    first, second, value, subject = sample(np.random.default_rng(6), 20)
    found = paired_value_differences(first, second, value, subject, num_replicates=100)
    assert np.isnan(found["rmse"].low)
    assert np.isnan(found["r2"].low)
    assert not np.isnan(found["mae"].low)
