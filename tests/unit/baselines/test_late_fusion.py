from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mmnar_lightning.baselines.config import LateFusionConfig
from mmnar_lightning.baselines.late_fusion import late_fusion
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers.baselines import COUNT, LABEL_FREE, TASKS, fit_network, inputs_of, telling_batch
from tests.helpers.batches import fill_absent

BATCH = telling_batch(200)


def model(version: Literal["weighted", "concatenation"], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = late_fusion(inputs_of(BATCH), LateFusionConfig(version=version, dropout=0.0))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_the_weighted_version_is_the_mean_of_the_present_heads_by_their_weights() -> None:
    made = model("weighted").eval()
    outputs = made(BATCH)
    scores = made.score.exp()
    for row, present in enumerate(BATCH.present.tolist()):
        expected = made.empty
        if any(present):
            logits = [made.heads[m](outputs.encodings[row, m]) for m in range(COUNT)]
            parts = [scores[m] * logits[m] for m in range(COUNT) if present[m]]
            expected = sum(parts) / sum(scores[m] for m in range(COUNT) if present[m])
        torch.testing.assert_close(outputs.logits[row], expected)


def test_weights_that_differ_widely_leave_a_lone_modality_its_whole_say() -> None:
    made = model("weighted").eval()
    with torch.no_grad():
        made.score.copy_(torch.tensor([0.0, 500.0, -500.0]))
    lone = replace(BATCH, present=torch.tensor([[False, False, True]]).expand(200, -1))
    outputs = made(lone)
    torch.testing.assert_close(outputs.logits, made.heads[2](outputs.encodings[:, 2]))


def test_every_head_learns_on_its_own_from_the_rows_that_have_its_modality() -> None:
    made = model("weighted")
    outputs = made(BATCH)
    terms = Objective(TASKS, ObjectiveConfig(**LABEL_FREE)).terms(outputs, fill_absent(BATCH, torch.nan))
    assert set(terms) == {f"{kind}/{task}" for kind in ("task", "side") for task in TASKS}
    for column, task in enumerate(TASKS):
        losses = []
        for m in range(COUNT + 1):
            rows = BATCH.label_mask[:, column] & (BATCH.present[:, m] if m < COUNT else True)
            logits = made.heads[m](outputs.encodings[:, m]) if m < COUNT else made.empty.expand(200, -1)
            losses.append(binary_cross_entropy_with_logits(logits[rows, column], BATCH.label[rows, column]))
        torch.testing.assert_close(terms[f"side/{task}"], sum(losses) / (COUNT + 1))


def test_side_heads_take_the_weight_of_their_task_and_the_focal_exponent() -> None:
    outputs = model("weighted")(BATCH)
    objective = Objective(TASKS, ObjectiveConfig(task_weights={"a": 0.0, "b": 0.5}, **LABEL_FREE))
    terms = objective.terms(outputs, BATCH)
    expected = 0.5 * (terms["task/b"] + terms["side/b"]) + terms["task/c"] + terms["side/c"]
    torch.testing.assert_close(objective(terms), expected)
    focal = Objective(TASKS, ObjectiveConfig(focal_gamma=2.0, **LABEL_FREE)).terms(outputs, BATCH)
    assert bool(focal["side/c"] < terms["side/c"])


def test_a_row_with_nothing_present_gets_the_prior_even_where_no_train_row_is_empty() -> None:
    train = telling_batch(1500, seed=5)
    train.present[:, 0] = True
    torch.manual_seed(0)
    made = late_fusion(inputs_of(train), LateFusionConfig())
    with torch.no_grad():
        made.empty.add_(2.0)
    fit_network(made, train, steps=200, rate=0.02)
    nothing = replace(BATCH, present=torch.zeros(200, COUNT, dtype=torch.bool))
    predicted = made.eval()(nothing).logits.sigmoid()
    share = torch.stack([train.label[train.label_mask[:, t], t].mean() for t in range(len(TASKS))])
    np.testing.assert_allclose(predicted.detach(), share.expand(200, -1), atol=0.05)


@pytest.mark.parametrize("version", ["weighted", "concatenation"])
def test_nothing_present_has_finite_gradients(version: Literal["weighted", "concatenation"]) -> None:
    made = model(version)
    nothing = replace(fill_absent(BATCH, torch.nan), present=torch.zeros(200, COUNT, dtype=torch.bool))
    nothing = fill_absent(nothing, torch.nan)
    objective = Objective(TASKS, ObjectiveConfig(**LABEL_FREE))
    objective(objective.terms(made(nothing), nothing)).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name


def test_concatenation_shows_an_absent_modality_from_one_whose_encoding_is_zero() -> None:
    made = model("concatenation").eval()
    with torch.no_grad():
        for encoder in made.encoders.encoders.values():
            encoder.norm.weight.zero_()
            encoder.norm.bias.zero_()
    assert len(made(BATCH).logits.round(decimals=5).unique(dim=0)) == 2**COUNT


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"dropout": -0.1}, "baseline.late_fusion.dropout"), ({"dropout": 1.0}, "baseline.late_fusion.dropout")],
)
def test_nonsense_is_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LateFusionConfig(**settings)
