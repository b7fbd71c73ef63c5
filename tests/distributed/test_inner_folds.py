"""Runs over inner folds: all models in one training, stopped, on two ranks, and averaged on the test rows."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.distributed.signals import PreemptedError
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, folders, single
from tests.helpers.paths import ROOT
from tests.helpers.processes import TRAIN, Ranks, write_cohort

FOLDS = 3
WORDS = [
    "experiment=custom,tuned",
    *TRAIN,
    "paths.cohort=given",
    f"evaluation.inner_folds={FOLDS}",
    "model.additive.inverse_penalties=[0.1,1.0]",
    "model.additive.canonical=1",
    "rectifier.start_epoch=1",
    "trainer.max_epochs=3",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("inner")
    write_cohort(place / "given")
    return place


def trained(*words: str) -> Path:
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    return single.train(load([*WORDS, *words])).resolve()


def state(folder: Path, name: str = folders.LAST) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)["state_dict"]
    return found


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return trained("paths.runs=whole")


@pytest.fixture(autouse=True)
def there(place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_the_epoch_with_the_least_log_loss_of_held_out_rows_is_kept(whole: Path) -> None:
    logged = pl.read_csv(whole / "metrics.csv", infer_schema_length=None).drop_nulls(["epoch", "val/log_loss"])
    best = torch.load(whole / folders.BEST, weights_only=True)["epoch"]
    assert best == int(np.argmin(logged.sort("epoch")["val/log_loss"].to_numpy()))
    assert logged["val/count/common"][0] == load_cohort().rows("train").shape[0], "train and val are scored together"


def load_cohort() -> Any:
    datamodule = build.build_datamodule(load(WORDS))
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule.cohort


def test_a_test_row_gets_the_mean_logit_of_the_models_of_all_folds(whole: Path) -> None:
    cohort = load_cohort()
    module = build.build_module(load(WORDS), cohort)
    module.load_state_dict(state(whole, folders.BEST), strict=False)
    batch = cohort.arrays.gather(cohort.rows("test"))
    with torch.no_grad():
        alone = torch.stack([member.eval()(batch).logits for member in module.model.members])
        offset = module.loss_offset(torch.zeros_like(alone[0]), batch.present, batch.subject, module.cohort)
    assert len(alone) == FOLDS
    assert bool((alone[0] != alone[1]).any())
    predicted = pl.read_parquet(whole / "predictions.parquet").sort("row_id")
    for task, name in enumerate(cohort.tasks):
        expected = (alone.mean(0) + offset)[:, task].double().numpy()
        np.testing.assert_allclose(predicted[f"logit/{name}"].to_numpy(), expected, atol=1e-5)


def test_the_subjects_of_val_are_train_subjects_and_those_of_calibration_and_test_are_in_no_fold() -> None:
    cohort = load_cohort()
    fold = cohort.arrays.fold[:, 0]
    for split in ("calibration", "test"):
        assert bool((fold[cohort.rows(split)] == -1).all())
    assert set(fold[cohort.rows("train")].tolist()) == set(range(FOLDS))
    assert not len(cohort.rows("val"))
    given = pl.read_parquet("given/cohort.parquet")
    assert len(cohort.rows("train")) == given.filter(pl.col("split").is_in(["train", "val"])).height


def test_a_stopped_run_ends_as_the_one_that_was_not(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, steps = MMNARModule.training_step, []

    def stopped(module: MMNARModule, batch: Any, batch_idx: int) -> torch.Tensor:
        steps.append(batch_idx)
        if len(steps) == 11:  # within the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(module, batch, batch_idx)

    monkeypatch.setattr(MMNARModule, "training_step", stopped)
    with pytest.raises(PreemptedError):
        trained("paths.runs=stopped")
    monkeypatch.setattr(MMNARModule, "training_step", usual)
    again = trained("paths.runs=stopped")
    one, other = state(whole), state(again)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name].nan_to_num(9), other[name].nan_to_num(9))] == []
    scores = [json.loads((folder / "results.json").read_text())["tasks"] for folder in (whole, again)]
    assert scores[0] == scores[1]


@pytest.fixture(scope="module")
def probes(place: Path, whole: Path) -> Callable[[int], dict[str, Any]]:
    def of(ranks: int) -> dict[str, Any]:
        words = [*WORDS, "model.loo.sampled=0", "evaluate=false", "/", f"paths.runs=ranks{ranks}"]
        run = Ranks(ranks, [str(ROOT / "tests" / "helpers" / "probed.py"), *words], place)
        assert run.wait() == [0] * ranks, run.output
        (probe,) = (place / f"ranks{ranks}").rglob("probe.pt")
        found: dict[str, Any] = torch.load(probe, weights_only=True)
        return found | {"weights": state(probe.parent)}

    return of


def test_two_ranks_train_the_models_of_all_folds_as_one_process(probes: Callable[[int], dict[str, Any]]) -> None:
    alone, two = probes(1), probes(2)
    assert two["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    torch.testing.assert_close(two["gradients"][0], alone["gradients"][0], atol=1e-5, rtol=1e-4)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=1e-3, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    "words", ["trainer.accumulate=2", "trainer.strategy=fsdp trainer.accelerator=auto", "evaluation.inner_folds=1"]
)
def test_what_inner_folds_cannot_be_combined_with_is_refused(words: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.inner_folds="):
        load([*WORDS, *words.split()])


def test_a_fold_without_subjects_is_refused(place: Path) -> None:
    with pytest.raises(Exception, match="of the folds have no subject of train or val"):
        trained("paths.runs=many", "evaluation.inner_folds=400")


def test_two_ranks_report_the_blend_and_the_gains_of_parts_of_one_process(place: Path) -> None:
    words = [word for word in WORDS if word not in {"rectifier.start_epoch=1", "trainer.max_epochs=3"}]
    words += ["trainer.max_epochs=1", "objective.reconstruction=0", "objective.contrast=0", "objective.assignment=0"]
    words += ["rectifier.fit=none", "model.fusion.conditioned=false", "model.additive.slopes=shared"]
    words += ["evaluation.blend=true", "diagnostics.parts=true"]
    run = Ranks(2, ["-m", "mmnar_lightning.cli", "train", *words, "paths.runs=two"], place)
    assert run.wait() == [0, 0], run.output
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    alone = single.train(load([*words, "paths.runs=one"]))
    (two,) = (place / "two" / "custom-tuned").iterdir()
    found, expected = (json.loads((folder / "results.json").read_text()) for folder in (two, alone))
    for key in ("trees", "iterations"):
        assert found["blend"][key] == expected["blend"][key]
    assert list(found["diagnostics"]["parts"]) == ["additive", "canonical", "bins"]
    for part, tasks in expected["diagnostics"]["parts"].items():
        for task, own in tasks.items():
            brier = found["diagnostics"]["parts"][part][task]["brier"]["value"]
            assert brier == pytest.approx(own["brier"]["value"], abs=2e-5)
            assert abs(brier) > 2e-4
