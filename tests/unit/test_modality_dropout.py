"""Modality dropout in training: what the network sees of each row, and that an evaluated row keeps all it has."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmnar_lightning.config.compose import load
from mmnar_lightning.losses.config import AUXILIARY
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.hiding import drop
from mmnar_lightning.objective import Objective
from tests.helpers.batches import NUM_TASKS, make_batch, make_model, modalities
from tests.unit.test_model import TASKS, every_pattern

RATE, SEED, COUNT = 0.3, 7, 4
CONFIG = load(["experiment=custom,baselines/modality_dropout", "paths.cohort=none", "model.fusion.dim=16"])
"""As experiments/baselines/modality_dropout.yaml sets it."""
BATCH = make_batch(every_pattern(COUNT, repeats=80))


def networks() -> tuple[MMNARModel, MMNARModel]:
    """The baseline, and the same network and weights without the drop; neither drops a hidden unit."""
    made = []
    for rate in (CONFIG.model.modality_dropout, 0.0):
        fusion = replace(CONFIG.model.fusion, dropout=0.0)
        config = replace(CONFIG.model, fusion=fusion, modality_dropout=rate)
        torch.manual_seed(0)
        made.append(MMNARModel(modalities(COUNT), NUM_TASKS, config, CONFIG.objective.auxiliary).train())
    return made[0], made[1]


def seen(model: MMNARModel) -> Tensor:
    """The presence that the fusion of a network is given."""
    found = []
    with model.fusion.register_forward_pre_hook(lambda _, given: found.append(given[1])):
        torch.manual_seed(SEED)
        model(BATCH)
    return found[0]


def test_training_is_that_of_the_network_on_the_presence_that_the_drop_gives() -> None:
    dropping, plain = networks()
    torch.manual_seed(SEED)
    kept = drop(BATCH.present, RATE)
    torch.manual_seed(SEED)
    outputs, expected = dropping(BATCH), plain(replace(BATCH, present=kept))
    for name in ("logits", "representation", "encodings"):
        assert torch.equal(getattr(outputs, name), getattr(expected, name)), name
    assert not torch.equal(outputs.logits, plain(BATCH).logits)
    objective = Objective(TASKS, CONFIG.objective)
    for own in (outputs, expected):
        objective(objective.terms(own, BATCH)).backward()
    gradients = zip(dropping.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in gradients if one.grad is not None)


def test_every_row_keeps_one_of_its_modalities_and_loses_the_others_at_the_rate() -> None:
    dropping, _ = networks()
    kept = seen(dropping)
    assert bool((kept <= BATCH.present).all())
    assert torch.equal(kept.any(1), BATCH.present.any(1))
    alone = BATCH.present.sum(1) == 1
    assert torch.equal(kept[alone], BATCH.present[alone])
    pairs = kept[BATCH.present.sum(1) == 2].sum(1).double()
    expected = 2 - (1 - (1 - RATE) ** 2)  # one is dropped unless both would stay
    assert abs(pairs.mean() - expected) < 4 * pairs.std() / len(pairs) ** 0.5


@torch.no_grad()
def test_an_evaluated_row_keeps_all_and_draws_nothing() -> None:
    dropping, plain = networks()
    assert torch.equal(seen(dropping.eval()), BATCH.present)
    before = torch.get_rng_state()
    assert torch.equal(dropping(BATCH).logits, plain.eval()(BATCH).logits)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("auxiliary", [(), AUXILIARY])
def test_beside_label_free_terms_it_drops_the_same_and_asks_for_no_presence_that_it_took_away(auxiliary) -> None:
    plain = make_model(COUNT, auxiliary=auxiliary).train()
    torch.manual_seed(SEED)
    kept = drop(BATCH.present, RATE)
    expected = plain(replace(BATCH, present=kept))
    dropping = make_model(COUNT, auxiliary=auxiliary).train()
    dropping.config = replace(dropping.config, modality_dropout=RATE)
    torch.manual_seed(SEED)
    outputs = dropping(BATCH)
    assert torch.equal(outputs.logits, expected.logits)
    if auxiliary:
        assert torch.equal(outputs.leave_one_out.reconstructions, expected.leave_one_out.reconstructions)
        assert not bool(outputs.leave_one_out.assignment_weight[BATCH.present & ~kept].any())
