"""Two ranks with `trainer.strategy=fsdp`, through Lightning's strategy on processors: as ddp, stopped, resumed."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmnar_lightning.cli import PREEMPTED
from tests.helpers.processes import ROOT, TRAIN, Ranks, write_cohort

WORDS = [
    *(word for word in TRAIN if not word.startswith("trainer.accelerator")),
    "paths.cohort=given",
    "trainer.devices=2",
    "trainer.max_epochs=2",
    "trainer.checkpoint_every_steps=10",
]
COMMANDS = {"ddp": ["-m", "mmnar_lightning", "train"], "fsdp": [str(ROOT / "tests/helpers/sharded_run.py")]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sharded")
    write_cohort(place / "given")
    return place


def started(place: Path, strategy: str, runs: str, *words: str) -> Ranks:
    command = [*COMMANDS[strategy], *WORDS, f"trainer.strategy={strategy}", f"paths.runs={runs}", *words]
    return Ranks(2, command, place)


def last_of(place: Path, runs: str) -> dict[str, Any]:
    (file,) = place.glob(f"{runs}/custom/*/checkpoints/last.ckpt")
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_sharded_weights_end_as_whole_ones(place: Path, precision: str) -> None:
    states = []
    for strategy in COMMANDS:
        runs = f"{strategy}-{precision}"
        both = started(place, strategy, runs, f"trainer.precision={precision}")
        assert both.wait() == [0, 0], both.output
        assert list(place.glob(f"{runs}/custom/*/results.json"))
        states.append(last_of(place, runs)["state_dict"])
    assert states[0].keys() == states[1].keys()
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, atol=1e-4, rtol=0, equal_nan=True)


def test_a_stopped_sharded_run_resumes_with_the_state_of_its_optimiser(place: Path) -> None:
    """Its weights are not those of an undisturbed run: where the state lies on processors, PyTorch gathers both moments
    of AdamW into one buffer, and a checkpoint has the second in place of the first. On a GPU it copies them."""
    whole = started(place, "fsdp", "whole", "evaluate=false")
    assert whole.wait() == [0, 0], whole.output
    stopped = started(place, "fsdp", "parts", "evaluate=false")
    stopped.started[0].until(lambda: bool(list(place.glob("parts/custom/*/checkpoints/last.ckpt"))))
    for one in stopped.started:
        os.kill(one.process.pid, signal.SIGTERM)
    assert stopped.wait()[0] == PREEMPTED, stopped.output
    assert last_of(place, "parts")["global_step"] < last_of(place, "whole")["global_step"]
    resumed = started(place, "fsdp", "parts", "evaluate=false", "resume=last")
    assert resumed.wait() == [0, 0], resumed.output
    expected, found = (last_of(place, runs)["optimizer_states"][0]["state"] for runs in ("whole", "parts"))
    assert {int(state["step"]) for state in found.values()} == {last_of(place, "whole")["global_step"]}
    totals = [sum(float(state["exp_avg_sq"].sum()) for state in states.values()) for states in (expected, found)]
    assert totals[1] == pytest.approx(totals[0], rel=0.1), "without the state it would be about half"
