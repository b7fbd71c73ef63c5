import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from data_modules.errors import UserError
from mmnar_lightning.metrics import functional

PAIRS = [
    (functional.auroc, sklearn_metrics.roc_auc_score),
    (functional.average_precision, sklearn_metrics.average_precision_score),
    (functional.brier_score, sklearn_metrics.brier_score_loss),
]
ALL = [*(ours for ours, _ in PAIRS), functional.calibration_error]


def sample(num_rows, levels, seed):
    """Informative probabilities on a grid of so many levels, and labels; few levels make heavy ties."""
    generator = np.random.default_rng(seed)
    label = generator.integers(2, size=num_rows)
    label[:2] = 0, 1
    score = np.clip(generator.normal(0.4 + 0.2 * label, 0.25), 0, 1)
    return torch.from_numpy(np.round(score * levels) / levels), torch.from_numpy(label)


@pytest.mark.parametrize("levels", [1, 2, 5, 10**9])
@pytest.mark.parametrize("num_rows", [2, 3, 50, 1001])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_equals_scikit_learn(ours, theirs, num_rows, levels):
    for seed in range(5):
        probability, label = sample(num_rows, levels, seed)
        expected = theirs(label.numpy(), probability.numpy())
        assert ours(probability, label) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [1, 3, 10**9])
@pytest.mark.parametrize("metric", ALL)
def test_row_order_is_immaterial(metric, levels):
    probability, label = sample(301, levels, seed=3)
    by_label = label.argsort(stable=True)
    orders = [by_label, by_label.flip(0), torch.randperm(301, generator=torch.Generator().manual_seed(0))]
    values = [metric(probability[order], label[order]) for order in orders]
    assert values == pytest.approx([metric(probability, label)] * 3, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_sums_are_float64_whatever_the_input(dtype):
    probability, label = sample(5000, 10**9, seed=1)
    probability = probability.to(dtype)
    expected = sklearn_metrics.brier_score_loss(label.numpy(), probability.double().numpy())
    assert functional.brier_score(probability, label.bool()) == pytest.approx(expected, abs=1e-12)


def test_undefined_is_nan():
    probability, nothing = torch.tensor([0.2, 0.7]), torch.zeros(0)
    for one_class in (torch.zeros(2), torch.ones(2)):
        assert math.isnan(functional.auroc(probability, one_class))
    assert math.isnan(functional.average_precision(probability, torch.zeros(2)))
    assert functional.average_precision(probability, torch.ones(2)) == 1.0
    assert all(math.isnan(metric(nothing, nothing)) for metric in ALL)
    assert [len(column) for column in functional.reliability_curve(nothing, nothing)] == [0, 0, 0]


def test_calibration_error_without_ties_equals_equal_splits():
    probability, label = (column.numpy() for column in sample(300, 10**9, seed=5))
    order = probability.argsort()
    order = order[(probability[order] > 0) & (probability[order] < 1)][:240]  # clipped values would tie
    splits = np.split(order, 12)
    expected = np.mean([abs(probability[split].mean() - label[split].mean()) for split in splits])
    ours = functional.calibration_error(torch.tensor(probability[order]), torch.tensor(label[order]), 12)
    assert ours == pytest.approx(expected, abs=1e-12)


def test_calibration_error_weighs_bins_by_their_rows():
    # Bins of 8 rows (gap 0.25) and 2 rows (gap 0.9).
    probability = torch.tensor([0.25] * 8 + [0.9] * 2)
    assert functional.calibration_error(probability, torch.zeros(10), 2) == pytest.approx(0.38)


def test_reliability_curve():
    probability = torch.tensor([0.9, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    label = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0])
    mean_probability, observed_rate, count = functional.reliability_curve(probability, label, num_bins=8)
    assert mean_probability.tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert observed_rate.tolist() == pytest.approx([0, 1 / 6, 1])
    assert count.tolist() == [1, 6, 1]
    assert (mean_probability.dtype, count.dtype) == (torch.float64, torch.int64)


def test_bins_hold_equal_mass_and_never_split_ties():
    probability = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    sizes = functional.equal_mass_bins(probability, 15).bincount(minlength=15)
    assert sizes.max() - sizes.min() <= 1
    coarse = (probability * 7).round() / 7
    bins = functional.equal_mass_bins(coarse, 15)
    assert all(len(bins[coarse == value].unique()) == 1 for value in coarse.unique())


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("probability", "label", "message"),
    [
        ([0.1, 0.2], [1], "shapes"),
        ([[0.1, 0.2]], [[1, 0]], "shapes"),
        ([0.1, 1.5], [1, 0], "1 of 2 probabilities"),
        ([-0.1, 0.5], [1, 0], "1 of 2 probabilities"),
        ([math.nan, math.nan], [1, 0], "2 of 2 probabilities"),
        ([0.1, 0.5], [1, 2], "1 of 2 labels"),
        ([0.1, 0.5], [1, math.nan], "1 of 2 labels"),
    ],
)
def test_refuses_what_is_no_prediction(metric, probability, label, message):
    with pytest.raises(AssertionError if message == "shapes" else UserError, match=message):
        metric(torch.tensor(probability), torch.tensor(label))


def test_refuses_no_bins():
    with pytest.raises(AssertionError, match="num_bins=0"):
        functional.calibration_error(torch.tensor([0.5]), torch.tensor([1]), num_bins=0)
