"""Trials in separate processes: started, monitored, stopped early and restarted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps import copies
from mmnar_lightning.sweeps.search import Search
from mmnar_lightning.sweeps.space import SweepError
from mmnar_lightning.sweeps.table import epochs

if TYPE_CHECKING:
    import optuna

FOLDER_VARIABLE = "MMNAR_TRIAL"
"""Environment variable with the folder of an offline trial."""
POLL = 0.5
"""Seconds between two checks of the trials."""
GRACE = 60.0
"""Seconds that a stopped trial has to save before it is killed."""
MAX_STARTS = 10
"""Maximum number of starts of a trial; interrupted once more, it counts as failed."""
MAX_FAILURES = 3
"""Consecutive failures that end the search, since their cause is probably common to all trials."""
PREEMPTED = 75
"""Exit status of a trial that stopped on request and can be resumed (EX_TEMPFAIL of sysexits.h)."""
SIGNALLED = 128
"""Smallest exit status that means termination by a signal."""


@dataclass
class Worker:
    """A running trial."""

    trial: "optuna.Trial"
    folder: Path
    command: list[str]
    process: subprocess.Popen[bytes] | copies.Copy | None = None
    starts: int = 0
    seen: set[int] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """File with the output of its processes."""
        return self.folder / "output.log"

    def start(self) -> None:
        """Start the command in a new process group."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with signals.deferred():  # a signal finds the process known, to be stopped
            self.process = self._started()
        self.starts += 1
        signals.raise_if_requested_here()

    def _started(self) -> subprocess.Popen[bytes] | copies.Copy:
        environment = trial_environment(self.folder)
        if words := copies.words_after_program(self.command):
            return copies.Copy(words, environment, self.log)
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Terminate all its processes, and kill those that do not stop."""
        if self.process is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self._signal(signal.SIGKILL)  # ranks that outlived the first process
        self.process.wait()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            if self.process.poll() is None:  # a copy that has just begun leads no group yet
                os.kill(self.process.pid, number)


def trial_environment(folder: Path) -> dict[str, str]:
    """The environment of an offline trial: its folder, the commands of this installation and no W&B API key."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
    return environment | {FOLDER_VARIABLE: str(folder), "PATH": path_with_commands()}


def path_with_commands() -> str:
    """PATH with the commands of this installation first, since W&B's `${interpreter}` is the first python in it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class WorkerPool:
    """Runs all trials of a search, several at a time.

    Args:
        search: proposes trials and receives their results.
        folder: of the sweep.
        settings: `key=value` words added to every trial.
        processes: number of concurrent trials.
    """

    def __init__(self, search: Search, folder: Path, settings: Sequence[str], processes: int) -> None:
        self.search, self.folder, self.settings, self.processes = search, folder, list(settings), processes
        self.started = search.unfinished()
        self.workers: list[Worker] = []
        self.failures = 0

    def work(self) -> None:
        """Train all remaining trials; an interrupt or a signal stops the running ones, which stay unfinished."""
        try:
            with signals.handled():
                while self._fill():
                    for worker in list(self.workers):
                        self._check(worker)
                    time.sleep(POLL)
        finally:
            for worker in self.workers:
                worker.stop()

    def _fill(self) -> bool:
        """Start trials up to the limit; returns whether any is running."""
        while len(self.workers) < self.processes:
            trial = self.started.pop(0) if self.started else self.search.ask()
            if trial is None:
                break
            values = self.search.values(trial)
            folder = trial_folder(self.folder, trial.number)
            worker = Worker(trial, folder, [*self.search.sweep.words(values), *self.settings])
            self.workers.append(worker)
            worker.start()
            say(f"trial {trial.number + 1} of {self.search.num_trials}: {_shown_settings(values)}")
        return bool(self.workers)

    def _check(self, worker: Worker) -> None:
        assert worker.process is not None
        status = worker.process.poll()
        if self._should_stop(worker) and status is None:
            worker.stop()
            self._close(worker, "pruned")
        elif status is not None:
            self._end(worker, status)

    def _should_stop(self, worker: Worker) -> bool:
        """Report new epochs to the search; whether it prunes the trial."""
        for count, epoch in enumerate(epochs(worker.folder, self.search.sweep.metric), start=1):
            if count not in worker.seen:
                worker.seen.add(count)
                if self.search.report(worker.trial, count, epoch.value):
                    return True
        return False

    def _end(self, worker: Worker, status: int) -> None:
        if (worker.folder / folders.DONE).is_file():
            self._finish(worker)
        elif _is_interruption(status) and worker.starts < MAX_STARTS:
            warn(f"trial {worker.trial.number + 1} was interrupted (status {status}) and is restarted")
            worker.start()
        else:
            self._fail(worker, f"exited with status {status}")

    def _finish(self, worker: Worker) -> None:
        better = max if self.search.sweep.maximise else min
        values = [epoch.value for epoch in epochs(worker.folder, self.search.sweep.metric)]
        if not values:
            self._fail(worker, f"never logged {self.search.sweep.metric}")
            return
        self._close(worker, "finished", better(values))
        self.failures = 0

    def _fail(self, worker: Worker, why: str) -> None:
        self._close(worker, "failed")
        self.failures += 1
        warn(f"trial {worker.trial.number + 1} failed: it {why}; see {worker.log}")
        if self.failures >= MAX_FAILURES:
            raise SweepError(f"{self.failures} trials failed in a row; the last one {why}, see {worker.log}")

    def _close(self, worker: Worker, state: str, value: float | None = None) -> None:
        self.workers.remove(worker)
        self.search.record(worker.trial, state, value)
        if state != "failed":
            shown = "" if value is None else f", {self.search.sweep.metric} {value:.4f}"
            say(f"trial {worker.trial.number + 1} {state}{shown}")


def trial_folder(folder: Path, number: int) -> Path:
    """Folder of a trial; its name is unique over all sweeps, since W&B identifies runs by it.

    Args:
        folder: of the sweep.
        number: of the trial, from 0.

    Returns:
        The path.

    >>> trial_folder(Path("runs/sweeps/random-1a2b3c"), 4).name
    'random-1a2b3c-0004'
    """
    return folder / f"{folder.name}-{number:04d}"


def _is_interruption(status: int) -> bool:
    """Whether an exit status means a signal or preemption and not an error.

    Args:
        status: exit status of a process; negative if a signal killed it.

    Returns:
        True if the trial can be restarted.

    >>> [_is_interruption(status) for status in (0, 1, 75, 143, -9)]
    [False, False, True, True, True]
    """
    return status < 0 or status == PREEMPTED or status >= SIGNALLED


def _shown_settings(values: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
