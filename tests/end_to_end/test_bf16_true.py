"""Weights in bfloat16 (`bf16-true`): a whole run, its predictions and resumption, and a Trainer of one's own."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Trainer

import mmnar_lightning
from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from data_modules.errors import UserError
from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, folders, single
from mmnar_lightning.runs import trainer as training
from tests.conftest import write_custom_cohort
from tests.helpers.paths import shared
from tests.helpers.small_runs import Stop, compose, results_of

HALF = "trainer.precision=bf16-true"
EPOCHS = 2
QUIET: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_custom_cohort(tmp_path_factory.mktemp("cohort") / "given")


@pytest.fixture(scope="module")
def settings(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ExperimentConfig]:
    place = tmp_path_factory.mktemp("half")
    words = (f"trainer.max_epochs={EPOCHS}", f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}")
    return partial(compose, given, *words)


@pytest.fixture(scope="module")
def whole(settings: Callable[..., ExperimentConfig]) -> Iterator[Path]:
    """An undisturbed run; read-only."""
    folder = single.train(settings(HALF))
    with shared(folder):
        yield folder


def state_of(folder: Path, name: str = folders.LAST) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)["state_dict"]
    return found


def test_the_matrices_of_the_network_are_rounded_and_nothing_else(whole: Path) -> None:
    state = state_of(whole)
    half = {name for name, value in state.items() if value.dtype == torch.bfloat16}
    assert half
    assert all(name.startswith("model.") and state[name].ndim > 1 for name in half)
    others = [name for name, value in state.items() if name not in half and value.is_floating_point()]
    assert any(name.startswith("rectifier.") for name in others)
    moments = torch.load(whole / folders.LAST, weights_only=True)["optimizer_states"][0]["state"].values()
    assert torch.bfloat16 in {own["exp_avg"].dtype for own in moments}


def test_one_epoch_gives_nearly_the_loss_of_32_bits(settings: Callable[..., ExperimentConfig]) -> None:
    losses = []
    for words in ([HALF], ["trainer.precision=32-true"]):
        folder = single.train(settings("trainer.max_epochs=1", "rectifier.fit=none", "evaluate=false", *words))
        losses.append(pl.read_csv(folder / "metrics.csv", infer_schema_length=None)["val/loss"].drop_nulls()[-1])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.01)


def test_a_stopped_run_is_resumed_to_the_same_weights(
    settings: Callable[..., ExperimentConfig], whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = checkpoint_callbacks
    monkeypatch.setattr(training, "checkpoint_callbacks", lambda *own: [Stop(0), *usual(*own)])
    with pytest.raises(RuntimeError, match="on purpose"):
        single.train(settings(HALF, f"paths.runs={tmp_path}"))
    monkeypatch.setattr(training, "checkpoint_callbacks", usual)
    resumed = single.train(settings(HALF, f"paths.runs={tmp_path}", "resume=last"))
    expected, found = state_of(whole), state_of(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert results_of(resumed) == results_of(whole)


@pytest.fixture
def datamodule(settings: Callable[..., ExperimentConfig]) -> CohortDataModule:
    found = build.build_datamodule(settings())
    found.prepare_data()
    found.setup()
    return found


def test_the_stored_model_predicts_what_the_run_evaluated(whole: Path, datamodule: CohortDataModule) -> None:
    stored = pl.read_parquet(whole / folders.PREDICTIONS)
    model = mmnar_lightning.load(whole)
    found = model.predict(datamodule.cohort, split="test").frame(model.tasks)
    assert found["row_id"].to_list() == stored["row_id"].to_list()
    for task in model.tasks:
        for own, kept in (("probability", "logit"), ("rectified", "rectified")):
            expected = 1 / (1 + np.exp(-stored[f"{kept}/{task}"].to_numpy()))
            assert np.abs(found[f"{own}/{task}"].to_numpy() - expected).max() < 0.01, "it computes in 32 bits"


def test_a_trainer_of_ones_own_fits_scores_and_predicts(whole: Path, datamodule: CohortDataModule) -> None:
    module = MMNARModule.load_from_checkpoint(whole / folders.BEST)
    trainer = Trainer(accelerator="cpu", logger=False, precision="bf16-true", max_epochs=1, **QUIET)
    trainer.fit(module, datamodule=datamodule)
    assert {value.dtype for value in module.state_dict().values()} >= {torch.bfloat16, torch.float32}
    (scores,) = trainer.test(module, datamodule=datamodule, verbose=False)
    assert 0 < scores["test/loss"] < 2
    found = trainer.predict(module, dataloaders=datamodule.test_dataloader())
    assert found
    rows: list[Any] = list(found)
    assert sum(len(part["logit"]) for part in rows) == sum(map(len, datamodule.test_dataloader()))


class Seen(MMNARModule):
    """Keeps the type of the labels of the first step."""

    label: torch.dtype | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.label = batch.label.dtype
        return super().training_step(batch, batch_idx)


def test_labels_keep_their_numbers(whole: Path, datamodule: CohortDataModule) -> None:
    module = Seen.load_from_checkpoint(whole / folders.BEST)
    assert isinstance(module, Seen)
    trainer = Trainer(accelerator="cpu", logger=False, precision="bf16-true", max_steps=1, **QUIET)
    trainer.fit(module, datamodule=datamodule)
    assert module.label == torch.float32


@pytest.mark.parametrize("precision", ["16-true", "64-true"])
def test_other_weights_are_refused_in_words(
    whole: Path, datamodule: CohortDataModule, precision: Literal["16-true", "64-true"]
) -> None:
    module = MMNARModule.load_from_checkpoint(whole / folders.BEST)
    trainer = Trainer(accelerator="cpu", logger=False, precision=precision, max_epochs=1, **QUIET)
    with pytest.raises(UserError, match=f"precision={precision} .*32-true, bf16-mixed, 16-mixed, bf16-true"):
        trainer.fit(module, datamodule=datamodule)
