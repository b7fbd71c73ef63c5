"""Runs that are pre-trained on more rows than those of the cohort: what they learn from, stopped, and on two ranks."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data_modules import datamodule
from data_modules.loading import opening
from data_modules.loading.arrays import CohortArrays
from data_modules.loading.opened import OpenedCohort
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from mmnar_lightning.config.compose import load
from mmnar_lightning.distributed.signals import PreemptedError
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import folders, single
from tests.helpers.paths import ROOT
from tests.helpers.processes import TRAIN, Ranks

WORDS = [
    "experiment=mimic_structured",
    *(word for word in TRAIN if not word.startswith(("dataset=", "model.fusion.dropout="))),
    "paths.mimic_root=release",
    "cohort.index=first",
    "cohort.modalities=[demographics,labs,radiology_report]",
    "embed.text.encoder=hashed_ngrams",
    "cohort.pretraining_rows=true",
    "objective.pretrain_epochs=2",
    "model.encoder.components=4",
    "model.additive.inverse_penalties=[0.1]",
    "model.additive.canonical=1",
    "trainer.max_epochs=3",
    "rectifier.fit=none",
    "evaluate=false",
    "loader.batch_size=64",
]
BATCHES = 3
"""Of an epoch: about 170 train rows in batches of 64."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pretrained")
    simulate(SimulateConfig(databases=["mimic_iv"], subjects=300, images=False), place / "release")
    return place


def trained(*words: str) -> Path:
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    return single.train(load([*WORDS, *words])).resolve()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / folders.LAST, weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The run that was never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return trained("paths.runs=whole")


@pytest.fixture(autouse=True)
def there(place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def same(found: Path, whole: Path) -> bool:
    one, other = weights(found), weights(whole)
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_weights_depend_on_the_extra_rows(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[int] = []

    def without(*given: Any) -> OpenedCohort:
        cohort = opening.open_cohort(*given)
        deleted.append(len(cohort.pretraining_rows))
        return replace(cohort, pretraining_rows=cohort.pretraining_rows[:0])

    monkeypatch.setattr(datamodule, "open_cohort", without)
    found = trained("paths.runs=without")
    assert not same(found, whole)
    axes = {name: value for name, value in weights(found).items() if name.endswith("_axes")}
    assert len(axes) == 3
    assert not any(torch.equal(value, weights(whole)[name]) for name, value in axes.items()), "axes are of all rows"
    assert deleted[0] > 30


class Poisoned(CohortArrays):
    """Arrays whose unknown labels are no numbers."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.label[~self.label_mask] = torch.nan


def test_no_label_of_an_extra_row_is_read(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bool] = []
    usual = MMNARModule.training_step

    def step(module: MMNARModule, batch: Any, batch_idx: int) -> torch.Tensor:
        read.append(bool(batch.label.isnan().all(1).any()))
        return usual(module, batch, batch_idx)

    monkeypatch.setattr(opening, "CohortArrays", Poisoned)
    monkeypatch.setattr(MMNARModule, "training_step", step)
    assert same(trained("paths.runs=poisoned"), whole)
    assert read == [True] * 2 * BATCHES + [False] * BATCHES, "the extra rows are read before labels are, not after"


@pytest.mark.parametrize("step", [1, BATCHES + 1, 2 * BATCHES])
def test_a_run_that_is_stopped_in_pre_training_ends_as_the_one_that_was_not(
    step: int, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = MMNARModule.training_step
    steps: list[int] = []

    def stopped(module: MMNARModule, batch: Any, batch_idx: int) -> torch.Tensor:
        steps.append(batch_idx)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(module, batch, batch_idx)

    monkeypatch.setattr(MMNARModule, "training_step", stopped)
    with pytest.raises(PreemptedError):
        trained(f"paths.runs=stopped{step}")
    monkeypatch.setattr(MMNARModule, "training_step", usual)
    assert len(steps) == step
    assert same(trained(f"paths.runs=stopped{step}"), whole)


@pytest.fixture(scope="module")
def probes(place: Path, whole: Path) -> Callable[[int], dict[str, Any]]:
    def of(ranks: int) -> dict[str, Any]:
        words = [*WORDS, "model.fusion.dropout=0", "model.loo.sampled=0", "/", f"paths.runs=ranks{ranks}"]
        run = Ranks(ranks, [str(ROOT / "tests" / "helpers" / "probed.py"), *words], place)
        assert run.wait() == [0] * ranks, run.output
        (probe,) = (place / f"ranks{ranks}").rglob("probe.pt")
        found: dict[str, Any] = torch.load(probe, weights_only=True)
        return found | {"weights": weights(probe.parent)}

    return of


def test_two_ranks_are_pre_trained_as_one(probes: Callable[[int], dict[str, Any]]) -> None:
    alone, two = probes(1), probes(2)
    assert len(alone["losses"]) == 3 * BATCHES
    assert two["losses"] == pytest.approx(alone["losses"], abs=1e-4)
    torch.testing.assert_close(two["gradients"][0], alone["gradients"][0], atol=1e-5, rtol=1e-4)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=1e-4, rtol=0)
