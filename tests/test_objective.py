import pytest
import torch

from mmnar_lightning.losses.multitask import masked_cross_entropy
from mmnar_lightning.objective import Objective, ObjectiveConfig
from mmnar_lightning.outputs import ModelOutputs
from tests.support_batches import make_batch

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
