"""The loss of numbers against a plain loop; unknown values change nothing, and an evaluation is one mean."""

import pytest
import torch

from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.losses.multitask import DELTA, RunningLoss, masked_huber
from mmnar_lightning.objective import Objective
from mmnar_lightning.outputs import ModelOutputs, SideHeads
from tests.helpers.batches import make_batch

GENERATOR = torch.Generator().manual_seed(1)
PREDICTED, VALUE = (2 * torch.randn(40, 2, generator=GENERATOR) for _ in range(2))
KNOWN = torch.rand(40, 2, generator=GENERATOR) < 0.7
WEIGHT = torch.rand(40, generator=GENERATOR) + 0.5


def by_loop(task: int, weight: torch.Tensor) -> float:
    total = count = 0.0
    for row in range(40):
        if KNOWN[row, task]:
            error = abs(float(PREDICTED[row, task] - VALUE[row, task]))
            own = error**2 / 2 if error <= DELTA else DELTA * (error - DELTA / 2)
            total, count = total + float(weight[row]) * own, count + float(weight[row])
    return total / count


def test_the_loss_is_that_of_a_plain_loop():
    loss = masked_huber(PREDICTED, VALUE, KNOWN)
    assert loss.tolist() == pytest.approx([by_loop(task, torch.ones(40)) for task in (0, 1)], rel=1e-5)
    weighted = masked_huber(PREDICTED, VALUE, KNOWN, WEIGHT)
    assert weighted.tolist() == pytest.approx([by_loop(task, WEIGHT) for task in (0, 1)], rel=1e-5)


def test_the_prediction_of_least_loss_is_near_the_mean_of_skewed_values():
    days = torch.distributions.LogNormal(0, 0.8).icdf(
        (torch.arange(20_000, dtype=torch.float64) + 0.5)[:, None] / 20_000
    )
    mean, deviation = days.mean(), days.std()
    known, standardised = torch.ones_like(days, dtype=torch.bool), (days - mean) / deviation
    constant = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(100):
        (slope,) = torch.autograd.grad(masked_huber(constant.expand_as(days), standardised, known).sum(), constant)
        constant = (constant - slope).detach().requires_grad_()
    bias = float(constant.detach() * deviation / mean)
    assert bias == pytest.approx(-0.03, abs=0.005)


def test_unknown_values_change_neither_loss_nor_gradient():
    gradients = []
    for filler in (0.0, torch.nan):
        predicted = PREDICTED.clone().requires_grad_()
        masked_huber(predicted, VALUE.masked_fill(~KNOWN, filler), KNOWN).sum().backward()
        gradients.append(predicted.grad)
    assert torch.equal(*gradients)
    assert not gradients[0][~KNOWN].any()


def test_without_known_values_it_is_a_differentiable_zero():
    predicted = PREDICTED.clone().requires_grad_()
    loss = masked_huber(predicted, VALUE, torch.zeros_like(KNOWN))
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0]


def test_an_evaluation_in_parts_is_one_mean():
    running = RunningLoss(0.0, "value")
    for part in (slice(0, 13), slice(13, 40)):
        running.add(PREDICTED[part], VALUE[part], KNOWN[part])
    assert running.means().tolist() == pytest.approx(masked_huber(PREDICTED, VALUE, KNOWN).tolist(), rel=1e-5)


def test_the_objective_of_numbers_has_this_loss_for_the_tasks_and_side_heads():
    batch = make_batch(torch.ones(6, 2, dtype=torch.bool))
    logits = torch.randn(6, batch.label.shape[1], generator=GENERATOR)
    side = SideHeads(logits=logits[:, None], shown=torch.ones(6, 1, dtype=torch.bool))
    outputs = ModelOutputs(logits=logits, representation=logits, encodings=logits, side=side)
    names = [f"task{number}" for number in range(batch.label.shape[1])]
    terms = Objective(names, ObjectiveConfig(), "value").terms(outputs, batch)
    expected = masked_huber(logits, batch.label, batch.label_mask)
    for place, name in enumerate(names):
        assert terms[f"task/{name}"] == expected[place]
        assert terms[f"side/{name}"] == pytest.approx(float(expected[place]))
