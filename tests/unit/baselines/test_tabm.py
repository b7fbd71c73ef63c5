"""TabM against a loop over rows and members, written from the paper's equation in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mmnar_lightning.baselines.config import TabMConfig
from mmnar_lightning.baselines.tabm import NUM_MEMBERS, TabM, mean_probability
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers.baselines import COUNT, LABEL_FREE, TASKS, inputs_of, telling_batch
from tests.helpers.loops import array

BATCH = telling_batch(9)


def model() -> Any:
    torch.manual_seed(0)
    made = TabM(inputs_of(BATCH), TabMConfig(dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def members_of(made: TabM) -> np.ndarray:
    """Logits of every member of every row, one after the other, (B, k, T)."""
    encodings = array(made.encoders(BATCH))
    found = np.zeros((len(BATCH), NUM_MEMBERS, len(TASKS)))
    for row in range(len(BATCH)):
        first = np.concatenate([*(encodings[row, m] for m in range(COUNT)), array(BATCH.present[row])])
        for member in range(NUM_MEMBERS):
            hidden = first
            for layer in made.layers:
                r, s, bias = (array(part[member]) for part in (layer.before, layer.after, layer.bias))
                hidden = np.maximum(s * (array(layer.weight) @ (r * hidden)) + bias, 0)
            found[row, member] = hidden @ array(made.weight[member]) + array(made.bias[member])
    return found


def test_members_and_the_mean_of_their_probabilities_are_those_of_the_loop() -> None:
    made = model()
    outputs, expected = made(BATCH), members_of(made)
    np.testing.assert_allclose(array(outputs.side.logits), expected, rtol=1e-4, atol=1e-4)
    probability = (1 / (1 + np.exp(-expected))).mean(1)
    np.testing.assert_allclose(array(outputs.logits.sigmoid()), probability, atol=1e-5)


def test_every_member_is_trained_on_its_own_loss_and_the_prediction_on_none() -> None:
    made = model()
    terms = Objective(TASKS, ObjectiveConfig(**LABEL_FREE)).terms(made(BATCH), BATCH)
    expected = members_of(made)
    for column, task in enumerate(TASKS):
        losses = []
        for member in range(NUM_MEMBERS):
            rows = [row for row in range(len(BATCH)) if BATCH.label_mask[row, column]]
            each = [math.log1p(math.exp((1 - 2 * BATCH.label[row, column].item()) * expected[row, member, column]))
                    for row in rows]  # fmt: skip
            losses.append(sum(each) / len(each))
        assert terms[f"side/{task}"].item() == pytest.approx(sum(losses) / NUM_MEMBERS, rel=1e-4)
        assert not terms[f"task/{task}"].requires_grad


def test_members_differ_from_the_start_by_the_signs_of_the_first_layer_alone() -> None:
    torch.manual_seed(0)
    made = TabM(inputs_of(BATCH), TabMConfig())
    first, second = made.layers
    assert set(first.before.unique().tolist()) == {-1.0, 1.0}
    assert len(first.before.unique(dim=0)) == NUM_MEMBERS
    assert all(bool((part == 1).all()) for part in (first.after, second.before, second.after))


def test_the_mean_probability_of_sure_members_is_finite() -> None:
    logits = torch.tensor([[[300.0, -300.0, 300.0], [300.0, -300.0, -300.0]]])
    found = mean_probability(logits)
    torch.testing.assert_close(found, torch.tensor([[300.0, -300.0, 0.0]]))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline\.tabm\.dropout=1\.0 must be in \[0, 1\)"):
        TabMConfig(dropout=1.0)
