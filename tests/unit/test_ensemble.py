"""Networks of the inner folds: who is trained on which row, and who predicts it."""

from dataclasses import replace

import pytest
import torch

from data_modules.batch import Batch, Items
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.objective import Objective
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.outputs import ModelOutputs
from tests.helpers.batches import NUM_TASKS, make_batch, make_model, take
from tests.unit.test_model import every_pattern

FOLDS, REPEATS = 3, 2


def batch_with_folds(repeats: int = 12) -> Batch:
    batch = make_batch(every_pattern(3, repeats=repeats))
    number = torch.arange(len(batch))
    fold = torch.stack([number % FOLDS, number // 2 % FOLDS], dim=1)
    fold[-8:] = -1
    return replace(batch, fold=fold)


def ensemble() -> FoldEnsemble:
    return FoldEnsemble([make_model(3, seed=seed) for seed in range(FOLDS * REPEATS)], FOLDS)


def test_a_held_out_row_is_predicted_by_those_that_did_not_train_on_it_and_another_by_all():
    batch, models = batch_with_folds(), ensemble().eval()
    alone = torch.stack([member(batch).logits for member in models.members])
    found = models(batch).logits
    for row, folds in enumerate(batch.fold.tolist()):
        own = [repeat * FOLDS + fold for repeat, fold in enumerate(folds) if fold >= 0]
        expected = alone[own or list(range(FOLDS * REPEATS)), row].mean(0)
        torch.testing.assert_close(found[row], expected)
    torch.testing.assert_close(models.logits(batch), found)
    for other in (replace(batch, fold=None), replace(batch, fold=torch.full_like(batch.fold, -1))):
        torch.testing.assert_close(models(other).logits, alone.mean(0))
        torch.testing.assert_close(models.logits(other), alone.mean(0))


def test_for_its_logits_a_member_computes_the_rows_that_it_counts_in_alone(monkeypatch: pytest.MonkeyPatch):
    batch, models = batch_with_folds(), ensemble().eval()
    seen: list[list[int]] = []
    forward = MMNARModel.forward

    def recorded(model: MMNARModel, rows: Batch) -> ModelOutputs:
        seen.append(rows.row_id.tolist())
        return forward(model, rows)

    monkeypatch.setattr(MMNARModel, "forward", recorded)
    models.logits(batch)
    outside = (batch.fold < 0).all(1)
    for number, found in enumerate(seen):
        repeat, fold = divmod(number, FOLDS)
        assert found == batch.row_id[(batch.fold[:, repeat] == fold) | outside].tolist()
    assert len(seen) == FOLDS * REPEATS


def test_each_member_trains_on_the_rows_outside_of_its_fold():
    batch, models = batch_with_folds(), ensemble()
    parts = list(models.parts(batch))
    assert [member for member, _ in parts] == list(models.members)
    for number, (_, own) in enumerate(parts):
        repeat, fold = divmod(number, FOLDS)
        assert own.row_id.tolist() == batch.row_id[batch.fold[:, repeat] != fold].tolist()


def module(model: torch.nn.Module) -> MMNARModule:
    objective = Objective([f"t{task}" for task in range(NUM_TASKS)], ObjectiveConfig())
    return MMNARModule(model, objective, OptimConfig(), {"cohort_fingerprint": "c"})


class Stub:
    """What `training_step` reads of a Trainer."""

    log_every_n_steps = 1
    current_epoch = 0

    class fit_loop:  # noqa: N801
        total_batch_idx = 0


def test_the_gradient_of_a_member_is_that_of_its_own_training(monkeypatch: pytest.MonkeyPatch):
    batch, models = batch_with_folds(), ensemble()
    monkeypatch.setattr(MMNARModule, "trainer", Stub())
    monkeypatch.setattr(MMNARModule, "current_epoch", 0)
    for name in ("log", "log_dict"):
        monkeypatch.setattr(MMNARModule, name, lambda *args, **kwargs: None)
    torch.manual_seed(1)
    module(models).training_step(batch, 0).backward()
    for number, member in enumerate(models.members):
        repeat, fold = divmod(number, FOLDS)
        alone = make_model(3, seed=number)
        kept = (batch.fold[:, repeat] != fold).nonzero().squeeze(1).tolist()
        module(alone).training_step(take(replace(batch, fold=None), kept), 0).backward()
        for (name, own), other in zip(member.named_parameters(), alone.parameters(), strict=True):
            assert (own.grad is None) == (other.grad is None), name
            if own.grad is not None:
                torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_rows_of_items_are_selected_with_their_items_and_parts():
    row = torch.tensor([0, 0, 1, 3])
    windows = {"tokens": torch.arange(6).view(6, 1), "length": torch.ones(6), "item": torch.tensor([0, 0, 1, 2, 3, 3])}
    chosen = torch.tensor([False, True, False, True])
    found = Items(row=row, values=windows).select(chosen)
    assert found.row.tolist() == [0, 1]
    assert found.values["item"].tolist() == [0, 1, 1]
    assert found.values["tokens"].squeeze(1).tolist() == [3, 4, 5]
    plain = Items(row=row, values={"vectors": torch.arange(4.0).view(4, 1)}).select(chosen)
    assert plain.row.tolist() == [0, 1]
    assert plain.values["vectors"].squeeze(1).tolist() == [2.0, 3.0]
