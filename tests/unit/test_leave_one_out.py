"""Hiding a modality hides it: neither its presence nor its values reach its reconstruction."""

from dataclasses import replace

import pytest
import torch

from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.nn.hiding import drop, hide
from mmnar_lightning.objective import Objective
from tests.helpers.batches import make_batch, make_model
from tests.unit.test_model import TASKS, every_pattern


def shown_of(model, batch, sampled_seed: int = 0):
    torch.manual_seed(sampled_seed)
    return model.train()(batch).leave_one_out


@pytest.mark.parametrize("hidden", range(4))
def test_flipping_a_modality_and_replacing_its_values_leaves_what_is_reported_of_it_bit_identical(hidden):
    batch = make_batch(every_pattern(4))
    flipped = batch.present.clone()
    flipped[:, hidden] = ~flipped[:, hidden]
    values = batch.inputs[f"m{hidden}"]
    assert isinstance(values, torch.Tensor)
    other = replace(batch, present=flipped, inputs={**batch.inputs, f"m{hidden}": torch.full_like(values, 7.0)})
    model = make_model(4, num_blocks=2)
    first, second = shown_of(model, batch), shown_of(model, other)
    assert torch.equal(first.reconstructions[:, hidden], second.reconstructions[:, hidden])
    assert torch.equal(first.assignment[:, hidden], second.assignment[:, hidden])
    beside = (hidden + 1) % 4
    assert not torch.equal(first.assignment[:, beside], second.assignment[:, beside])


@torch.no_grad()
def test_the_representation_without_a_modality_is_that_of_the_row_that_lacks_it():
    batch = make_batch(every_pattern(3))
    model = make_model(3)
    reported = shown_of(model, batch)
    for m in range(3):
        reduced = batch.present.clone()
        reduced[:, m] = False
        h = model.eval()(replace(batch, present=reduced)).representation
        torch.testing.assert_close(reported.reconstructions[:, m], model.decoders.decoders[m](h), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.sigmoid(reported.assignment), model.propensities(batch), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_outputs_for_prediction_are_the_same_with_and_without_the_copies():
    batch = make_batch(every_pattern(3))
    model = make_model(3)
    torch.testing.assert_close(model.train()(batch).logits, model.eval()(batch).logits, rtol=1e-5, atol=1e-5)
    assert model.eval()(batch).leave_one_out is None


@torch.no_grad()
@pytest.mark.parametrize("sampled", [1, 2, 3])
def test_sampled_hiding_estimates_the_same_terms(sampled):
    batch = make_batch(every_pattern(4))
    objective = Objective(TASKS, ObjectiveConfig())

    def terms(model, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        named = objective.terms(model.train()(batch), batch)
        return torch.stack([named[name] for name in ("reconstruction", "assignment")])

    exact = terms(make_model(4, sampled=0), 0)
    model = make_model(4, sampled=sampled)
    drawn = torch.stack([terms(model, seed) for seed in range(300)])
    error = (drawn.mean(0) - exact) / (drawn.std(0) / 300**0.5)
    assert bool((error.abs() < 4).all()), error
    assert bool((drawn.std(0) > 0).all())


def test_hiding_draws_modalities_that_are_there():
    present = every_pattern(5, repeats=20)
    torch.manual_seed(0)
    hiding = hide(present, 2)
    assert hiding.modality.shape == (len(present), 2)
    rich = present.sum(1) >= 2
    assert bool(present.gather(1, hiding.modality)[rich].all())
    assert bool((hiding.modality[:, 0] != hiding.modality[:, 1]).all())
    full = present.all(1)
    assert set(hiding.modality[full].flatten().tolist()) == set(range(5))


@pytest.mark.parametrize("sampled", [1, 2, 3])
def test_what_is_drawn_weighs_the_inverse_of_its_odds_and_never_less_than_one(sampled):
    present = every_pattern(4, repeats=20)
    torch.manual_seed(0)
    hiding = hide(present, sampled)
    drawn = torch.zeros_like(present).scatter(1, hiding.modality, True)
    for row, is_there, is_drawn in zip(hiding.weight.tolist(), present.tolist(), drawn.tolist(), strict=True):
        inverse_odds = max(sum(is_there) / sampled, 1)
        expected = [inverse_odds * hidden if there else 1 for there, hidden in zip(is_there, is_drawn, strict=True)]
        assert row == pytest.approx(expected)
    few = present.sum(1) <= sampled
    assert bool((hiding.weight[few] == 1).all()), "all that such a row has is hidden, each once"


def test_dropping_spares_the_last_modality_and_drops_at_the_rate():
    torch.manual_seed(0)
    present = every_pattern(3, repeats=4000)
    kept = drop(present, 0.4)
    assert bool((kept <= present).all())
    assert bool((kept.any(1) == present.any(1)).all())
    two = present.sum(1) == 2
    assert kept[two].float().sum(1).mean().item() == pytest.approx(2 - 0.8 + 0.16, abs=0.03)
    assert torch.equal(drop(present, 0.0), present)


def test_parts_of_terms_without_a_weight_are_not_built():
    names = {name.split(".")[0] for name, _ in make_model(2, auxiliary=["assignment"]).named_parameters()}
    assert names == {"encoders", "fusion", "heads", "assignment"}
    with pytest.raises(ValueError, match=r"objective\.assignment=0: this model has no assignment head"):
        make_model(2, auxiliary=[]).propensities(make_batch(every_pattern(2)))


def test_modalities_that_never_vary_are_not_assigned():
    batch = make_batch(every_pattern(2))
    model = make_model(2)
    model.assignable[0] = False
    reported = shown_of(model, batch)
    assert bool((reported.assignment_weight[:, 0] == 0).all())
    assert bool((reported.assignment_weight[:, 1] == 1).all())
