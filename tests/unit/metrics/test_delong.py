"""DeLong's test, beside loops over pairs, and over clusters as Obuchowski writes them; Holm's correction."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mmnar_lightning.metrics.delong import delong, holm, p_value


def rows(seed: int, num_subjects: int = 60, rows_each: int = 1, gap: float = 0.5):
    """Two methods on clustered rows; the first reads more of the outcome."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(num_subjects), rows_each)
    label = np.repeat(generator.random(num_subjects) < 0.4, rows_each).astype(float)
    shared = np.repeat(generator.normal(size=num_subjects), rows_each)
    noise = generator.normal(size=(2, len(subject)))
    first, second = (label * (1 + gap * (place == 0)) + shared + noise[place] for place in range(2))
    squash = [1 / (1 + np.exp(-np.round(own, 1))) for own in (first, second)]
    return *(torch.from_numpy(own) for own in squash), torch.from_numpy(label), torch.from_numpy(subject)


def slow(first, second, label, subject):
    """Structural components from all pairs, and Obuchowski's variance of clusters."""
    first, second, label, subject = (column.numpy() for column in (first, second, label, subject))
    positive, negative = np.flatnonzero(label > 0), np.flatnonzero(label == 0)
    wins = []
    for own in (first, second):
        pairs = own[positive][:, None] - own[negative][None]
        wins.append((pairs > 0) + 0.5 * (pairs == 0))
    gap = wins[0] - wins[1]
    difference = gap.mean()
    names = np.unique(subject)
    total = []
    for name in names:
        own = gap[subject[positive] == name].mean(1) - difference
        other = gap[:, subject[negative] == name].mean(0) - difference
        total.append(own.sum() / len(positive) + other.sum() / len(negative))
    return difference, math.sqrt(len(names) / (len(names) - 1) * np.sum(np.square(total)))


@pytest.mark.parametrize("rows_each", [1, 4])
def test_it_equals_a_loop_over_all_pairs_and_subjects(rows_each: int) -> None:
    data = rows(3, rows_each=rows_each)
    assert delong(*data) == pytest.approx(slow(*data), abs=1e-12)


def test_it_has_the_variance_of_delong_where_every_subject_has_one_row() -> None:
    first, second, label, subject = rows(5, num_subjects=400)
    positive, negative = label > 0, label == 0
    components = []
    for own in (first, second):
        pairs = own[positive][:, None] - own[negative][None]
        wins = (pairs > 0).double() + 0.5 * (pairs == 0)
        components.append((wins.mean(1), wins.mean(0)))
    parts = [
        (components[0][side] - components[1][side]).var() / count
        for side, count in ((0, positive.sum()), (1, negative.sum()))
    ]
    assert delong(first, second, label, subject)[1] == pytest.approx(float(sum(parts)) ** 0.5, rel=0.01)


def test_it_depends_on_no_order_of_the_rows() -> None:
    data = rows(7, rows_each=3)
    order = torch.randperm(180, generator=torch.Generator().manual_seed(0))
    assert delong(*(column[order] for column in data)) == pytest.approx(delong(*data), abs=1e-12)


def test_folds_are_ranked_apart_and_averaged() -> None:
    one, other = rows(8), rows(9)
    joined = [torch.cat([a, b]) for a, b in zip(one, other, strict=True)]
    joined[3][60:] += 60
    joined[0][60:] = joined[0][60:] / 2  # another model: its scale must not matter
    fold = torch.arange(120) // 60
    expected = [delong(*own) for own in (one, other)]
    difference, error = delong(*joined, fold=fold)
    assert difference == pytest.approx(np.mean([own for own, _ in expected]))
    assert error == pytest.approx(math.hypot(*(own for _, own in expected)) / 2, rel=0.02)


def test_equal_methods_are_rejected_at_the_nominal_rate_although_rows_are_clustered() -> None:
    rejected = 0
    for seed in range(300):
        data = rows(seed, rows_each=5, gap=0.0)
        rejected += p_value(*delong(*data)) < 0.05
    assert 0.02 <= rejected / 300 <= 0.09


def test_a_single_class_or_subject_has_no_test() -> None:
    first, second, label, subject = rows(1)
    assert all(math.isnan(value) for value in delong(first, second, torch.zeros(60), subject))
    difference, error = delong(first, second, label, torch.zeros_like(subject))
    assert not math.isnan(difference)
    assert math.isnan(p_value(difference, error))


def test_p_values_are_two_sided() -> None:
    assert p_value(-0.1, 0.05) == p_value(0.1, 0.05) == pytest.approx(2 * norm.cdf(-2))


def test_holm_is_the_definition_and_leaves_out_what_is_no_test() -> None:
    values = [0.01, math.nan, 0.04, 0.03, 0.005]
    ordered = sorted(value for value in values if not math.isnan(value))
    expected = {}
    for place, value in enumerate(ordered):
        steps = [(len(ordered) - earlier) * ordered[earlier] for earlier in range(place + 1)]
        expected[value] = min(1.0, max(steps))
    found = holm(values).tolist()
    assert math.isnan(found[1])
    assert [found[place] for place in (0, 2, 3, 4)] == pytest.approx(
        [expected[values[place]] for place in (0, 2, 3, 4)]
    )
