"""Weights of missingness patterns against a slow reference, and what they correct."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.baselines.inverse_probability import INVERSE_PENALTIES, Floats, Integers, pool, weights
from mmnar_lightning.baselines.logistic_regression import LogisticRegression
from mmnar_lightning.rectifier.gate import folds
from tests.helpers.baselines import inputs_of
from tests.helpers.batches import modalities


def selected(rows: int, seed: int = 0, strength: float = 1.0) -> tuple[Floats, Integers, Integers]:
    """Columns, and three patterns whose probabilities depend on them."""
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(rows, 2))
    score = strength * np.stack([np.zeros(rows), columns[:, 0], columns[:, 1] - 0.5], axis=1)
    chance = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    group = (generator.random(rows)[:, None] > chance.cumsum(1)).sum(1)
    return columns, np.array([1, 3, 5])[group], np.arange(rows)


class Softmax:
    """A multinomial regression with the penalty |w|² / 2C, by a general minimiser."""

    def __init__(self, columns, group, inverse: float) -> None:
        count, self.classes = columns.shape[1], int(group.max()) + 1

        def loss(flat):
            weight = flat.reshape(self.classes, count + 1)
            score = columns @ weight[:, :-1].T + weight[:, -1]
            total = np.log(np.exp(score).sum(1)) - score[np.arange(len(group)), group]
            return total.sum() + (weight[:, :-1] ** 2).sum() / (2 * inverse)

        self.weight = minimize(loss, np.zeros(self.classes * (count + 1))).x.reshape(self.classes, -1)

    def __call__(self, row):
        score = np.exp(self.weight[:, :-1] @ row + self.weight[:, -1])
        return score / score.sum()


def test_they_equal_a_regression_written_out_row_by_row() -> None:
    columns, pattern, subject = selected(90)
    listed, counts = np.unique(pattern, return_counts=True)
    order = {number: place for place, number in enumerate(listed[np.argsort(counts, kind="stable")])}
    group = np.array([order[number] for number in pattern])
    held = folds(subject) == 4
    losses = []
    for inverse in INVERSE_PENALTIES:
        fitted = Softmax(columns[~held], group[~held], inverse)
        losses.append(-np.mean([np.log(fitted(columns[row])[group[row]]) for row in np.flatnonzero(held)]))
    fitted = Softmax(columns, group, INVERSE_PENALTIES[int(np.argmin(losses))])
    expected = np.array([np.mean(group == group[row]) / fitted(columns[row])[group[row]] for row in range(90)])
    for quantile in (1.0, 0.9):
        clipped = np.minimum(expected, np.quantile(expected, quantile))
        found = weights(columns, pattern, subject, 5, quantile)
        np.testing.assert_allclose(found, clipped / clipped.mean(), rtol=0.01)


def test_they_have_mean_one_and_those_above_the_quantile_are_equal() -> None:
    columns, pattern, subject = selected(1000, strength=2.0)
    free, clipped = (weights(columns, pattern, subject, 10, quantile) for quantile in (1.0, 0.95))
    for found in (free, clipped):
        assert found.mean() == pytest.approx(1.0)
        assert found.min() > 0
    assert np.isclose(clipped, clipped.max()).sum() == 50
    assert np.isclose(free, free.max()).sum() == 1
    below = ~np.isclose(clipped, clipped.max())
    ratio = clipped[below] / free[below]
    np.testing.assert_allclose(ratio, ratio[0])


def test_where_the_pattern_does_not_depend_on_the_inputs_they_are_one_but_for_noise() -> None:
    found, other = (weights(*selected(4000, strength=strength), min_count=10, quantile=1.0) for strength in (0.0, 1.0))
    assert np.abs(found - 1).max() < 0.2
    assert found.std() < 0.05
    assert other.std() > 0.3


def test_patterns_of_few_subjects_are_pooled_until_they_are_enough() -> None:
    pattern = np.repeat([0, 1, 2, 3], [1, 2, 3, 30])
    assert pool(pattern, np.arange(36), 3).tolist() == [0] * 3 + [1] * 3 + [2] * 30
    assert pool(pattern, np.arange(36), 5).tolist() == [0] * 6 + [1] * 30
    assert pool(pattern, np.arange(36), 7).tolist() == [0] * 36, "none is left for a second group"
    # Twenty rows of one subject are one subject.
    assert pool(np.repeat([0, 1], 20), np.repeat([0, *range(1, 21)], [20, *[1] * 20]), 5).tolist() == [0] * 40


def test_one_pattern_is_refused() -> None:
    columns, pattern, subject = selected(100)
    with pytest.raises(
        UserError, match=r"baseline\.inverse_probability=0\.9: the train rows have no two patterns of 60"
    ):
        weights(columns, pattern, subject, 60, 0.9)


def biased(rows: int, seed: int) -> Batch:
    """m0 is always there; m1 predicts only where m0 is high, and is recorded mostly there."""
    generator = torch.Generator().manual_seed(seed)
    m0, m1 = (torch.randn(rows, width, generator=generator) for width in (3, 4))
    chance = torch.sigmoid(2.5 * m0[:, 0])
    logit = torch.where(m0[:, 0] > 0, 2.0, 0.0) * m1[:, 0]
    seen = torch.rand(rows, generator=generator) < chance
    return Batch(
        row_id=torch.arange(rows),
        subject=torch.arange(rows),
        present=torch.stack([torch.ones_like(seen), seen], dim=1),
        inputs={"m0": m0, "m1": m1},
        label=(torch.rand(rows, generator=generator) < logit.sigmoid()).float()[:, None].expand(-1, 3).contiguous(),
        label_mask=torch.ones(rows, 3, dtype=torch.bool),
    )


def slope(train: Batch) -> float:
    """Of m1 in a regression without products, which no row can make right for all."""
    inputs = inputs_of(train, modalities(2))
    model = LogisticRegression(replace(inputs, additive=replace(inputs.additive, inverse_penalties=[100.0])))
    model.fit(train, train)
    return float(model.head.linear.weight.detach()[0, 3])


def test_a_fit_that_selection_biases_is_that_of_all_rows_once_it_is_weighted() -> None:
    slopes = []
    for seed in range(3):
        train = biased(6000, seed)
        columns, pattern = train.inputs["m0"].double().numpy(), patterns.encode(train.present).numpy()
        found = torch.from_numpy(weights(columns, pattern, train.subject.numpy(), 10, 0.995)).float()
        whole = replace(train, present=torch.ones_like(train.present))
        slopes.append([slope(batch) for batch in (whole, train, replace(train, weight=found))])
    whole, plain, weighted = np.mean(slopes, axis=0)
    assert 0.5 < whole < 1.0, "between the slopes of 0 and 2"
    assert plain - whole > 0.5
    assert abs(weighted - whole) < 0.15
