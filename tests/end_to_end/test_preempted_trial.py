"""A trial of W&B's that is preempted in the middle: the next agent gets the same run and resumes it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from mmnar_lightning.config.compose import load
from mmnar_lightning.sweeps import online
from mmnar_lightning.sweeps.workers import path_with_commands
from tests.conftest import write_custom_cohort
from tests.helpers.forked import PATIENCE
from tests.helpers.forked_program import ForkedProgram
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import wait_for
from tests.helpers.wandb_server import Server

EPOCHS = 12
FILE = f"""
method: grid
metric: {{name: val/auroc_best, goal: maximize}}
command: [trial, evaluate=false, dataset=custom, trainer.max_epochs={EPOCHS}, trainer.patience={EPOCHS},
          trainer.accelerator=cpu, trainer.progress_bar=false, model.fusion.dim=8, model.fusion.num_heads=2,
          "${{args_no_hyphens}}"]
parameters:
  optim.lr: {{values: [0.001]}}
"""


def test_a_preempted_trial_is_continued_by_the_next_agent(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server, ForkedProgram("tests.helpers.resting") as program:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("WANDB_SILENT", raising=False)
        monkeypatch.setenv("COHORT", str(write_custom_cohort(workplace / "given")))
        monkeypatch.setenv("PATH", path_with_commands())
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        plain = yaml.safe_load(FILE)
        path = online.create(plain | {"command": [str(program), *plain["command"]]}, load([]))
        folder = workplace / "runs/sweeps/sweep0/sweep0run0"

        agent = subprocess.Popen([*online.WANDB, "agent", "--forward-signals", path])
        wait_for((folder / "checkpoints/last.ckpt").exists, PATIENCE, "the trial never saved an epoch")
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
        assert not (folder / "DONE").exists(), "the trial was over before it could be preempted"

        online.start_agent(path)
        assert (folder / "DONE").exists(), server.runs
        (run,) = server.runs.values()
        assert run["exitcode"] == 0
        assert len(list(folder.glob("logs/*"))) == 2
        epochs = [step["epoch"] for step in run["history"] if "val/auroc" in step]
        assert sorted(set(epochs)) == list(range(EPOCHS))
        assert server.sweeps["sweep0"]["state"] == "FINISHED"
