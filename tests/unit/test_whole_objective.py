"""Model, terms and sum together, against loops in float64 from docs/method.md: what is passed on to whom."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers.batches import make_batch, make_model
from tests.unit.losses.test_label_free import infonce_loop
from tests.unit.test_model import TASKS, every_pattern

GAMMA, TEMPERATURE = 2.0, 0.3
WEIGHTS: dict[str, Any] = {"reconstruction": 0.7, "contrast": 0.4, "assignment": 0.2}
CONFIG = ObjectiveConfig(
    **WEIGHTS, task_weights={TASKS[1]: 0.5}, focal_gamma=GAMMA, temperature=TEMPERATURE, pretrain_epochs=1,
    anneal_epochs=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    """Every pattern of three modalities, those with one and with none among them; two rows a subject."""
    drawn = make_batch(every_pattern(3).repeat(3, 1))
    return replace(drawn, subject=torch.arange(len(drawn.row_id)) // 2)


@pytest.fixture(scope="module")
def outputs(batch):
    with torch.no_grad():
        return make_model(3).double().train()(replace(batch, inputs={k: v.double() for k, v in batch.inputs.items()}))


def focal_loop(batch, logits: torch.Tensor, task: int) -> float:
    losses = []
    for row in range(len(logits)):
        if batch.label_mask[row, task]:
            sign = 1 if batch.label[row, task] else -1
            chance = 1 / (1 + math.exp(-sign * float(logits[row, task])))
            losses.append(-((1 - chance) ** GAMMA) * math.log(chance))
    return sum(losses) / len(losses)


def label_free_loops(batch, outputs) -> dict[str, float]:
    reported, present = outputs.leave_one_out, batch.present.tolist()
    squared, entropy = [], []
    for row, shown in enumerate(present):
        for m, is_there in enumerate(shown):
            chance = 1 / (1 + math.exp(-float(reported.assignment[row, m])))
            entropy.append(-math.log(chance if is_there else 1 - chance))
            if is_there and sum(shown) >= 2:
                error = reported.reconstructions[row, m] - outputs.encodings[row, m]
                squared.append(float((error**2).sum()) / len(error))
    encoded, reconstructed = reported.projected
    valid = torch.tensor([[bit and sum(shown) >= 2 for bit in shown] for shown in present])
    return {
        "reconstruction": sum(squared) / len(squared),
        "contrast": infonce_loop(encoded, reconstructed, valid, batch.subject, TEMPERATURE),
        "assignment": sum(entropy) / len(entropy),
    }


def test_every_term_is_that_of_a_plain_loop(batch, outputs) -> None:
    terms = Objective(TASKS, CONFIG).terms(outputs, batch)
    expected = {f"task/{name}": focal_loop(batch, outputs.logits, task) for task, name in enumerate(TASKS)}
    expected |= label_free_loops(batch, outputs)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("epoch", "labelled", "fading"), [(0, 0, 1), (1, 1, 1), (3, 1, 0.55), (9, 1, 0.1)])
def test_the_sum_has_the_weights_of_the_settings_and_the_epoch(batch, outputs, epoch, labelled, fading) -> None:
    objective = Objective(TASKS, CONFIG)
    losses = [focal_loop(batch, outputs.logits, task) for task in range(len(TASKS))]
    supervised = losses[0] + 0.5 * losses[1] + losses[2]
    label_free = sum(WEIGHTS[name] * value for name, value in label_free_loops(batch, outputs).items())
    found = objective(objective.terms(outputs, batch), epoch).item()
    assert found == pytest.approx(labelled * supervised + fading * label_free, rel=1e-6)


@pytest.mark.parametrize("sampled", [0, 1])
def test_encoders_and_fusion_are_called_once_for_a_row_and_all_its_copies(batch, sampled) -> None:
    model, calls = make_model(3, sampled=sampled).train(), []
    for part in (model.encoders, model.fusion):
        part.register_forward_hook(lambda module, given, found: calls.append(type(module).__name__))
    model(batch)
    assert calls == ["Encoders", "Fusion"]
