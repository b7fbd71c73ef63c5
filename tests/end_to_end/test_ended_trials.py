"""Trials that the real agent of W&B does not see to their end: one that it stops early, one that fails."""

import os
from pathlib import Path

import pytest
import torch
import yaml

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps import online
from mmnar_lightning.sweeps.workers import path_with_commands
from tests.conftest import write_custom_cohort
from tests.helpers.forked_program import ForkedProgram
from tests.helpers.paths import ROOT
from tests.helpers.wandb_server import Server

FILE = """
method: grid
metric: {name: val/auroc_best, goal: maximize}
early_terminate: {type: hyperband, min_iter: 2}
command: [trial, evaluate=false, dataset=custom, trainer.max_epochs=4000, trainer.patience=4000,
          trainer.accelerator=cpu, trainer.progress_bar=false, model.fusion.dim=8, model.fusion.num_heads=2,
          "${args_no_hyphens}"]
parameters:
  optim.lr: {values: [0.001, 0.002]}
"""


def test_the_agent_ends_one_trial_early_and_one_fails_and_neither_is_taken_up_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server, ForkedProgram("tests.helpers.resting") as program:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("COHORT", str(write_custom_cohort(workplace / "given")))
        monkeypatch.setenv("PATH", path_with_commands())
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        plain = yaml.safe_load(FILE)
        path = online.create(plain | {"command": [str(program), *plain["command"]]}, load([]))
        ended, failing = (workplace / f"runs/sweeps/sweep0/sweep0run{number}" for number in range(2))
        (failing / f"{folders.LAST}.partial").mkdir(parents=True)  # its checkpoint cannot be written
        server.stop_after["sweep0run0"] = 2
        online.start_agent(path)

        assert server.sweeps["sweep0"]["state"] == "FINISHED"
        first, second = server.runs.values()
        assert (first["exitcode"], first["preempting"], first["starts"]) == (0, False, 1)
        assert (second["exitcode"], second["preempting"], second["starts"]) == (1, False, 1)
        epochs = [step["epoch"] for step in first["history"] if "val/auroc" in step]
        assert 2 <= len(epochs) < 4000
        assert torch.load(ended / folders.LAST, weights_only=True)["epoch"] >= epochs[-1]
        for folder in (ended, failing):
            assert len(list(folder.glob("logs/*"))) == 1, "it was taken up again"
            assert not (folder / folders.PREDICTIONS).exists()
            assert not (folder / folders.DONE).exists()
