import numpy as np
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers import reference_model
from tests.helpers.batches import NUM_TASKS, fill_absent, make_batch, make_model, take

TASKS = ["a", "b", "c"]
JUNK = {"nan": torch.nan, "inf": torch.inf, "minus inf": -torch.inf, "noise": 1e30}


def every_pattern(num_modalities: int, repeats: int = 2) -> torch.Tensor:
    ids = torch.arange(2**num_modalities).repeat(repeats)
    return patterns.decode(ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))], num_modalities)


def step(model, batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, loss and gradients."""
    model.zero_grad()
    objective = Objective(TASKS, ObjectiveConfig())
    outputs = model(batch)
    loss = objective(objective.terms(outputs, batch))
    loss.backward()
    return outputs.logits.detach(), loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
@pytest.mark.parametrize("num_modalities", [1, 2, 6])
def test_what_stands_in_an_absent_slot_changes_no_bit_of_outputs_loss_or_gradients(num_modalities, junk):
    batch = make_batch(every_pattern(num_modalities))
    model = make_model(num_modalities, num_blocks=2)
    logits, loss, gradients = step(model, batch)
    other_logits, other_loss, other_gradients = step(model, fill_absent(batch, junk))
    assert bool(logits.isfinite().all())
    assert torch.equal(logits, other_logits)
    assert torch.equal(loss, other_loss)
    for name, gradient in gradients.items():
        assert bool(gradient.isfinite().all()), name
        assert torch.equal(gradient, other_gradients[name]), name


@pytest.mark.parametrize("junk", [torch.nan, 3.0])
def test_what_stands_in_an_unknown_label_changes_no_bit_of_loss_or_gradients(junk):
    batch = make_batch(every_pattern(3))
    model = make_model(3)
    _, loss, gradients = step(model, batch)
    batch.label.masked_fill_(~batch.label_mask, junk)
    _, other_loss, other_gradients = step(model, batch)
    assert torch.equal(loss, other_loss)
    assert all(torch.equal(gradient, other_gradients[name]) for name, gradient in gradients.items())


def test_what_stands_in_a_present_slot_matters():
    batch = make_batch(every_pattern(2))
    model = make_model(2)
    before = model(batch).logits
    batch.inputs["m1"].add_(1.0)
    after = model(batch).logits
    changed = (before - after).abs().amax(1) > 1e-4
    assert torch.equal(changed, batch.present[:, 1])


@pytest.mark.parametrize("num_modalities", [1, 2, 6])
@pytest.mark.parametrize("num_blocks", [1, 2])
def test_the_model_equals_a_plain_loop_over_the_equations_in_float64(num_modalities, num_blocks):
    batch = make_batch(every_pattern(num_modalities, repeats=1))
    model = make_model(num_modalities, num_blocks=num_blocks).eval()
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    outputs = model(fill_absent(batch, torch.nan))
    for row, present in enumerate(batch.present.tolist()):
        inputs = {m: batch.inputs[f"m{m}"][row].double().numpy() for m, seen in enumerate(present) if seen}
        h = reference_model.represent(inputs, num_modalities, weights, num_heads=4)
        np.testing.assert_allclose(outputs.representation[row].detach().numpy(), h, rtol=1e-4, atol=2e-5)
        logits = reference_model.predict(h, weights, NUM_TASKS)
        np.testing.assert_allclose(outputs.logits[row].detach().numpy(), logits, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_a_rows_prediction_is_the_same_alone_in_any_batch_and_in_any_order():
    batch = make_batch(every_pattern(4))
    model = make_model(4, num_blocks=2, dropout=0.3).eval()
    together = model(batch).logits.sigmoid()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3)).tolist()
    torch.testing.assert_close(model(take(batch, order)).logits.sigmoid(), together[order], atol=1e-6, rtol=0)
    alone = torch.cat([model(take(batch, [row])).logits.sigmoid() for row in range(len(batch))])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)
    some = [5, 2, 5, 30]
    torch.testing.assert_close(model(take(batch, some)).logits.sigmoid(), together[some], atol=1e-6, rtol=0)


def test_a_modality_that_is_nowhere_in_the_batch_gets_a_gradient_of_zero():
    present = every_pattern(3)
    present[:, 1] = False
    _, loss, gradients = step(make_model(3), fill_absent(make_batch(present), torch.nan))
    assert bool(loss.isfinite())
    for name, gradient in gradients.items():
        if ".m1_encoder." in name:
            assert bool((gradient == 0).all()), name
    assert bool(gradients["encoders.encoders.m0_encoder.project.0.weight"].any())


@pytest.mark.parametrize("present", [[True, False, True], [False, False, False]])
def test_a_batch_of_one_row_trains(present):
    _, loss, gradients = step(make_model(3), make_batch(torch.tensor([present])))
    assert bool(loss.isfinite())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


def test_a_batch_of_no_row_passes():
    assert make_model(2)(make_batch(torch.zeros(0, 2, dtype=torch.bool))).logits.shape == (0, NUM_TASKS)


def test_a_pattern_that_was_not_in_training_is_predicted():
    model = make_model(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = make_batch(torch.tensor([[True, True, False], [True, False, False]]).repeat(8, 1))
    for _ in range(3):
        step(model, seen)
        optimizer.step()
    assert bool(model.eval()(make_batch(torch.tensor([[False, False, True]]))).logits.isfinite().all())


def test_the_same_inputs_under_another_pattern_give_another_prediction():
    model = make_model(3).eval()
    batch = make_batch(torch.tensor([[True, True, False], [True, True, True]]))
    assert not torch.allclose(model(batch).logits[0], model(take(batch, [1])).logits[0])


def test_everything_that_is_learnt_is_a_parameter_or_a_buffer():
    for module in make_model(2).modules():
        plain = [name for name, value in vars(module).items() if isinstance(value, torch.Tensor)]
        assert not plain, type(module).__name__


def test_the_weights_come_back_from_a_state_dict():
    batch = make_batch(every_pattern(2))
    model, other = make_model(2).eval(), make_model(2, seed=9).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(batch).logits, other(batch).logits)
