"""The real `wandb sweep` and `wandb agent`, by way of `mmnar sweep`, against a loopback stand-in of W&B's server."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mmnar_lightning.sweeps.workers import path_with_commands
from tests.conftest import write_custom_cohort
from tests.helpers.forked import PATIENCE
from tests.helpers.paths import ROOT
from tests.helpers.wandb_server import Server

FILE = """
method: grid
metric: {name: val/auroc_best, goal: maximize}
command: [mmnar, trial, evaluate=false, trainer.progress_bar=false, "${args_no_hyphens}"]
parameters:
  trainer.devices: {values: [1, 2]}
  optim.lr: {value: 0.001}
"""
SETTINGS = [
    "dataset=custom",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "model.fusion.dim=8",
    "model.fusion.num_heads=2",
    "evaluation.num_replicates=100",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def server(place: Path):
    """The server after one sweep of two trials, the second on two ranks."""
    (place / "two.yaml").write_text(FILE)
    cohort = write_custom_cohort(place / "given")
    with Server() as server:
        drop = ("MMNAR_RUN_ID", "MMNAR_TRIAL", "WANDB_SILENT")
        inherited = {name: value for name, value in os.environ.items() if name not in drop}
        own = {
            "COHORT": str(cohort),
            "PATH": path_with_commands(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-m", "mmnar_lightning", "sweep", "sweep.file=two.yaml", *SETTINGS],
            cwd=place,
            env=inherited | own | server.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield server


def test_the_sweep_is_created_as_the_file_says_with_the_settings_of_the_command_line(server: Server) -> None:
    (sweep,) = server.sweeps.values()
    assert sweep["state"] == "FINISHED"
    assert sweep["config"]["method"] == "grid"
    assert sweep["config"]["command"][-len(SETTINGS) :] == SETTINGS
    assert {name for name in server.unknown if "Artifact" not in name} == set()  # tables are artifacts


def test_each_trial_is_one_run_on_all_ranks_and_has_its_settings(server: Server, place: Path) -> None:
    assert sorted(server.runs) == ["sweep0run0", "sweep0run1"]
    assert [run["exitcode"] for run in server.runs.values()] == [0, 0]
    for devices, run in enumerate(server.runs.values(), start=1):
        assert run["config"]["optim"]["value"]["lr"] == 0.001
        assert run["config"]["trainer"]["value"]["devices"] == devices
        assert len([step for step in run["history"] if "val/auroc" in step]) == 2, "each epoch is logged by one rank"


def test_the_metric_of_the_sweep_reaches_the_server(server: Server) -> None:
    for run in server.runs.values():
        best = [step["val/auroc_best"] for step in run["history"] if "val/auroc_best" in step]
        every = [step["val/auroc"] for step in run["history"] if "val/auroc" in step]
        # A mean over tasks, one of which has few rows of a class, is logged with two digits (docs/privacy.md).
        assert best == pytest.approx([max(every[: n + 1]) for n in range(2)], abs=0.0051)


def test_no_trial_reads_the_test_rows(server: Server, place: Path) -> None:
    assert not [key for run in server.runs.values() for step in run["history"] for key in step if "test/" in key]
    assert not list(place.glob("runs/sweeps/*/*/predictions.parquet"))


def test_the_same_table_is_left_on_disk(server: Server, place: Path) -> None:
    table = pl.read_csv(place / "runs/sweeps/sweep0/trials.csv")
    assert table["trial"].to_list() == ["sweep0run0", "sweep0run1"]
    assert table["state"].to_list() == ["finished"] * 2
    assert table["parameter/trainer.devices"].to_list() == [1, 2]
    expected = [max(step.get("val/auroc_best", 0) for step in server.runs[name]["history"]) for name in table["trial"]]
    assert table["val/auroc_best"].to_list() == pytest.approx(expected)
    assert table.filter("best")["trial"].to_list() == [table["trial"][expected.index(max(expected))]]
