"""A run with callbacks, loggers and arguments of the Trainer that the user names, and the layers for debugging."""

import os
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, single
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL, compose

HERE = __name__
seen: dict[str, object] = {}


class Watcher(Callback):
    """Notes what the Trainer was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: Trainer, pl_module: object) -> None:
        seen[self.name] = (trainer.limit_train_batches, torch.are_deterministic_algorithms_enabled())


class OwnLogger(CSVLogger):
    """A logger of the user's."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_custom_cohort(tmp_path_factory.mktemp("parts") / "given")


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a plain name, as a module on PYTHONPATH would be."""
    import sys

    monkeypatch.setitem(sys.modules, "own_parts", sys.modules[HERE])


def test_a_run_uses_what_the_user_names(cohort: Path, workplace: Path, own_module: None) -> None:
    folder = single.train(
        compose(
            cohort,
            "trainer.max_epochs=2",
            "callbacks=[{class: own_parts.Watcher, args: {name: mine}}]",
            "loggers=[{class: own_parts.OwnLogger, args: {name: own}}]",
            "trainer.extra={limit_train_batches: 2}",
            "trainer.profiler=simple",
            "trainer.deterministic=true",
        )
    )
    torch.use_deterministic_algorithms(False)
    assert seen["mine"] == (2, True)
    (own,) = folder.glob("own/version_*/metrics.csv")
    ours = pl.read_csv(next(iter(folder.glob("logs/*/metrics.csv"))), infer_schema_length=None)
    assert set(pl.read_csv(own, infer_schema_length=None).columns) == set(ours.columns)
    (report,) = folder.glob("profile/fit-report*")
    assert "run_training_batch" in report.read_text()
    assert torch.load(folder / folders.LAST, weights_only=True)["global_step"] == 4


@pytest.mark.parametrize("layer", ["fast", "overfit", "profile"])
def test_a_layer_for_debugging_trains(layer: str, cohort: Path, workplace: Path) -> None:
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    own = [word for word in SMALL if not word.startswith(("evaluation", "loader"))]
    epochs = ["trainer.max_epochs=60", "optim.lr=0.01"] if layer == "overfit" else []
    config = load([f"experiment=custom,debug/{layer}", "dataset=custom", f"paths.cohort={cohort}", *own, *epochs])
    folder = single.train(config)
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    if layer == "overfit":
        loss = logged["train/loss"].drop_nulls()
        assert loss[-1] < 0.3 * loss[0]
    assert (folder / folders.RESULTS).is_file() is (layer == "fast")
    assert bool(list(folder.glob("profile/*"))) is (layer == "profile")
