"""Terminal output; with several ranks, only rank zero prints."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from mmnar_lightning.distributed.launch import is_rank_zero, rank_of

UNLIMITED = 100_000
"""Characters per line if the output is not a terminal: nothing is cut or wrapped in a pipe or a log."""

_CONSOLE = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else UNLIMITED)
_shown = {"bars": True}
"""Whether progress is shown, as `show_bars` says."""
_WARNED: set[str] = set()
"""Warnings about what all runs of a command share, that were printed."""


def quieten() -> None:
    """Silence advertisements and notes of libraries; their warnings stay."""
    # Importing Lightning sets the level of its parent loggers to INFO; those of these modules stay.
    for name in ("lightning.pytorch", "lightning.fabric"):
        for logger in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(logger).setLevel(logging.WARNING)
    # It logs which rank died, before it ends the others.
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    os.environ.setdefault("WANDB_SILENT", "true")
    # PatternMetric gathers the rows of all ranks before it scores, so every rank logs the same values.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*sync_dist=True")
    # Lightning looks for srun regardless of the launcher, which launch.py detects.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def say(line: str) -> None:
    """Print a line."""
    if is_rank_zero():
        _CONSOLE.print(escape(line))


def warn(line: str) -> None:
    """Print a warning."""
    if is_rank_zero():
        _CONSOLE.print(f"[bold yellow]![/] {escape(line)}")


def warn_of_all_runs(line: str) -> None:
    """Print a warning about what all runs of a command share: where these are silenced, once for each text."""
    quiet = _CONSOLE.quiet
    if quiet and line in _WARNED:
        return
    _WARNED.add(line)
    try:
        _CONSOLE.quiet = False
        warn(line)
    finally:
        _CONSOLE.quiet = quiet


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing in a body, of which another command reports the outcome, but new warnings about what runs share."""
    quieten()  # again: a library that was loaded since then has set its own level
    before, _CONSOLE.quiet = _CONSOLE.quiet, True
    try:
        yield
    finally:
        _CONSOLE.quiet = before


def fail(line: str) -> None:
    """Print an error, on any rank."""
    number = rank_of()
    _CONSOLE.print(f"[bold red]![/] {f'rank {number}: ' if number else ''}{escape(line)}")


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    if not is_rank_zero():
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    _CONSOLE.print(table)


def show_bars(shown: bool) -> None:
    """Show the progress of long work in this process, or not: `trainer.progress_bar` of a command."""
    _shown["bars"] = shown


@contextmanager
def progress(what: str, total: int, unit: str = "", after: float = 0.0) -> Iterator[Callable[[float], None]]:
    """Show a progress bar from the first step on.

    Where the output is no terminal, work that takes longer than `after` says once how long it will take, if that is
    above 0; other work says nothing.

    Args:
        what: is being done.
        total: number of steps.
        unit: name of the steps, to show their rate per second.
        after: seconds from now before which no bar is shown.

    Yields:
        The function that advances the bar.
    """
    rate = [_Rate(unit)] if unit else []
    bar = Progress(*Progress.get_default_columns(), *rate, console=_CONSOLE, transient=True)
    task, opened = bar.add_task(what, total=total), time.monotonic()
    waits = _shown["bars"] and is_rank_zero()

    def advance(count: float) -> None:
        nonlocal waits
        bar.update(task, advance=count)
        passed, done = time.monotonic() - opened, bar.tasks[0].completed
        if not waits or passed < after:
            return
        waits = False
        if _CONSOLE.is_terminal:
            bar.start()
        elif after and 0 < done < total:
            say(f"{what}: about {passed * total / done:.0f} s")

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


class _Rate(ProgressColumn):
    """Steps per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Format the rate of a task."""
        return Text(f"{task.finished_speed or task.speed or 0.0:,.1f} {self.unit}/s")
