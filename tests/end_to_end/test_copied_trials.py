"""Trials that are copies of one process: what they import, how they end, and signals that reach that process too."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from mmnar_lightning import cli
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps import copies
from tests.conftest import write_custom_cohort
from tests.end_to_end.test_cli import PROGRAM
from tests.helpers.forked import PATIENCE
from tests.helpers.processes import Started
from tests.helpers.slurm_cluster import wait_for

COMMAND = ["mmnar", "trial", "evaluate=false", "trainer.progress_bar=false", "${args_no_hyphens}"]
SETTINGS = (
    "dataset=custom",
    "paths.cohort=given",
    "trainer.accelerator=cpu",
    "model.fusion.dim=8",
    "model.fusion.num_heads=2",
)
EPOCHS = 20


def sweep(parameters: Mapping[str, object], *words: str) -> list[str]:
    """The words of a search in the working folder, which gets its cohort and its file."""
    write_custom_cohort(Path("given"))
    plain = {"method": "grid", "metric": {"name": "val/auroc_best", "goal": "maximize"}, "command": COMMAND}
    Path("own.yaml").write_text(yaml.safe_dump(plain | {"parameters": parameters}, sort_keys=False))
    return ["sweep", "sweep.file=own.yaml", "sweep.offline=true", *SETTINGS, *words]


def imported(log: str) -> set[str]:
    """Modules that a process imported, by the interpreter's own account."""
    return {line.rpartition("|")[2].strip() for line in log.splitlines() if "import time:" in line}


def test_trials_import_nothing_large_again_and_one_that_fails_is_alone(workplace: Path) -> None:
    grid = {"trainer.devices": {"values": [1, 2]}, "optim.lr": {"values": [0.001, 0.002]}}
    words = ("sweep.trials=3", "trainer.max_epochs=2")
    base = workplace / "runs/sweeps"
    command = [PROGRAM, *sweep(grid, *words)]
    with (
        Path("printed").open("wb") as printed,
        subprocess.Popen(
            command, env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}, stdout=printed, stderr=printed
        ) as search,
    ):
        try:
            wait_for(lambda: list(base.glob("*/*-0000")), PATIENCE, "no trial began")
            (folder,) = (path.parent for path in base.glob("*/*-0000"))
            unwritable = folder / f"{folder.name}-0001" / f"{folders.LAST}.partial"  # there a checkpoint is written
            unwritable.mkdir(parents=True)
            search.wait(PATIENCE)
        finally:
            search.terminate()
    assert search.returncode == 0, Path("printed").read_text()
    assert "trial 2 failed: it exited with status 1" in Path("printed").read_text()
    table = pl.read_csv(folder / "trials.csv")
    assert table["state"].to_list() == ["finished", "failed", "finished"]
    assert table["epochs"].to_list()[::2] == [2, 2]
    alone, failed, ranks = ((folder / f"{folder.name}-{number:04d}" / "output.log").read_text() for number in range(3))
    for log in (alone, failed):
        assert imported(log), "the account shows what is imported"
        assert not imported(log) & {"torch", "lightning", "transformers", "polars", "wandb"}
    assert "attrition" in alone
    assert "Traceback" in failed
    assert "torch" in imported(ranks), "a second rank is a process of its own"


def test_a_signal_to_the_whole_group_stops_the_trials_which_are_resumed(workplace: Path) -> None:
    grid, words = {"optim.lr": {"values": [0.001]}}, (f"trainer.max_epochs={EPOCHS}", "wandb.enabled=false")
    base = workplace / "runs/sweeps"
    command = ["-m", "mmnar_lightning", *sweep(grid, *words)]
    search = Started(command, workplace)
    search.until(lambda: bool(list(base.glob(f"*/*/{folders.LAST}"))))
    os.killpg(search.process.pid, signal.SIGTERM)
    assert search.wait() == cli.PREEMPTED, search.output
    (trial,) = (path.parent.parent for path in base.glob(f"*/*/{folders.LAST}"))
    assert "the same command resumes it" in (trial / "output.log").read_text()
    assert not (trial / folders.DONE).exists(), "the trial was over before it could be stopped"
    before = torch.load(trial / folders.LAST, weights_only=True)["epoch"]

    again = Started(command, workplace)
    assert again.wait() == 0, again.output
    epochs = [
        pl.read_csv(path)["epoch"].drop_nulls().unique().sort().to_list()
        for path in sorted(trial.glob("logs/*/metrics.csv"))
    ]
    assert epochs[0][0] == 0
    assert epochs[1][0] >= before
    assert sorted({*epochs[0], *epochs[1]}) == list(range(EPOCHS))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["mmnar", "trial", "a=1"], ["trial", "a=1"]),
        (["env", "mmnar", "trial", "a=1"], None),
        (["mmnar", "train", "a=1"], None),
        (["mmnar"], None),
    ],
)
def test_only_trials_of_this_program_are_copies(command: list[str], words: list[str] | None) -> None:
    assert copies.words_after_program(command) == words
