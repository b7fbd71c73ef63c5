"""The largest gap against loops over levels, pairs and replicates, and what its interval covers."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from mmnar_lightning.metrics import calibration, gaps
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.gaps import largest_gaps
from mmnar_lightning.metrics.parts import parts_of


def data(rows=600, levels=3, seed=0, spread=0.0):
    """Risks whose discrimination and level differ between levels by `spread`; a subject has rows in several."""
    generator = np.random.default_rng(seed)
    level = generator.integers(levels, size=rows)
    logit = generator.normal(size=rows)
    slope = 1 + spread * (level - 1)
    label = generator.random(rows) < 1 / (1 + np.exp(-slope * logit - spread * level))
    probability = 1 / (1 + np.exp(-np.round(logit, 1)))
    columns = probability, label.astype(float), np.arange(rows) // 2, level
    return [torch.from_numpy(np.asarray(column)) for column in columns]


def auroc(probability, label, weight):
    positive, negative = label > 0, label == 0
    above = (probability[positive][:, None] > probability[negative]) + 0.5 * (
        probability[positive][:, None] == probability[negative]
    )
    pairs = weight[positive][:, None] * weight[negative]
    return float((pairs * above).sum() / pairs.sum())


def step(probability, label, weight, shift):
    risk = 1 / (1 + np.exp(-np.log(probability / (1 - probability)) - shift))
    return shift + float((weight * (label - risk)).sum() / (weight * risk * (1 - risk)).sum())


def by_hand(columns, num_replicates, seed):
    """Every pair and replicate in a loop."""
    probability, label, subject, level = (column.numpy() for column in columns)
    names, dense = np.unique(subject, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = [
        np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[dense]
        for _ in range(num_replicates)
    ]
    numbers = np.unique(level)
    shifts = {
        one: calibration.intercept(parts_of(*(column[level == one] for column in columns[:3])), 1.0)[0]
        for one in numbers
    }

    def score(metric, one, weight):
        own = level == one
        risk, truth, count = probability[own], label[own], weight[own]
        if metric == "auroc":
            return auroc(risk, truth, count)
        if metric == "brier":
            return float((count * (risk - truth) ** 2).sum() / count.sum())
        if metric == "observed_expected":
            return float((count * truth).sum() / (count * risk).sum())
        return step(risk, truth, count, shifts[one])

    found = {}
    for metric in gaps.COMPARED:
        every = np.ones(len(label))
        values = {one: score(metric, one, every) for one in numbers}
        if metric == "calibration_intercept":
            values = shifts
        replicates = {one: np.array([score(metric, one, weight) for weight in drawn]) for one in numbers}
        errors, spreads = [], {}
        for one, other in combinations(numbers, 2):
            difference = replicates[one] - replicates[other]
            spreads[one, other] = spreads[other, one] = difference.std()
            errors.append(np.abs(difference - (values[one] - values[other])) / difference.std())
        most = np.quantile(np.max(errors, axis=0), 0.95)
        higher, lower = max(values, key=values.get), min(values, key=values.get)
        half = most * spreads[higher, lower]
        found[metric] = higher, lower, values[higher] - values[lower], half
    return found


@pytest.mark.parametrize("seed", range(2))
def test_levels_value_and_interval_are_those_of_loops(seed: int) -> None:
    columns = data(seed=seed, spread=0.3)
    found = largest_gaps(*columns, compared=[0, 1, 2], num_replicates=30, seed=seed)
    expected = by_hand(columns, 30, seed)
    assert list(found) == list(gaps.COMPARED)
    for metric, (higher, lower, value, half) in expected.items():
        gap = found[metric]
        assert (gap.higher, gap.lower, gap.num_levels) == (higher, lower, 3)
        ends = gap.difference.value, gap.difference.low, gap.difference.high
        assert ends == pytest.approx((value, value - half, value + half))
        assert gap.difference.method == "simultaneous"


def test_one_newton_step_is_close_to_the_intercept_of_a_replicate() -> None:
    probability, label, subject, _ = data(rows=2000, levels=1)
    weight = np.random.default_rng(0).multinomial(1000, [0.001] * 1000)[subject.numpy()]
    shift = calibration.intercept(parts_of(probability, label, subject), 1.0)[0]
    logit = torch.logit(probability).numpy()

    def lacking(place):
        return float((weight * (label.numpy() - 1 / (1 + np.exp(-logit - place)))).sum())

    exact = brentq(lacking, -3, 3)
    assert exact != pytest.approx(shift, abs=0.02), "the replicate is another sample"
    assert step(probability.numpy(), label.numpy(), weight, shift) == pytest.approx(exact, abs=0.002)


def test_a_level_with_few_of_a_class_is_not_compared() -> None:
    probability, label, subject, level = data()
    few = level == 2
    label[few] = 0.0
    label[torch.where(few)[0][: gaps.MIN_CLASS - 1]] = 1.0
    found = largest_gaps(probability, label, subject, level, compared=[0, 1, 2], num_replicates=20)
    assert {found["auroc"].higher, found["auroc"].lower} == {0, 1}
    assert found["auroc"].num_levels == 2
    assert largest_gaps(probability, label, subject, level, compared=[0, 2], num_replicates=20) == {}
    assert largest_gaps(probability, label, torch.zeros_like(subject), level, compared=[0, 1]) == {}


def test_with_folds_no_pair_of_two_folds_is_ranked() -> None:
    probability, label, subject, level = data(rows=800)
    fold = subject % 2
    moved = torch.where(fold == 1, probability / 2 + 0.5, probability / 2)
    found = largest_gaps(moved, label, subject, level, compared=[0, 1, 2], fold=fold, num_replicates=20)["auroc"]
    each = {
        one: np.mean(
            [
                auroc(moved[own].numpy(), label[own].numpy(), np.ones(int(own.sum())))
                for own in ((level == one) & (fold == part) for part in (0, 1))
            ]
        )
        for one in range(3)
    }
    assert found.difference.value == pytest.approx(max(each.values()) - min(each.values()))


@pytest.mark.parametrize("folded", [False, True])
def test_the_values_are_those_of_the_scores_of_each_level(folded: bool) -> None:
    probability, label, subject, level = data(rows=800, spread=0.3)
    fold = subject % 3 if folded else None
    found = largest_gaps(probability, label, subject, level, compared=[0, 1, 2], fold=fold, num_replicates=20)
    each = [
        metric_intervals(
            probability[own], label[own], subject[own], fold=None if fold is None else fold[own], num_replicates=1
        )
        for own in (level == one for one in range(3))
    ]
    assert list(found) == list(gaps.COMPARED)
    for metric, gap in found.items():
        assert gap.difference.value == pytest.approx(each[gap.higher][metric].value - each[gap.lower][metric].value)
        assert each[gap.higher][metric].value == max(own[metric].value for own in each)


def test_a_fold_without_positives_counts_for_the_brier_score_and_not_for_the_auroc() -> None:
    probability, label, subject, level = data(rows=800)
    fold = subject % 2
    label[(fold == 1) & (level == 0)] = 0.0
    found = largest_gaps(probability, label, subject, level, compared=[0, 1], fold=fold, num_replicates=20)
    first = [float((probability - label)[(level == 0) & (fold == part)].square().mean()) for part in (0, 1)]
    second = [float((probability - label)[(level == 1) & (fold == part)].square().mean()) for part in (0, 1)]
    assert found["brier"].difference.value == pytest.approx(abs(np.mean(first) - np.mean(second)))
    assert not np.isnan(found["auroc"].difference.value)


@pytest.mark.slow
def test_without_a_true_gap_the_interval_holds_zero_although_the_largest_pair_was_chosen() -> None:
    held = dict.fromkeys(gaps.COMPARED, 0)
    for seed in range(60):
        columns = data(rows=900, levels=6, seed=seed)
        for name, gap in largest_gaps(*columns, compared=range(6), num_replicates=200, seed=seed).items():
            held[name] += gap.difference.low <= 0
    assert min(held.values()) >= 54, "of 60, at a nominal coverage of 95 %"
