"""Trials in processes of their own: begun, watched, stopped early, taken up again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmnar_lightning.console import say, warn
from mmnar_lightning.runs import folders
from mmnar_lightning.sweeps.search import Search
from mmnar_lightning.sweeps.space import SweepError
from mmnar_lightning.sweeps.table import epochs
from mmnar_lightning.sweeps.trial import FOLDER_VARIABLE

if TYPE_CHECKING:
    import optuna

POLL = 0.5
"""Seconds between two looks at the trials."""
GRACE = 60.0
"""Seconds that a stopped trial has to save itself before it is killed."""
MAX_STARTS = 10
"""Starts of one trial; after so many interruptions it counts as failed."""
MAX_FAILURES = 3
"""Failures in a row that end the search: what ails them ails all."""
PREEMPTED = 75
"""Exit status of a trial that was asked to stop and can go on (EX_TEMPFAIL of sysexits.h)."""
SIGNALLED = 128
"""Smallest exit status that tells of a signal."""


@dataclass
class Worker:
    """A trial that is being trained."""

    trial: "optuna.Trial"
    folder: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    seen: set[int] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "output.log"

    def start(self) -> None:
        """Start the command, in a process group of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=trial_environment(self.folder),
                start_new_session=True,
            )
        self.starts += 1

    def stop(self) -> None:
        """Ask all its processes to stop, and kill them when they do not."""
        if self.process is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self._signal(signal.SIGKILL)  # ranks that outlived the first process
        self.process.wait()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def trial_environment(folder: Path) -> dict[str, str]:
    """The environment of an offline trial: its folder, this installation's commands, and no key of W&B."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
    return environment | {FOLDER_VARIABLE: str(folder), "PATH": path_with_commands()}


def path_with_commands() -> str:
    """PATH with the commands of this installation first: W&B's `${interpreter}` is whatever python comes first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class WorkerPool:
    """All trials of a search, so many at a time.

    Args:
        search: gives and takes trials.
        folder: of the sweep.
        settings: `key=value` words for every trial.
        processes: trials at the same time.
    """

    def __init__(self, search: Search, folder: Path, settings: Sequence[str], processes: int) -> None:
        self.search, self.folder, self.settings, self.processes = search, folder, list(settings), processes
        self.begun = search.unfinished()
        self.workers: list[Worker] = []
        self.failures = 0

    def work(self) -> None:
        """Train all trials that are left. Interrupted, every trial is stopped and stays unfinished."""
        try:
            with _sigterm_interrupts():
                while self._fill():
                    for worker in list(self.workers):
                        self._look_at(worker)
                    time.sleep(POLL)
        finally:
            for worker in self.workers:
                worker.stop()

    def _fill(self) -> bool:
        """Start trials while there is room; gives whether any is being trained."""
        while len(self.workers) < self.processes:
            trial = self.begun.pop(0) if self.begun else self.search.ask()
            if trial is None:
                break
            values = self.search.values(trial)
            folder = trial_folder(self.folder, trial.number)
            worker = Worker(trial, folder, [*self.search.sweep.words(values), *self.settings])
            worker.start()
            self.workers.append(worker)
            say(f"trial {trial.number + 1} of {self.search.num_trials}: {_told(values)}")
        return bool(self.workers)

    def _look_at(self, worker: Worker) -> None:
        assert worker.process is not None
        status = worker.process.poll()
        if self._should_stop(worker) and status is None:
            worker.stop()
            self._close(worker, "pruned")
        elif status is not None:
            self._end(worker, status)

    def _should_stop(self, worker: Worker) -> bool:
        """Hand new epochs on to the search."""
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
            warn(f"trial {worker.trial.number + 1} was interrupted (status {status}); it is taken up again")
            worker.start()
        else:
            self._fail(worker, f"ended with status {status}")

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
            raise SweepError(f"{self.failures} trials failed one after the other; the last one {why}, see {worker.log}")

    def _close(self, worker: Worker, state: str, value: float | None = None) -> None:
        self.workers.remove(worker)
        self.search.tell(worker.trial, state, value)
        if state != "failed":
            shown = "" if value is None else f", {self.search.sweep.metric} {value:.4f}"
            say(f"trial {worker.trial.number + 1} {state}{shown}")


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial lies; its name is unique among all sweeps, for W&B knows runs by it.

    >>> trial_folder(Path("runs/sweeps/random-1a2b3c"), 4).name
    'random-1a2b3c-0004'
    """
    return folder / f"{folder.name}-{number:04d}"


def _is_interruption(status: int) -> bool:
    """Whether an exit status tells of a signal, and not of an error.

    >>> [_is_interruption(status) for status in (0, 1, 75, 143, -9)]
    [False, False, True, True, True]
    """
    return status < 0 or status == PREEMPTED or status >= SIGNALLED


def _told(values: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does: trials have process groups of their own and would live on."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
