"""One trial: it continues where it was, and never reads test rows."""

import os
from pathlib import Path

import pytest
import torch
from lightning import Callback

from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.cli import main
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders
from mmnar_lightning.runs import trainer as training
from mmnar_lightning.sweeps.trial import trial
from mmnar_lightning.sweeps.workers import FOLDER_VARIABLE

EPOCHS = 3
WORDS = [
    "dataset=custom",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "model.fusion.dim=8",
    "model.fusion.num_heads=2",
    "evaluate=false",
]


class Stop(Callback):
    """Ends training without a word at the start of an epoch."""

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 2:
            raise RuntimeError("the machine is gone")


@pytest.fixture
def words(workplace: Path, custom_cohort: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return [*WORDS, f"paths.cohort={custom_cohort}"]


def test_a_trial_that_was_cut_off_is_continued_in_its_folder_and_ends_as_one_that_was_not(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "whole")
    whole = trial(load(words))
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "r1")
    with monkeypatch.context() as patch:
        ordinary = checkpoint_callbacks
        patch.setattr(training, "checkpoint_callbacks", lambda *given: [*ordinary(*given), Stop()])
        with pytest.raises(RuntimeError, match="the machine is gone"):
            trial(load(words))
    assert folders.RUN_ID_VARIABLE not in os.environ
    folder = trial(load(words))
    assert folder == Path("runs/sweeps/s1/r1").absolute()
    assert len(list(folder.glob("logs/*"))) == 2
    one, other = (torch.load(path / folders.LAST, weights_only=True)["state_dict"] for path in (whole, folder))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not (folder / folders.RESULTS).exists()
    assert not (folder / folders.PREDICTIONS).exists()
    written = (folder / folders.LAST).stat().st_mtime_ns
    assert trial(load(words)) == folder
    assert (folder / folders.LAST).stat().st_mtime_ns == written, "a finished trial was trained again"


def test_a_trial_is_refused_outside_of_a_sweep_and_where_it_would_read_test_rows(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="mmnar sweep"):
        trial(load(words))
    monkeypatch.setenv(FOLDER_VARIABLE, "some")
    with pytest.raises(ConfigError, match="several"):
        trial(load([*words, "evaluation.num_seeds=2"]))
    assert main(["trial", *words, "evaluate=true"]) == 1
    assert "never reads test rows" in capsys.readouterr().out
    assert not Path("some").exists()
