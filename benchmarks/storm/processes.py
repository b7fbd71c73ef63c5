"""Commands as processes in a group of their own, which can be killed at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MMNAR = (sys.executable, "-m", "mmnar_lightning")
DEFECT = "this is a defect"
LIMIT_SECONDS = 900.0
GONE_SECONDS = 90.0
"""Seconds after which nothing that a killed process started may be left."""


class Ended(NamedTuple):
    """Exit status, output, seconds, and number of the process group."""

    status: int
    output: str
    seconds: float
    group: int


def run(place: Path, words: Sequence[str]) -> Ended:
    """Run a command to its end; one that takes longer than any may is killed, with status -9."""
    return killed(place, words, LIMIT_SECONDS, signal.SIGKILL, group=True)


def killed(place: Path, words: Sequence[str], seconds: float, number: int, *, group: bool) -> Ended:
    """Start a command and send it a signal.

    Args:
        place: folder to run in.
        words: after `mmnar`.
        seconds: after which the signal is sent, unless the command has ended.
        number: of the signal.
        group: to all its processes; to the first alone otherwise.

    Returns:
        How it ended.
    """
    hidden = ("WANDB_API_KEY", "MMNAR_RUN_ID", "MIMIC_ROOT", "EICU_ROOT", "COHORT")
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {"OMP_NUM_THREADS": "1"}
    log, started = place / "output.log", time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*MMNAR, *words],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            (os.killpg if group else os.kill)(process.pid, number)
            status = _wait(process)
    return Ended(status, log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - started, process.pid)


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(GONE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def left_over(group: int) -> bool:
    """Whether a process of a group is alive."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(member) == group and state != "Z":
            return True
    return False
