"""What the command line does before a command."""

import os
import subprocess
import sys

import pytest

PROBE = """
import os, sys
from mmnar_lightning import cli
assert "torch" not in sys.modules  # libgomp reads the environment once, when torch loads it
cli._guarded = lambda command, words: print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules) or 0
sys.exit(cli.main(["train"]))
"""


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
)
def test_threads_that_wait_sleep_soon_unless_the_environment_says_how(given, spins) -> None:
    own = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    run = subprocess.run([sys.executable, "-c", PROBE], env=own | given, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, [spins, "False"]), run.stderr


LEAVING = """
import atexit, sys
import torch.distributed
from mmnar_lightning import cli
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
atexit.register(print, "torn down")
cli.main = lambda: int(sys.argv[2])
print("saved")
cli.run()
"""


@pytest.mark.parametrize(
    ("status", "rank", "told"),
    [(75, "0", ["saved"]), (0, "1", ["saved"]), (0, "0", ["saved", "torn down"]), (1, "0", ["saved", "torn down"])],
)
def test_a_rank_that_was_stopped_leaves_before_threads_can_abort_it(status, rank, told, tmp_path) -> None:
    words = [sys.executable, "-c", LEAVING, str(tmp_path / "store"), str(status)]
    run = subprocess.run(words, env=os.environ | {"RANK": rank}, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.splitlines()) == (status, told), run.stderr
