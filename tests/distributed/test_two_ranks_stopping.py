"""Two ranks, one of which is asked to stop: in the middle of an epoch with the loss offset fitted, and in test."""

from pathlib import Path

import pytest
import torch

from mmnar_lightning.cli import PREEMPTED
from mmnar_lightning.runs import folders
from tests.distributed.test_processes import only
from tests.distributed.test_resume import BATCHES, WORDS, assert_same
from tests.helpers.processes import ROOT, TRAIN, Ranks, write_cohort

SETTINGS = [*TRAIN, *WORDS, "paths.cohort=given"]
COMMAND = ["-m", "mmnar_lightning", "train", *SETTINGS]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("two")
    write_cohort(place / "given")
    return place


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The run on two ranks that was never stopped."""
    run = Ranks(2, [*COMMAND, "paths.runs=whole"], place)
    assert run.wait() == [0, 0], run.output
    return only(place / "whole")


@pytest.mark.parametrize(
    ("method", "call", "rank", "number"),
    [
        ("training_step", 2 * BATCHES + 3, 1, "SIGUSR1"),
        ("test_step", 1, 0, "SIGTERM"),
    ],
)
def test_both_ranks_stop_and_end_as_the_run_that_was_never_stopped(method, call, rank, number, place, whole) -> None:
    runs = f"paths.runs={method}{rank}"
    reported = [method, str(call), str(rank), number]
    stopped = Ranks(2, [str(ROOT / "tests/helpers/stopped_at.py"), *reported, *SETTINGS, runs], place)
    assert stopped.wait() == [PREEMPTED, 0], stopped.output
    assert f"stopped by {number}" in stopped.output
    assert "Traceback" not in stopped.output
    folder = only(place / f"{method}{rank}")
    assert not (folder / folders.RESULTS).exists()
    last = torch.load(folder / folders.LAST, weights_only=True)
    offset = last["state_dict"]["loss_offset.offset"]
    assert offset.abs().max() > 0, "the stop was meant to come after the loss offset was fitted"
    if method == "training_step":
        assert last["global_step"] == call
    again = Ranks(2, [*COMMAND, runs], place)
    assert again.wait() == [0, 0], again.output
    assert_same(folder, whole)
