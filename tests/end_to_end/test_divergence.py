"""A training that diverges says where and what to try, and leaves the checkpoint from before."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.objective import Objective
from mmnar_lightning.outputs import ModelOutputs
from mmnar_lightning.runs import folders, single
from tests.helpers.small_runs import compose


@pytest.fixture
def settings(workplace: Path, custom_cohort: Path) -> Callable[..., ExperimentConfig]:
    return partial(compose, custom_cohort, "trainer.max_epochs=4")


def _loss(patch: pytest.MonkeyPatch, epoch: int, term: str, value: float) -> None:
    usual = Objective.terms

    def terms(self: Objective, outputs: ModelOutputs, batch: Any) -> dict[str, torch.Tensor]:
        found = usual(self, outputs, batch)
        return {**found, term: found[term] * value} if now["epoch"] >= epoch else found

    now = {"epoch": 0}
    start = MMNARModule.on_train_epoch_start

    def noted(self: MMNARModule) -> None:
        now["epoch"] = self.current_epoch
        start(self)

    patch.setattr(MMNARModule, "on_train_epoch_start", noted)
    patch.setattr(Objective, "terms", terms)


@pytest.mark.parametrize(
    ("term", "remedy"),
    [("task/first", "an optim.lr below 0.0002"), ("contrast", r"objective\.contrast=0")],
)
@pytest.mark.parametrize("every", [0, 1])
def test_a_loss_that_is_nan_names_epoch_term_and_settings_and_keeps_the_checkpoint(
    term, remedy, every, settings, monkeypatch
) -> None:
    words = (f"trainer.checkpoint_every_steps={every}",)
    with monkeypatch.context() as patch:
        _loss(patch, 2, term, float("nan"))
        with pytest.raises(UserError, match=rf"diverged in epoch 2, .*{term}.*gradient.*{remedy}.*last\.ckpt is from"):
            single.train(settings(*words))
    (folder,) = Path("runs").glob("*/*")
    last = torch.load(folder / folders.LAST, weights_only=True)
    assert last["epoch"] == 1
    assert all(weight.isfinite().all() for weight in last["state_dict"].values())
    assert single.train(settings(*words)) == folder


def test_a_gradient_that_is_nan_is_named(settings, monkeypatch) -> None:
    usual = MMNARModule.configure_gradient_clipping

    def broken(self: MMNARModule, *given: Any, **named: Any) -> None:
        next(self.parameters()).grad = torch.full_like(next(self.parameters()), float("nan"))
        usual(self, *given, **named)

    monkeypatch.setattr(MMNARModule, "configure_gradient_clipping", broken)
    with pytest.raises(UserError, match=r"epoch 0, .*: gradient became NaN.* No checkpoint was written before"):
        single.train(settings())
    assert not list(Path("runs").rglob("*.ckpt"))


def test_probabilities_that_are_nan_are_named(settings, monkeypatch) -> None:
    usual = MMNARModule.forward

    def broken(self: MMNARModule, batch: Any) -> ModelOutputs:
        outputs = usual(self, batch)
        outputs.logits[0] = float("nan")
        return outputs

    monkeypatch.setattr(MMNARModule, "forward", broken)
    with pytest.raises(UserError, match=r"diverged in epoch 0, .*: probability became NaN"):
        single.train(settings())
