"""Trials as copies of one process that has imported the program, which takes longer than a small trial trains.

The process is the fork server of `multiprocessing`. It imports and does nothing else: it starts no thread of its own
and opens no GPU, so that its copies may do both.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from mmnar_lightning.distributed import signals

PACKAGE = "mmnar_lightning"
PRELOADED = (f"{PACKAGE}.commands.trial", "wandb.sdk.launch")
"""What a trial imports before its first step; a run of W&B imports the second one."""
_context = multiprocessing.get_context("forkserver")


class Copy:
    """A trial in a copy, as the leader of a process group, with the methods of `subprocess.Popen` that a sweep uses.

    Args:
        words: after the program, `trial` and its settings.
        environment: all its variables.
        output: file that what it prints is appended to.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        _start_server()
        self._process = _context.Process(target=_become, args=(list(words), dict(environment), str(output)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Exit status, negative if a signal killed it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Args:
            timeout: in seconds; None waits without end.

        Returns:
            The exit status.

        Raises:
            subprocess.TimeoutExpired: if it still runs.
        """
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(PACKAGE, timeout or 0.0)
        return status


def words_after_program(command: Sequence[str]) -> list[str] | None:
    """The words of a trial of this program; None if the command starts another one, or copies are not possible.

    Args:
        command: of a trial.

    Returns:
        The words after `mmnar`.

    >>> words_after_program(["torchrun", "--nproc-per-node=2", "-m", "mmnar_lightning", "trial"])
    """
    if sys.platform != "linux":  # elsewhere libraries of the system must not be used in a copy
        return None
    for program in (["mmnar"], [sys.executable, "-m", PACKAGE]):
        if list(command[: len(program) + 1]) == [*program, "trial"]:
            return list(command[len(program) :])
    return None


def _start_server() -> None:
    """Start the process that imports the program, unless it runs.

    Signals stay blocked in it, since a scheduler sends them to all processes of a job: the search stops the trials, and
    learns from this process how they ended. A copy unblocks them when it has installed its handlers.
    """
    _context.set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # its start would unblock SIGTERM
    with signals.blocked():
        forkserver.ensure_running()


def _become(words: Sequence[str], environment: Mapping[str, str], output: str) -> None:
    """Run the program as an interpreter of its own would, and exit with its status."""
    os.setsid()
    with Path(os.devnull).open("rb") as nothing, Path(output).open("ab") as printed:
        os.dup2(nothing.fileno(), 0)
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [PACKAGE, *words]
    try:
        runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
    finally:
        # The functions that end an interpreter do not run in a copy: they would remove folders that all copies share.
        wandb: Any = sys.modules.get("wandb")
        if wandb is not None:
            wandb.teardown()
