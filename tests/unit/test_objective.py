import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.losses.multitask import masked_cross_entropy
from mmnar_lightning.objective import Objective
from mmnar_lightning.outputs import ModelOutputs, SideHeads
from tests.helpers.batches import make_batch

TASKS = ["death", "stay", "return"]
BATCH = make_batch(torch.ones(12, 2, dtype=torch.bool))


def outputs(terms: dict[str, torch.Tensor] | None = None) -> ModelOutputs:
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    return ModelOutputs(logits=logits, representation=logits, encodings=logits, terms=terms or {})


def test_the_loss_is_the_weighted_sum_of_the_tasks_losses():
    objective = Objective(TASKS, ObjectiveConfig(task_weights={"stay": 0.5, "return": 0.0}))
    terms = objective.terms(outputs(), BATCH)
    each = masked_cross_entropy(outputs().logits, BATCH.label, BATCH.label_mask)
    assert torch.stack(list(terms.values())).tolist() == each.tolist()
    assert list(terms) == ["task/death", "task/stay", "task/return"]
    assert objective(terms).item() == pytest.approx((each[0] + 0.5 * each[1]).item())


def test_a_task_that_is_not_named_weighs_one():
    objective = Objective(TASKS, ObjectiveConfig())
    terms = objective.terms(outputs(), BATCH)
    assert objective(terms).item() == pytest.approx(sum(term.item() for term in terms.values()))


def test_the_weights_of_rows_enter_the_losses_of_tasks_and_of_side_heads():
    weight = torch.linspace(0.1, 3.0, 12)
    heads = torch.stack([outputs().logits, -outputs().logits], dim=1)
    shown = torch.arange(24).view(12, 2) % 3 > 0
    given = replace(outputs(), side=SideHeads(logits=heads, shown=shown))
    terms = Objective(TASKS, ObjectiveConfig()).terms(given, replace(BATCH, weight=weight))
    for column, task in enumerate(TASKS):
        means = []
        for logits, rows in ((given.logits, True), (heads[:, 0], shown[:, 0]), (heads[:, 1], shown[:, 1])):
            known = BATCH.label_mask[:, column] & rows
            each = binary_cross_entropy_with_logits(logits[:, column], BATCH.label[:, column], reduction="none")
            means.append((each * weight)[known].sum() / weight[known].sum())
        torch.testing.assert_close(terms[f"task/{task}"], means[0])
        torch.testing.assert_close(terms[f"side/{task}"], (means[1] + means[2]) / 2)


def test_terms_that_the_model_adds_are_named_and_trained():
    objective = Objective(TASKS, ObjectiveConfig())
    added = torch.tensor(2.0, requires_grad=True)
    terms = objective.terms(outputs({"reconstruction": added}), BATCH)
    assert list(terms) == ["task/death", "task/stay", "task/return", "reconstruction"]
    loss = objective(terms)
    loss.backward()
    assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()))
    assert added.grad.item() == 1.0


def test_a_weight_for_an_unknown_task_is_refused_by_name():
    with pytest.raises(ValueError, match=r"objective\.task_weights: deth is no task of the cohort \(.*death.*stay"):
        Objective(TASKS, ObjectiveConfig(task_weights={"deth": 2.0}))


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_a_weight_that_is_negative_or_no_number_is_refused_by_its_full_key(weight):
    with pytest.raises(ValueError, match=rf"objective\.task_weights\.death={weight} must be at least 0 and finite"):
        ObjectiveConfig(task_weights={"death": weight})


def test_the_weights_move_with_the_objective_and_stay_out_of_checkpoints():
    objective = Objective(TASKS, ObjectiveConfig()).to("meta")
    assert objective.task_weight.device.type == "meta"
    assert objective.state_dict() == {}


def with_label_free_terms(weight: float) -> dict[str, torch.Tensor]:
    return {"task/death": torch.tensor(1.0), "reconstruction": torch.tensor(weight), "assignment": torch.tensor(weight)}


def test_label_free_terms_fade_from_their_full_weight_to_the_floor():
    objective = Objective(["death"], ObjectiveConfig(anneal_epochs=10))
    losses = [objective(with_label_free_terms(2.0), epoch).item() for epoch in (0, 5, 10, 40)]
    assert losses == pytest.approx([1 + 3.0, 1 + 0.55 * 3.0, 1 + 0.1 * 3.0, 1 + 0.1 * 3.0])


def test_pre_training_looks_at_no_label():
    objective = Objective(["death"], ObjectiveConfig(pretrain_epochs=2, anneal_epochs=10))
    assert objective(with_label_free_terms(2.0), 1).item() == pytest.approx(3.0)
    assert objective(with_label_free_terms(2.0), 2).item() == pytest.approx(4.0)


def test_learned_weights_balance_each_task_by_its_variance():
    objective = Objective(TASKS, ObjectiveConfig(task_weighting="learned"))
    with torch.no_grad():
        objective.log_variance.copy_(torch.tensor([0.0, 1.0, -1.0]))
    terms = {f"task/{name}": torch.tensor(float(number)) for number, name in enumerate(TASKS)}
    loss = objective(terms)
    loss.backward()
    assert loss.item() == pytest.approx(0.0 + (math.exp(-1) * 1 + 0.5) + (math.exp(1) * 2 - 0.5))
    assert objective.log_variance.grad.tolist() == pytest.approx([0.5, 0.5 - math.exp(-1), 0.5 - 2 * math.exp(1)])


def test_the_focal_loss_equals_a_plain_loop():
    logits, known = outputs().logits, BATCH.label_mask
    loss = masked_cross_entropy(logits, BATCH.label, known, focal_gamma=2.0)
    for task in range(3):
        chances = [
            1 / (1 + math.exp(-logit if truth else logit))
            for logit, truth, seen in zip(
                logits[:, task].tolist(), BATCH.label[:, task].tolist(), known[:, task].tolist(), strict=True
            )
            if seen
        ]
        expected = sum(-((1 - chance) ** 2) * math.log(chance) for chance in chances) / len(chances)
        assert loss[task].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_has_a_finite_slope_everywhere(gamma):
    certain, known = torch.tensor([[200.0]]), torch.ones(1, 1, dtype=torch.bool)
    assert masked_cross_entropy(certain, torch.ones(1, 1), known).item() == 0, "a power has no finite slope at 0 alone"
    leaf = torch.tensor([[200.0], [110.0], [40.0], [0.0], [-40.0], [-200.0]], requires_grad=True)
    masked_cross_entropy(leaf, torch.ones(6, 1), known.expand(6, 1), gamma).sum().backward()
    assert bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"objective\.temperature=0\.0 must be above 0"),
        ({"contrast": -1.0}, r"objective\.contrast=-1\.0 must be at least 0"),
        ({"anneal_epochs": 0}, r"objective\.anneal_epochs=0 must be at least 1"),
        (
            {"pretrain_epochs": 3, "reconstruction": 0.0, "contrast": 0.0, "assignment": 0.0},
            r"objective\.pretrain_epochs=3: no label-free term to train",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_full_key(settings, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**settings)
