"""Two processes of one run, started as `make train DEVICES=2` starts them: stopped, killed, resumed."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from mmnar_lightning.cli import PREEMPTED
from mmnar_lightning.runs import folders
from tests.helpers.forked import PATIENCE
from tests.helpers.processes import ROOT, TRAIN, Ranks, Started, torchrun, write_cohort

WORDS = [
    *TRAIN,
    "paths.cohort=given",
    "loader.batch_size=7",
    "model.fusion.dropout=0.1",
    "trainer.max_epochs=3",
    "trainer.checkpoint_every_steps=10",
    "evaluate=false",
]
TWO = ["-m", "mmnar_lightning", "train", *WORDS, "trainer.devices=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("processes")
    write_cohort(place / "given")
    return place


def only(place: Path) -> Path:
    (folder,) = place.glob("custom/*")
    return folder


def steps(place: Path) -> int:
    """Of the last checkpoint."""
    found = list(place.glob("custom/*/checkpoints/last.ckpt"))
    return torch.load(found[0], weights_only=True)["global_step"] if found else 0


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_two_ranks_asked_to_stop_save_together_and_end_as_if_never_asked(place) -> None:
    whole = Ranks(2, [*TWO[:-1], "paths.runs=whole"], place)
    assert whole.wait() == [0, 0], whole.output
    assert "2 ranks; loader.batch_size=7 and optim.lr are global: 3.5 rows per rank" in whole.output
    stopped = Started([*TWO, "paths.runs=parts"], place)
    stopped.until(lambda: steps(place / "parts") >= 10)
    os.kill(stopped.process.pid, signal.SIGTERM)
    assert stopped.wait() == PREEMPTED, stopped.output
    assert "stopped by SIGTERM after step" in stopped.output
    assert 10 <= steps(place / "parts") < steps(place / "whole")
    assert not (only(place / "parts") / folders.DONE).exists()
    again = Started(torchrun(2, *TWO[:-1], "paths.runs=parts"), place)  # another launcher, the same ranks
    assert again.wait() == 0, again.output
    assert "(resumed from last.ckpt" in again.output
    left, right = (torch.load(only(place / name) / folders.LAST, weights_only=True) for name in ("parts", "whole"))
    assert left["global_step"] == right["global_step"]
    for name, weight in right["state_dict"].items():
        torch.testing.assert_close(left["state_dict"][name], weight, rtol=0, atol=1e-7, equal_nan=True)


def test_a_rank_that_dies_ends_the_others_and_fewer_ranks_may_go_on(place) -> None:
    run = Started([*TWO, "paths.runs=dead"], place)
    run.until(lambda: steps(place / "dead") >= 10)
    (other,) = children(run.process.pid)
    os.kill(other, signal.SIGKILL)
    began = time.monotonic()
    assert run.process.wait(PATIENCE) != 0
    while time.monotonic() - began < PATIENCE and Path(f"/proc/{other}").exists():
        time.sleep(0.1)
    run.kill()
    assert "Traceback" in run.output or "terminated with code -9" in run.output
    assert not (only(place / "dead") / folders.DONE).exists()
    alone = Started([*TWO[:-1], "paths.runs=dead"], place)
    assert alone.wait() == 0, alone.output
    assert "1 ranks resume a run of 2" in alone.output
    assert (only(place / "dead") / folders.DONE).exists()


def test_sharded_weights_are_clipped_and_called_as_a_whole(tmp_path) -> None:
    run = Ranks(2, [str(ROOT / "tests/helpers/sharded.py")], tmp_path)
    assert run.wait() == [0, 0], run.output
