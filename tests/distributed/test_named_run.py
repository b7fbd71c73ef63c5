"""A folder that the environment names is resumed under its own settings, or not at all."""

import os
from pathlib import Path

import pytest
import torch

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import folders, protocols
from mmnar_lightning.sweeps.trial import trial
from mmnar_lightning.sweeps.workers import FOLDER_VARIABLE
from tests.conftest import write_custom_cohort
from tests.distributed.test_resume import BATCHES, Killed, at, kill
from tests.helpers.processes import TRAIN, write_cohort

ARRAY = (
    "paths.cohort=other",
    "cohort.split.num_folds=3",
    "rectifier.fit=crossfit",
    "trainer.max_epochs=1",
    "evaluate=false",
    "evaluation.part=0",
)


@pytest.fixture(autouse=True)
def place(workplace: Path, monkeypatch) -> Path:
    monkeypatch.setenv(folders.RUN_ID_VARIABLE, "job-1")
    write_cohort(workplace / "given")
    return workplace


def settings(*words: str) -> ExperimentConfig:
    return load([*TRAIN, "paths.cohort=given", "trainer.max_epochs=2", "rectifier.fit=none", *words])


def train(*words: str) -> Path:
    """One start of a job."""
    os.environ[folders.RUN_ID_VARIABLE] = "job-1"
    return protocols.train(settings(*words))


def stop(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MMNARModule, "training_step", at(BATCHES + 2, kill, MMNARModule.training_step))
        with pytest.raises(Killed):
            train(*words)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_job_goes_on_with_its_settings_and_is_refused_with_others(capsys) -> None:
    stop()
    folder = Path("runs/custom/job-1")
    before = files(folder)
    with pytest.raises(ConfigError, match=r"job-1 was started with other settings.*seed: 0 before, 1 now"):
        train("seed=1")
    with pytest.raises(ConfigError, match=r"optim\.lr: .* now\); resume_with=\[optim\.lr\]"):
        train("optim.lr=0.5")
    assert files(folder) == before
    train("optim.lr=1e-4", "resume_with=[optim.lr]", "resume=new")
    assert f"resumed from last.ckpt, epoch 0, step {BATCHES}" in capsys.readouterr().out
    assert load([f"experiment={folder / 'config.yaml'}"]).optim.lr == 1e-4
    assert torch.load(folder / folders.LAST, weights_only=True)["epoch"] == 1


def test_the_jobs_of_an_array_have_the_settings_of_the_first(place) -> None:
    write_custom_cohort(place / "other")
    train(*ARRAY)
    before = files(place / "runs")
    with pytest.raises(ConfigError, match=r"job-1 was started with other settings.*optim\.lr"):
        train(*ARRAY, "evaluation.part=1", "optim.lr=0.5")
    with pytest.raises(ConfigError, match=r"job-1 consists of 3 runs.*6"):
        train(*ARRAY, "evaluation.part=1", "evaluation.num_seeds=2")
    assert files(place / "runs") == before


def test_a_trial_is_gone_on_with_under_its_settings_or_not_at_all(monkeypatch, place) -> None:
    monkeypatch.delenv(folders.RUN_ID_VARIABLE)
    monkeypatch.setenv(FOLDER_VARIABLE, "some")
    with monkeypatch.context() as patch:
        patch.setattr(MMNARModule, "training_step", at(2, kill, MMNARModule.training_step))
        with pytest.raises(Killed):
            trial(settings("evaluate=false"))
    assert not (place / "some" / folders.LAST).exists(), "it was meant to be begun and not saved"
    before = (place / "some/config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"some was started with other settings.*seed: 0 before, 1 now"):
        trial(settings("evaluate=false", "seed=1"))
    assert (place / "some/config.yaml").read_bytes() == before
    assert (trial(settings("evaluate=false")) / folders.DONE).is_file()
