"""Two ranks with `trainer.strategy=fsdp`, through Lightning's strategy on processors: as ddp, stopped, resumed."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmnar_lightning.cli import PREEMPTED
from mmnar_lightning.runs import folders
from tests.helpers.processes import ROOT, TRAIN, Ranks, write_cohort

WORDS = [
    *(word for word in TRAIN if not word.startswith("trainer.accelerator")),
    "paths.cohort=given",
    "trainer.devices=2",
    "trainer.max_epochs=2",
    "trainer.checkpoint_every_steps=10",
]
NEAR = 1e-3
"""On processors PyTorch gathers both moments of AdamW into one buffer: a checkpoint has the second in place of the
first, and a resumed run is off by steps of 2e-4. On a GPU it copies them."""
COMMANDS = {"ddp": ["-m", "mmnar_lightning", "train"], "fsdp": [str(ROOT / "tests/helpers/sharded_run.py")]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sharded")
    write_cohort(place / "given")
    return place


def started(place: Path, strategy: str, runs: str, *words: str) -> Ranks:
    command = [*COMMANDS[strategy], *WORDS, f"trainer.strategy={strategy}", f"paths.runs={runs}", *words]
    return Ranks(2, command, place)


def state_of(place: Path, runs: str) -> dict[str, Tensor]:
    (file,) = place.glob(f"{runs}/custom/*/checkpoints/last.ckpt")
    found: dict[str, Tensor] = torch.load(file, weights_only=True)["state_dict"]
    return found


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_sharded_weights_end_as_whole_ones(place: Path, precision: str) -> None:
    states = []
    for strategy in COMMANDS:
        runs = f"{strategy}-{precision}"
        both = started(place, strategy, runs, f"trainer.precision={precision}")
        assert both.wait() == [0, 0], both.output
        assert list(place.glob(f"{runs}/custom/*/results.json"))
        states.append(state_of(place, runs))
    assert states[0].keys() == states[1].keys()
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, atol=1e-4, rtol=0, equal_nan=True)


def test_a_stopped_sharded_run_resumes_to_nearly_the_same_weights(place: Path) -> None:
    whole = started(place, "fsdp", "whole", "evaluate=false")
    assert whole.wait() == [0, 0], whole.output
    stopped = started(place, "fsdp", "parts", "evaluate=false")
    stopped.started[0].until(lambda: bool(list(place.glob("parts/custom/*/checkpoints/last.ckpt"))))
    for one in stopped.started:
        os.kill(one.process.pid, signal.SIGTERM)
    assert stopped.wait()[0] == PREEMPTED, stopped.output
    (folder,) = place.glob("parts/custom/*")
    assert not (folder / folders.DONE).exists()
    resumed = started(place, "fsdp", "parts", "evaluate=false", "resume=last")
    assert resumed.wait() == [0, 0], resumed.output
    expected, found = state_of(place, "whole"), state_of(place, "parts")
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=NEAR, rtol=0, equal_nan=True)
