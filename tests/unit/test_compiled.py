"""Compiled losses are those of the plain step: values, terms and gradients, in every epoch, without a graph break."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from data_modules.batch import Items
from mmnar_lightning.compiled import CompiledLosses
from mmnar_lightning.losses.config import ObjectiveConfig, Weights
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.objective import Objective
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from tests.helpers.batches import NUM_TASKS, make_batch, make_model

ROWS, MODALITIES, COHORT = 12, 3, "a cohort"
PRESENT = torch.arange(ROWS * MODALITIES).reshape(ROWS, MODALITIES) % 4 != 1
EPOCHS = [Weights(0.0, 1.0), Weights(1.0, 0.5)]
"""Of pre-training, and later."""


@pytest.fixture(autouse=True)
def no_earlier_graphs() -> None:
    """Forget what other tests of this process compiled: graphs are kept by code, not by module."""
    torch._dynamo.reset()


def made() -> MMNARModule:
    """A module with all terms and a loss offset that is fitted on subjects from 100 on."""
    torch.manual_seed(0)
    objective = Objective([f"t{task}" for task in range(NUM_TASKS)], ObjectiveConfig(task_weighting="learned"))
    offset = Rectifier(NUM_TASKS, MODALITIES, list(range(8)), 400, RectifierConfig(min_rows=10, gate=False))
    rows, generator = 200, torch.Generator().manual_seed(1)
    present = torch.rand(rows, MODALITIES, generator=generator) < 0.6
    offset.fit_centred(
        logits=torch.zeros(rows, NUM_TASKS),
        label=(torch.rand(rows, NUM_TASKS, generator=generator) < 0.2 + 0.5 * present[:, :1]).float(),
        label_mask=torch.ones(rows, NUM_TASKS, dtype=torch.bool),
        present=present,
        subject=torch.arange(rows) + 100,
        cohort=COHORT,
    )
    assert offset.strength.any()
    model = make_model(MODALITIES)
    return MMNARModule(model, objective, OptimConfig(), {"cohort_fingerprint": COHORT}, offset)


def gradients(module: MMNARModule, loss: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: own.grad.clone() for name, own in module.named_parameters() if own.grad is not None}


def test_losses_and_gradients_are_those_of_the_plain_step_in_every_epoch_and_nothing_breaks_the_graph() -> None:
    module, batch = made().train(), make_batch(PRESENT)
    compiled = CompiledLosses(module.model, "default", {ROWS}, backend="eager", whole=True)
    seen = []
    with torch._dynamo.config.patch(error_on_recompile=True):
        for weights in EPOCHS:
            loss, terms = module._losses(module.model, batch, weights)
            found, same = compiled(module._losses, batch, weights)
            torch.testing.assert_close(found, loss, rtol=1e-5, atol=1e-6)
            assert list(same) == list(terms)
            assert {"reconstruction", "contrast", "assignment", "task/t0"} <= set(terms)
            for name, term in terms.items():
                torch.testing.assert_close(same[name], term, rtol=1e-5, atol=1e-6)
            left, right = gradients(module, found), gradients(module, loss)
            assert set(left) == set(right)
            for name, gradient in right.items():
                torch.testing.assert_close(left[name], gradient, rtol=1e-5, atol=1e-6)
            seen.append(loss.item())
    assert seen[0] != pytest.approx(seen[1])


def test_only_full_batches_of_vectors_are_taken() -> None:
    compiled = CompiledLosses(None, "default", {ROWS}, backend="eager")
    batch = make_batch(PRESENT)
    assert compiled.takes(batch)
    assert not compiled.takes(make_batch(PRESENT[:-1]))
    documents = Items(row=torch.zeros(1, dtype=torch.int64), values={"vectors": torch.zeros(1, 2)})
    changed = deepcopy(batch)
    changed.inputs["m0"] = documents
    assert not compiled.takes(changed)


def test_rows_of_the_subjects_of_the_offset_are_counted_in_training_and_refused_at_its_end() -> None:
    module = made().train()
    module.on_train_epoch_start()
    module._see_subjects(make_batch(PRESENT))
    module.on_train_epoch_end()
    shared = deepcopy(make_batch(PRESENT))
    shared.subject[:2] = 150
    module.forward(shared)
    module._see_subjects(shared)
    with pytest.raises(ValueError, match=f"2 of {2 * ROWS} rows belong to subjects that the rectifier was fitted on"):
        module.on_train_epoch_end()
    module.on_train_epoch_start()
    module.on_train_epoch_end()
    with pytest.raises(ValueError, match=f"2 of {ROWS} rows belong"):
        module.eval().forward(shared)


def test_a_checkpoint_within_an_epoch_refuses_them_too() -> None:
    module, shared = made().train(), deepcopy(make_batch(PRESENT))
    shared.subject[:3] = 150
    module._see_subjects(shared)
    with pytest.raises(ValueError, match=f"3 of {ROWS} rows belong"):
        module.on_save_checkpoint({})


@pytest.mark.parametrize("scaled", [True, False])
def test_scaled_gradients_are_divided_before_they_are_clipped_and_may_be_infinite(scaled: bool) -> None:
    """A fused step would divide them after clipping; a step with infinite ones is skipped, and no divergence."""
    module = made().train()
    plugin = SimpleNamespace(scaler=object() if scaled else None)
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        precision_plugin=plugin, max_epochs=1, max_steps=3, accumulate_grad_batches=1, limit_train_batches=1.0,
        fit_loop=SimpleNamespace(_data_source=SimpleNamespace(dataloader=lambda: [0])),
        strategy=SimpleNamespace(model=None),
    )  # fmt: skip
    optimizer = module.configure_optimizers()["optimizer"]
    assert optimizer.defaults["fused"] is not scaled
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    module.configure_gradient_clipping(optimizer)
    assert module.watch.broken() == ([] if scaled else ["gradient"])
