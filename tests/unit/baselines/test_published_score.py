"""Published scores: an equation is taken as it is, and points without one are calibrated on train rows."""

from dataclasses import replace

import pytest
import torch

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.baselines.config import PublishedScoreConfig
from mmnar_lightning.baselines.published_score import PublishedScore, logistic
from tests.helpers.baselines import TASKS, inputs_of, telling_batch

ROWS = 600
NAN = float("nan")


@pytest.fixture
def batch() -> Batch:
    return replace(telling_batch(ROWS), row_id=torch.arange(ROWS))


def scored(batch: Batch, name: str = "sofa") -> PublishedScore:
    """A score with points for all rows but the first, and an equation for the first task alone."""
    points = torch.arange(ROWS, dtype=torch.float64) % 20
    points[0] = NAN
    equation = torch.full((ROWS, len(TASKS)), NAN, dtype=torch.float64)
    equation[:, 0] = points / 40
    given = replace(
        inputs_of(batch), scores={"apache": equation, "saps": equation}, points={"sofa": points, "saps": points}
    )
    return PublishedScore(given, PublishedScoreConfig(name=name))


def test_a_logistic_regression_of_points_has_the_observed_rates(batch: Batch) -> None:
    score = scored(batch)
    score.fit(batch, batch)
    predicted = score.predict(batch)
    assert predicted[0].isnan().all()
    known = batch.label_mask[1:]
    for task in range(len(TASKS)):
        expected = batch.label[1:, task][known[:, task]].double().mean()
        assert predicted[1:, task][known[:, task]].mean() == pytest.approx(float(expected), abs=1e-6)
        assert predicted[1:, task].unique().numel() == 20


def test_the_line_follows_the_labels_of_train_and_is_that_of_the_largest_likelihood() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 24, (20_000,), generator=generator).double()
    label = (torch.rand(20_000, generator=generator) < torch.sigmoid(-4 + 0.3 * points)).double()
    intercept, slope = logistic(points, label)
    assert (intercept, slope) == pytest.approx((-4, 0.3), abs=0.15)
    residual = label - torch.sigmoid(intercept + slope * points)
    assert float(residual.sum()) == pytest.approx(0, abs=1e-3)
    assert float((residual * points).sum()) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("label", [[0.0, 0.0, 1.0, 1.0], [0.0] * 4, [1.0] * 4])
def test_points_that_separate_the_classes_have_a_finite_line(label: list[float]) -> None:
    points = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    assert all(abs(value) < 1e3 for value in logistic(points, torch.tensor(label, dtype=torch.float64)))


def test_without_a_known_label_the_line_is_flat() -> None:
    nothing = torch.zeros(0, dtype=torch.float64)
    assert logistic(nothing, nothing) == (0.0, 0.0)


def test_an_equation_is_not_fitted_and_points_serve_the_tasks_that_it_does_not_predict(batch: Batch) -> None:
    score = scored(batch, "saps")
    score.fit(batch, batch)
    predicted = score.predict(batch)
    assert torch.equal(predicted[1:, 0], (torch.arange(ROWS)[1:] % 20).double() / 40)
    assert not predicted[1:, 1:].isnan().any()


def test_an_equation_alone_is_refused_for_a_task_that_it_does_not_predict(batch: Batch) -> None:
    with pytest.raises(UserError, match="name=apache predicts no row of b, c"):
        scored(batch, "apache")


def test_a_score_that_the_cohort_does_not_hold_is_refused_with_those_that_it_holds(batch: Batch) -> None:
    with pytest.raises(UserError, match="name=oasis: this cohort has apache, saps, sofa"):
        scored(batch, "oasis")
