"""Metrics of numbers against scikit-learn and plain replication; their intervals cluster by subject."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as students_t
from sklearn import metrics

from mmnar_lightning.metrics.pattern import PatternMetric, mask_small_cells
from mmnar_lightning.metrics.values import FEW_SUBJECTS, VALUE_METRICS, value_intervals, value_metrics

GENERATOR = torch.Generator().manual_seed(3)
PREDICTED, VALUE = (torch.randn(60, generator=GENERATOR, dtype=torch.float64) for _ in range(2))


def named(predicted: torch.Tensor, value: torch.Tensor, **others: torch.Tensor) -> dict[str, float]:
    return dict(zip(VALUE_METRICS, value_metrics(predicted, value, **others)[0].tolist(), strict=True))


def test_the_metrics_are_those_of_scikit_learn():
    found = named(PREDICTED + 1000, VALUE + 1000)
    both = VALUE + 1000, PREDICTED + 1000
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(*both))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(*both))
    assert found["r2"] == pytest.approx(metrics.r2_score(*both))
    assert found["mean_error"] == pytest.approx(float((PREDICTED - VALUE).mean()))


def test_a_weight_repeats_a_row():
    times = torch.randint(0, 4, (60,), generator=GENERATOR)
    repeated = [column.repeat_interleave(times) for column in (PREDICTED, VALUE)]
    assert named(PREDICTED, VALUE, weight=times[None].double()) == pytest.approx(named(*repeated))


def test_without_variation_only_r2_is_undefined_and_without_rows_all_are():
    found = named(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0]))
    assert math.isnan(found.pop("r2"))
    assert not any(map(math.isnan, found.values()))
    assert all(map(math.isnan, named(torch.zeros(0), torch.zeros(0)).values()))


def width(subject: torch.Tensor, metric: str, *, predicted: torch.Tensor, value: torch.Tensor) -> float:
    found = value_intervals(predicted, value, subject, num_replicates=400)[metric]
    assert found.method == ("bootstrap" if metric == "r2" else "studentised")
    assert found.low < found.value < found.high
    return found.high - found.low


@pytest.mark.parametrize("metric", VALUE_METRICS)
def test_repeated_rows_of_a_subject_add_no_information(metric):
    twice = torch.arange(60).repeat(4)
    columns = {"predicted": PREDICTED.repeat(4), "value": VALUE.repeat(4)}
    once = width(torch.arange(60), metric, predicted=PREDICTED, value=VALUE)
    assert width(twice, metric, **columns) == pytest.approx(once, rel=1e-9)
    assert width(torch.arange(240), metric, **columns) < 0.65 * once


def test_of_normal_errors_the_interval_of_the_mean_is_near_students():
    found = value_intervals(PREDICTED, VALUE, torch.arange(60), num_replicates=4000)["mean_error"]
    error = (PREDICTED - VALUE).numpy()
    ends = students_t.interval(0.95, 59, loc=error.mean(), scale=error.std(ddof=1) / np.sqrt(60))
    assert (found.low, found.high) == pytest.approx(ends, abs=0.05)


def test_of_few_subjects_squares_have_no_interval():
    few = FEW_SUBJECTS - 1
    found = value_intervals(PREDICTED[:few], VALUE[:few], torch.arange(few))
    assert found["mean_error"].method == found["mae"].method == "studentised"
    assert found["rmse"].method is found["r2"].method is None
    assert not math.isnan(found["rmse"].value)


def test_equal_errors_have_no_interval():
    value = torch.arange(40.0)
    assert value_intervals(value + 1, value, torch.arange(40))["mean_error"].method is None


def test_a_single_subject_has_no_interval():
    found = value_intervals(PREDICTED, VALUE, torch.zeros(60, dtype=torch.int64))
    assert {interval.method for interval in found.values()} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [20, 100])
def test_intervals_of_the_mean_error_cover_with_a_long_tail(subjects):
    generator, covered = np.random.default_rng(7), 0
    for seed in range(300):
        value = torch.from_numpy(generator.lognormal(0, 0.8, subjects) - math.exp(0.32))
        columns = (torch.zeros(subjects), value, torch.arange(subjects))
        found = value_intervals(*columns, num_replicates=300, seed=seed)["mean_error"]
        covered += found.low <= 0 <= found.high
    assert covered >= 0.9 * 300


def metric_of(present: torch.Tensor) -> dict[str, float]:
    metric = PatternMetric(["days"], ["labs", "notes"], [3, 1], deviations=[2.0])
    metric.update(
        row_id=torch.arange(60),
        subject=torch.arange(60),
        present=present,
        logits=PREDICTED[:, None],
        label=VALUE[:, None],
        label_mask=torch.arange(60)[:, None] > 3,
    )
    return metric.compute()


def test_the_metric_of_a_run_scores_numbers_in_their_units_by_pattern():
    present = torch.stack([torch.ones(60, dtype=torch.bool), torch.arange(60) % 2 == 0], dim=1)
    values = metric_of(present)
    known = torch.arange(60) > 3
    with_notes = known & present[:, 1]
    assert values["mae/days"] == pytest.approx(2 * float((PREDICTED - VALUE)[known].abs().mean()))
    assert values["rmse/days/11"] == pytest.approx(2 * float(((PREDICTED - VALUE)[with_notes] ** 2).mean() ** 0.5))
    assert values["count/days/11"] == float(with_notes.sum())
    assert values["r2"] == values["r2/days"]
    assert values["mse"] == pytest.approx(float(((PREDICTED - VALUE)[known] ** 2).mean()))


def test_small_cells_of_numbers_are_masked_with_one_that_they_would_follow_from():
    present = torch.stack([torch.ones(60, dtype=torch.bool), torch.arange(60) >= 9], dim=1)
    shown = mask_small_cells(metric_of(present), min_count=10)
    assert not math.isnan(shown["mae/days"])
    assert all(math.isnan(shown[f"mae/days/{pattern}"]) for pattern in ("11", "10"))
