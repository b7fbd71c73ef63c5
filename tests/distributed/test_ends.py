"""How commands end as processes of their own: signalled while they start, without their parent, without an output.

What is about the start of the interpreter, or inherited by it, is a new one; the others are copies of one that has
imported the program.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from mmnar_lightning.cli import PREEMPTED
from mmnar_lightning.distributed import launch
from mmnar_lightning.runs import folders
from tests.distributed.test_resume import WORDS
from tests.helpers.forked import PATIENCE, Forked, finished
from tests.helpers.paths import ROOT
from tests.helpers.processes import TRAIN, write_cohort

PROC = Path("/proc")
SETTINGS = [*TRAIN, *WORDS, "paths.cohort=given", "paths.runs=runs"]
TINY = ["simulate.subjects=40000", "simulate.images=false"]

pytestmark = pytest.mark.skipif(not (PROC / "self" / "environ").exists(), reason="processes are looked up in /proc")


def _environment(**more: str) -> dict[str, str]:
    hidden = ("WANDB_API_KEY", "MMNAR_RUN_ID", "MIMIC_ROOT", "EICU_ROOT", "COHORT", "LOCAL_RANK")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


@contextmanager
def _started(cwd: Path, *words: str, forked: bool = False) -> Iterator[subprocess.Popen[bytes] | Forked]:
    """A command in a session of its own, with its output in `log.txt`; all of it is killed in the end."""
    given, log = ["-m", "mmnar_lightning", *words], cwd / "log.txt"
    process: subprocess.Popen[bytes] | Forked
    if forked:
        process = Forked(given, cwd, _environment(), log)
    else:
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *given], cwd=cwd, env=_environment(), stdout=out, stderr=out, start_new_session=True
            )
    try:
        yield process
    finally:
        for number in _of_session(process.pid):
            os.kill(number, signal.SIGKILL)
        process.wait()


def _of_session(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _until(happened: Callable[[], object], timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def _second_rank(session: int) -> int | None:
    for number in _of_session(session):
        try:
            if b"LOCAL_RANK=1" in (PROC / str(number) / "environ").read_bytes().split(b"\0"):
                return number
        except OSError:
            continue
    return None


def test_a_signal_to_all_ranks_while_the_second_is_imported_saves_and_is_resumable(tmp_path) -> None:
    write_cohort(tmp_path / "given")
    with _started(tmp_path, "train", *SETTINGS, "trainer.devices=2") as process:
        _until(lambda: _second_rank(process.pid))
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == PREEMPTED, (tmp_path / "log.txt").read_text()
        _until(lambda: not _of_session(process.pid))
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert torch.load(folder / folders.LAST, weights_only=True)["global_step"] >= 1


FIRST = '''
import os, subprocess, sys, time
from mmnar_lightning.distributed import launch
launch.name_first()
code = """
import time
from mmnar_lightning.distributed import launch
launch.end_with_first()
print("up", flush=True)
time.sleep(600)
"""
subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"LOCAL_RANK": sys.argv[1]})
time.sleep(600)
'''


@pytest.mark.parametrize("rank", [1, 0])
def test_a_rank_ends_with_the_first_process_whatever_it_waits_for_and_no_other_does(rank: int, tmp_path) -> None:
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", FIRST, str(rank)], stdout=log, stderr=log, env=_environment(), start_new_session=True
        )
    try:
        _until(lambda: "up" in (tmp_path / "log.txt").read_text())
        (other,) = {*_of_session(process.pid)} - {process.pid}
        process.kill()
        process.wait()
        if rank:
            _until(lambda: not _of_session(process.pid), timeout=30)
            assert "the first process of this run has ended" in (tmp_path / "log.txt").read_text()
        else:
            time.sleep(3 * launch.POLL_SECONDS)
            assert _of_session(process.pid) == [other]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, PREEMPTED), (signal.SIGINT, 130)]
)
def test_the_workers_of_a_simulation_end_with_it(number, status, tmp_path) -> None:
    with _started(tmp_path, "simulate", "out=release", *TINY, forked=True) as process:
        _until(lambda: list(tmp_path.glob(".release*partial/truth/*/*.parquet")))  # the workers write it
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
        assert process.wait(PATIENCE) == status
        _until(lambda: not _of_session(process.pid))
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_a_hangup_saves_and_is_resumable_but_not_under_nohup(tmp_path) -> None:
    write_cohort(tmp_path / "given")
    with _started(tmp_path, "train", *SETTINGS, forked=True) as process:
        _until(lambda: list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")))
        os.kill(process.pid, signal.SIGHUP)
        assert process.wait(PATIENCE) == PREEMPTED, (tmp_path / "log.txt").read_text()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _started(tmp_path, "train", *SETTINGS) as process:
            _until(lambda: "resumed" in (tmp_path / "log.txt").read_text())
            os.kill(process.pid, signal.SIGHUP)
            assert process.wait(PATIENCE) == 0, (tmp_path / "log.txt").read_text()
    finally:
        signal.signal(signal.SIGHUP, before)


def _in_a_copy(output: str, words: list[str], cwd: Path) -> int:
    """Run a command whose output is a full device, or has an encoding without most characters."""
    if output == "full":
        process = Forked(["-m", "mmnar_lightning", *words], cwd, _environment(), Path("/dev/full"))
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()
    program = (
        "import sys\nfor stream in (sys.stdout, sys.stderr): stream.reconfigure(encoding='ascii', errors='strict')\n"
        "from mmnar_lightning.cli import run\nsys.exit(run())"
    )
    return finished(["-c", program, *words], cwd, _environment(PYTHONIOENCODING="ascii")).returncode


@pytest.mark.parametrize("output", ["full", "closed", "broken", "ascii"])
def test_an_output_that_cannot_be_written_costs_a_run_nothing(output, tmp_path) -> None:
    write_cohort(tmp_path / "given")
    words = [word.replace("progress_bar=false", "progress_bar=true") for word in SETTINGS]
    words = ["train", *words, "trainer.max_epochs=1"]
    if output in {"full", "ascii"}:
        status = _in_a_copy(output, words, tmp_path)
    else:
        # A new interpreter has no streams at all where they are closed.
        script = {"closed": "exec {command} >&- 2>&-", "broken": "{command} | true; exit ${{PIPESTATUS[0]}}"}[output]
        command = " ".join([sys.executable, "-m", "mmnar_lightning", *words])
        given = ["bash", "-c", script.format(command=command)]
        done = subprocess.run(
            given, cwd=tmp_path, env=_environment(), timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
        status = done.returncode
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert (folder / folders.RESULTS).is_file()
    assert (folder / folders.DONE).is_file()
    assert not (folder / "traceback.txt").exists()
    assert status == 0
