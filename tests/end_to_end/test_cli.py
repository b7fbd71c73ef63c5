"""The installed program as a process: start-up, errors, signals, threads."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import write_custom_cohort
from tests.helpers import forked

PROGRAM = str(Path(sys.executable).with_name("mmnar"))
HEAVY = ("torch", "lightning", "polars", "numpy", "transformers", "wandb", "sklearn", "matplotlib")
"""What no answer about arguments and settings may load."""
PREEMPTED = 75


def own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}


def run(
    *words: str, place: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    own = own_environment() | (environment or {})
    return subprocess.run([PROGRAM, *words], cwd=place, env=own, capture_output=True, text=True, check=False)


def loaded(words: Sequence[str], place: Path) -> set[str]:
    """Top-level packages that a command loads, by the interpreter's own account."""
    done = run(*words, place=place, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["trian"],
        ["settings", "optim"],
        ["train", "optim.lrr=1"],
        ["train", "optim.lr=-1"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_loaded_to_answer_about_arguments_and_settings(words: list[str], workplace: Path) -> None:
    names = loaded(words, workplace)
    assert "argparse" in names, "the interpreter lists what it imports"
    assert not names & set(HEAVY)


def test_help_version_and_an_unknown_command(workplace: Path) -> None:
    shown = run("--help", place=workplace)
    assert shown.returncode == 0
    for command in ("cohort", "embed", "train", "evaluate", "sweep", "trial", "best", "simulate", "doctor"):
        assert re.search(rf"^ +{command} ", shown.stdout, re.MULTILINE), command
    assert re.fullmatch(r"mmnar-lightning \d+\.\d+\.\d+\S*\n", run("--version", place=workplace).stdout)
    refused = run("evalaute", place=workplace)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown command 'evalaute'; did you mean evaluate?" in refused.stderr


def test_a_wrong_setting_is_one_line_without_a_traceback(workplace: Path) -> None:
    refused = run("train", "optim.lrr=1", place=workplace)
    assert refused.returncode == 1
    assert "optim.lrr=1: unknown setting 'optim.lrr'; did you mean optim.lr?" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr


LOADING = """
import ctypes, sys
from importlib.util import find_spec
from pathlib import Path
from mmnar_lightning.cli import main
assert main(["train", "optim.lr=-1"]) == 1
assert "torch" not in sys.modules
for own in sorted(Path(find_spec("torch").origin).parent.glob("lib/libgomp*")):
    ctypes.CDLL(str(own))
    break
else:
    import torch
"""
"""Loads the libgomp that torch brings, or torch where it brings none."""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "GOMP_SPINCOUNT = '0'"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "OMP_WAIT_POLICY = 'ACTIVE'"),
        ({"GOMP_SPINCOUNT": "5"}, "GOMP_SPINCOUNT = '5'"),
    ],
)
def test_libgomp_reads_how_threads_wait_unless_the_environment_says_so(given, expected, workplace: Path) -> None:
    environment = own_environment() | {"OMP_DISPLAY_ENV": "VERBOSE", **given}
    done = subprocess.run([sys.executable, "-c", LOADING], env=environment, capture_output=True, text=True, check=True)
    assert "optim.lr=-1" in done.stdout
    assert expected in done.stderr  # libgomp prints its settings when it is loaded


def test_the_console_script_sets_how_threads_wait_before_torch_is_loaded(workplace: Path) -> None:
    environment = own_environment() | {"OMP_DISPLAY_ENV": "VERBOSE"}
    words = ["train", "dataset=custom", "paths.cohort=nowhere"]  # refused after all imports
    done = subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True, check=False)
    assert "nowhere" in done.stdout
    assert "GOMP_SPINCOUNT = '0'" in done.stderr


def is_handled(process: "subprocess.Popen[str]", number: signal.Signals) -> bool:
    """Whether the program has started, which it may not have 0.3 s after its process on a busy machine."""
    (caught,) = re.findall(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(signal.SIGTERM, 0.3), (signal.SIGUSR1, 1.5), (signal.SIGTERM, 4), (signal.SIGUSR1, 9)],
)
def test_a_signal_at_any_time_after_the_start_ends_in_75(number, seconds: float, workplace: Path) -> None:
    write_custom_cohort(workplace / "given")
    words = ["train", "dataset=custom", "trainer.max_epochs=5000", "trainer.patience=5000", "wandb.enabled=false"]
    process = subprocess.Popen(
        [PROGRAM, *words, "trainer.progress_bar=false", "objective.anneal_epochs=1"],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COHORT": "given"},
    )
    time.sleep(seconds)
    while not is_handled(process, number):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=forked.PATIENCE)
    assert process.returncode == PREEMPTED, out + err
    assert f"stopped by {number.name}" in out
    assert "the same command resumes it" in out
    assert "Traceback" not in out + err


DEFECT = """
import sys
import polars as pl
from mmnar_lightning import cli
from mmnar_lightning.runs import {module}
def broken(*_):
    {raises}
{module}.{function} = broken
sys.exit(cli.main(sys.argv[1:]))
"""
SECRET = "Smith, John"


@pytest.mark.parametrize(
    ("raises", "shown"),
    [
        (f"float({SECRET!r})", "ValueError: could not convert string to float: …"),
        (f"pl.Series([{SECRET!r}]).cast(pl.Int64)", "InvalidOperationError: (the message is withheld"),
        (f"raise pl.exceptions.PanicException({SECRET!r})", "PanicException: (the message is withheld"),
    ],
)
def test_a_defect_keeps_its_traceback_without_cells_on_screen_and_in_the_runs_folder(raises, shown, workplace) -> None:
    write_custom_cohort(workplace / "given")
    program = DEFECT.format(module="fit", function="_fit", raises=raises)
    words = ["-c", program, "train", "dataset=custom", "paths.cohort=given", "wandb.enabled=false"]
    done = forked.finished(words, workplace, os.environ)
    assert done.returncode == 1
    (written,) = workplace.glob("runs/custom/*/traceback.txt")
    for text in (done.stderr, written.read_text()):
        assert shown in text
        assert "in broken" in text
        assert "Smith" not in text
    assert "a defect of the program, not of your settings" in done.stdout


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
    ("status", "rank", "reported"),
    [(75, "0", ["saved"]), (0, "1", ["saved"]), (0, "0", ["saved", "torn down"]), (1, "0", ["saved", "torn down"])],
)
def test_a_rank_that_was_stopped_leaves_before_threads_can_abort_it(status, rank, reported, tmp_path) -> None:
    words = ["-c", LEAVING, str(tmp_path / "store"), str(status)]
    run = forked.finished(words, tmp_path, os.environ | {"RANK": rank})
    assert (run.returncode, run.stdout.splitlines()) == (status, reported), run.stderr
