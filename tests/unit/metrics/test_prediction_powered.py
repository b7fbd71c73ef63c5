"""The prediction-powered mean: coverage, clusters, ends, and where there is none."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from mmnar_lightning.metrics.prediction_powered import MIN_LABELLED, mean_risk

REPLICATES = 2000


def sample(generator, num_subjects: int, rate: float, rows_each: int = 1):
    """Miscalibrated probabilities, labels and subjects; rows of a subject share most of their risk."""
    subject = np.repeat(np.arange(num_subjects), rows_each)
    shared = generator.standard_normal(num_subjects)[subject]
    logit = rate + shared + 0.5 * generator.standard_normal(len(subject))
    label = generator.random(len(subject)) < expit(logit)
    return (torch.from_numpy(column) for column in (expit(0.7 * logit + 0.4), label.astype(float), subject))


def true_mean(rate: float) -> float:
    generator = np.random.default_rng(99)
    return float(expit(rate + np.sqrt(1.25) * generator.standard_normal(2_000_000)).mean())


@pytest.mark.parametrize(
    ("rate", "labelled", "rows", "rows_each"), [(-2.0, 150, 300, 1), (-1.0, 100, 80, 1), (-1.0, 120, 150, 3)]
)
def test_intervals_cover_the_mean_as_often_as_they_say(rate, labelled, rows, rows_each) -> None:
    generator, truth = np.random.default_rng(4), true_mean(rate)
    covered: list[bool] = []
    while len(covered) < REPLICATES:
        probability, _, subject = sample(generator, rows, rate, rows_each)
        known, label, people = sample(generator, labelled, rate, rows_each)
        if label.sum() >= 10:
            found = mean_risk(probability, subject, known, label, people)
            covered.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_predictions_without_labels_make_the_interval_narrower() -> None:
    generator = np.random.default_rng(1)
    probability, _, subject = sample(generator, 20_000, -1.0)
    known, label, people = sample(generator, 200, -1.0)
    found = mean_risk(probability, subject, known, label, people)
    alone = 2 * 1.96 * float(label.std()) / np.sqrt(200)
    assert found.high - found.low < 0.95 * alone


def test_the_half_width_is_that_of_two_clustered_means() -> None:
    """Three rows a subject that are copies of one another say as much as one row."""
    generator = np.random.default_rng(2)
    columns = [*sample(generator, 60, 0.0)], [*sample(generator, 50, 0.0)]
    once = mean_risk(columns[0][0], columns[0][2], *columns[1])
    tripled = [[column.repeat(3) for column in group] for group in columns]
    thrice = mean_risk(tripled[0][0], tripled[0][2], *tripled[1])
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    error = columns[1][0] - columns[1][1]
    half = 1.959964 * float(columns[0][0].var() / 60 + error.var() / 50) ** 0.5
    assert once.value == pytest.approx(float(columns[0][0].mean() - error.mean()))
    assert once.high - once.value == pytest.approx(half, rel=1e-6)
    assert (thrice.count, thrice.labelled) == (180, 150)


def test_labels_of_the_scored_rows_are_no_argument_and_ends_are_probabilities() -> None:
    people = torch.arange(40)
    rare = mean_risk(torch.full((40,), 0.01), people, torch.full((40,), 0.3), torch.zeros(40), people)
    assert rare.value == rare.low == rare.high == 0
    sure = mean_risk(torch.full((40,), 0.9), people, torch.full((40,), 0.5), torch.ones(40), people)
    assert sure.value == sure.high == 1


def test_there_is_none_of_one_subject_whose_rows_say_nothing_of_others() -> None:
    half, one, many = torch.full((50,), 0.5), torch.zeros(50, dtype=torch.int64), torch.arange(50)
    for subject, labelled in ((one, many), (many, one)):
        found = mean_risk(half, subject, half, torch.ones(50), labelled)
        assert (found.value, found.low, found.count, found.labelled) == (None, None, 50, 50)


@pytest.mark.parametrize(("labelled", "rows", "defined"), [(29, 50, False), (30, 50, True), (30, 0, False)])
def test_there_is_none_of_too_few_labels_or_of_no_row(labelled: int, rows: int, defined: bool) -> None:
    assert MIN_LABELLED == 30
    half = torch.full((50,), 0.5)
    found = mean_risk(half[:rows], torch.arange(rows), half[:labelled], torch.ones(labelled), torch.arange(labelled))
    assert (found.value is not None) == (found.low is not None) == defined
    assert (found.count, found.labelled) == (rows, labelled)
