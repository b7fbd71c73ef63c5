"""The module as users of Lightning expect it: loaded, fitted, scored and predicting, with a Trainer of one's own."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning import Callback, Trainer
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from data_modules.errors import UserError
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.config.compose import load as compose
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, folders, single
from tests.end_to_end.test_model_folder import SMALL, TASKS, VERSIONS, given

WEIGHTS = {"first": 2.0, "second": 0.5}
__all__ = ["given"]  # a fixture


@pytest.fixture(scope="module", params=["plain", "bins", "late_fusion"])
def config(request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    place = tmp_path_factory.mktemp(request.param)
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    words = [word for word in SMALL if not word.startswith("model.")]
    paths = (f"paths.cohort={given}", f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}")
    own = (f"objective.task_weights={WEIGHTS}".replace("'", ""), "trainer.max_epochs=2", *VERSIONS[request.param])
    return compose(["dataset=custom", *words, *own, *paths])


@pytest.fixture(scope="module")
def run(config: ExperimentConfig) -> Path:
    return single.train(config)


@pytest.fixture
def module(run: Path) -> MMNARModule:
    return MMNARModule.load_from_checkpoint(run / folders.BEST)


@pytest.fixture(scope="module")
def datamodule(config: ExperimentConfig) -> CohortDataModule:
    found = build.build_datamodule(config)
    found.prepare_data()
    found.setup()
    return found


def trainer(*callbacks: Callback, **settings: Any) -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", logger=False, callbacks=list(callbacks), **quiet, **settings)


def plain(batches: Iterable[Batch]) -> DataLoader[Batch]:
    """A loader of torch that knows no cohort."""
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]  # a list serves as a dataset


def metrics_of(datamodule: CohortDataModule) -> PatternMetrics:
    cohort = datamodule.cohort
    return PatternMetrics(cohort.tasks, cohort.names, cohort.patterns, 0)


@torch.no_grad()
def expected(module: MMNARModule, loader: Any) -> dict[str, float]:
    """Loss and AUROC of the rows of a loader, by other code."""
    module.eval()
    batches = list(loader)
    logits = torch.cat([module(batch).logits for batch in batches]).double()
    label, known = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("label", "label_mask"))
    found = {"loss": 0.0}
    for place, task in enumerate(TASKS):
        own = known[:, place]
        truth, probability = label[own, place], logits[own, place].sigmoid()
        each = -torch.where(truth == 1, probability.log(), (1 - probability).log())
        found["loss"] += WEIGHTS[task] * float(each.mean())
        found[f"auroc/{task}"] = float(roc_auc_score(truth, probability))
    return found


@pytest.mark.parametrize("split", ["val", "test"])
def test_validate_and_test_return_the_metrics(
    module: MMNARModule, datamodule: CohortDataModule, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datamodule, "loader", replace(datamodule.loader, eval_batch_size=7))
    own = trainer(metrics_of(datamodule))
    evaluate = own.validate if split == "val" else own.test
    (found,) = evaluate(module, datamodule=datamodule, verbose=False)
    for name, value in expected(module, getattr(datamodule, f"{split}_dataloader")()).items():
        assert found[f"{split}/{name}"] == pytest.approx(value, rel=1e-5), name
    (alone,) = trainer().validate(module, datamodule=datamodule, verbose=False)
    assert set(alone) == {"val/loss"}


def test_predict_gives_the_predictions_of_the_run(run: Path, module: MMNARModule, datamodule: CohortDataModule) -> None:
    parts = trainer().predict(module, datamodule=datamodule)
    found: dict[str, Tensor] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    saved = pl.read_parquet(run / "predictions.parquet")
    assert found["row_id"].tolist() == saved["row_id"].to_list()
    for place, task in enumerate(TASKS):
        torch.testing.assert_close(found["logit"][:, place].double(), saved[f"logit/{task}"].to_torch())
        column = f"rectified/{task}" if module.rectifier is not None else f"logit/{task}"
        torch.testing.assert_close(found["rectified"][:, place].double(), saved[column].to_torch().sigmoid())


def test_a_run_logs_the_loss_of_val_once_an_epoch(run: Path) -> None:
    logged = pl.read_csv(run / "metrics.csv", infer_schema_length=None)
    assert len(logged["val/loss"].drop_nulls()) == len(logged["val/auroc"].drop_nulls()) == 2
    assert len(logged["test/auroc"].drop_nulls()) == 1


def test_a_checkpoint_determines_the_module(
    run: Path, config: ExperimentConfig, module: MMNARModule, datamodule
) -> None:
    built = build.build_module(config, datamodule.cohort, initialised=False)
    stored = torch.load(run / folders.BEST, weights_only=True)
    assert str(module) == str(built)
    assert dict(module.hparams) == dict(built.hparams)
    assert module.state_dict().keys() == stored["state_dict"].keys()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, stored["state_dict"][name], rtol=0, atol=0, equal_nan=True)


def test_a_checkpoint_that_lacks_what_it_needs_is_refused_by_name(run: Path, tmp_path: Path) -> None:
    stored = torch.load(run / folders.BEST, weights_only=True)
    del stored["hyper_parameters"]["network"]
    torch.save(stored, tmp_path / "old.ckpt")
    with pytest.raises(SavedModelError, match=r"old\.ckpt is no checkpoint of this version: .* 'network'"):
        MMNARModule.load_from_checkpoint(tmp_path / "old.ckpt")


def test_fit_takes_plain_loaders_of_batches(module: MMNARModule, datamodule: CohortDataModule) -> None:
    train, val = plain(datamodule.train_dataloader()), plain(datamodule.val_dataloader())
    assert len(train) > 2
    before = {name: value.clone() for name, value in module.model.named_parameters() if value.requires_grad}
    own = trainer(max_epochs=2, limit_train_batches=2, num_sanity_val_steps=0, log_every_n_steps=1)
    own.fit(module, train, val)
    assert own.global_step == module._num_steps() == 4
    assert own.callback_metrics["val/loss"] == pytest.approx(expected(module, val)["loss"], rel=1e-5)
    assert any(not value.equal(before[name]) for name, value in module.model.named_parameters() if name in before)


def test_a_training_without_an_end_is_refused(module: MMNARModule, datamodule: CohortDataModule) -> None:
    train = plain(datamodule.train_dataloader())
    with pytest.raises(UserError, match="needs a length: give the Trainer max_epochs"):
        trainer(max_epochs=-1).fit(module, train, train)
    own = trainer(max_epochs=-1, max_steps=3, log_every_n_steps=1)
    own.fit(module, train, train)
    assert own.global_step == module._num_steps() == 3
