"""Python commands in processes that have imported torch and the project already, as copies of one server.

An interpreter takes seconds to import them. What is about the start of the program itself, or about the memory of a
process, is a process of its own. All copies hash strings alike, which processes of their own do not.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = (
    "mmnar_lightning.commands.train",
    "mmnar_lightning.encoders.stage",
    "mmnar_lightning.encoders.text.pretrained",
    "mmnar_lightning.encoders.image.frozen",
    "mmnar_lightning.runs.protocols",
    "torch.distributed.run",
    "transformers.models.bert.modeling_bert",
)
"""Nothing that makes a folder when it is imported, as wandb does: the copy that ends first would remove it."""
PATIENCE = 600.0
"""Seconds after which a process counts as stuck: what takes one takes many on a busy machine."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(PRELOADED))


class Forked:
    """A command in a process group of its own, with the methods of `subprocess.Popen` that tests use.

    Args:
        command: words after the interpreter: a file, `-m` and a module, or `-c` and a program, and their arguments.
        cwd: folder to run in.
        environment: all its variables.
        output: file for what it prints.
        errors: file for what it prints to the standard error; None is the same.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        given = (list(command), str(cwd), dict(environment), str(output), str(errors or output))
        self._process = CONTEXT.Process(target=_run, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, when it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked command", timeout or 0)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it and what it started, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()


def finished(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Wait for a command as `subprocess.run` does."""
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("output", "errors")]
        process = Forked(command, cwd, environment, *files)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, status, *(path.read_text(encoding="utf-8") for path in files))


def _run(command: list[str], cwd: str, environment: dict[str, str], *files: str) -> None:
    """Become a command."""
    os.setsid()
    for stream, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    is_file = command[0] not in {"-c", "-m"}
    sys.argv = command if is_file else ["-c", *command[2:]]
    sys.path[:0] = [
        str(Path(command[0]).parent if is_file else cwd),
        *environment.get("PYTHONPATH", "").split(os.pathsep),
    ]
    try:
        if command[0] == "-c":
            exec(compile(command[1], "<string>", "exec"), {"__name__": "__main__"})
        elif command[0] == "-m":
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(command[0], run_name="__main__")
    finally:
        with contextlib.suppress(Exception):  # in the order of an interpreter that ends: first its threads
            threading._shutdown()  # type: ignore[attr-defined]  # private
            atexit._run_exitfuncs()
