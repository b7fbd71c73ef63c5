"""Further processes that run the entries of a table beside this one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmnar_lightning.console import warn
from mmnar_lightning.distributed import signals

GRACE = 60.0
"""Seconds that a stopped process has to save before it is killed."""
LOG = "process-{}.log"
"""Output of a process, in the folder of the table; this process has number 1."""


@contextlib.contextmanager
def beside(words: Sequence[str], count: int, folder: Path) -> Iterator[None]:
    """Start processes that run entries until there is none left, and stop those that remain at the end.

    An entry is run by the process that has its lock, so all of them may start the same command. One that fails loses
    nothing: this process runs its entries.

    Args:
        words: of this command.
        count: number of processes, this one included.
        folder: of the table.

    Yields:
        Nothing, while they run.
    """
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(2, count + 1):
            with signals.deferred():  # a signal finds the process known, to be stopped
                started.append(_started(words, folder / LOG.format(number)))
            signals.raise_if_requested_here()
        yield
        for number, process in enumerate(started, start=2):
            if status := process.poll():
                warn(f"process {number} ended with status {status}, and its entries were run here: see {folder}")
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            process.kill()
            process.wait()


def command(words: Sequence[str]) -> list[str]:
    """The command of a further process: this one's, alone."""
    return [sys.executable, "-m", "mmnar_lightning", "table", *words, "table.processes=1"]


def _started(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command(words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
