"""Output on the terminal; of several ranks only rank zero prints."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from mmnar_lightning.distributed.launch import is_rank_zero, rank_of

WIDTH = 120
"""Characters of a line where the output is not a terminal."""

_CONSOLE = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)


def quieten() -> None:
    """Keep advertisements and notes of libraries out of what a person reads; their warnings stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # It says which rank died, before it ends the others.
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    os.environ.setdefault("WANDB_SILENT", "true")
    # PatternMetric has gathered all ranks' rows before it scores: every rank logs the same numbers.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*sync_dist=True")
    # Whoever starts the processes, Lightning looks for srun (launch.py knows better).
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def say(line: str) -> None:
    """Print a line."""
    if is_rank_zero():
        _CONSOLE.print(escape(line))


def warn(line: str) -> None:
    """Print a line that the user must not miss."""
    if is_rank_zero():
        _CONSOLE.print(f"[bold yellow]![/] {escape(line)}")


def fail(line: str) -> None:
    """Print an error, on whichever rank it happened."""
    number = rank_of()
    _CONSOLE.print(f"[bold red]![/] {f'rank {number}: ' if number else ''}{escape(line)}")


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    if not is_rank_zero():
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    _CONSOLE.print(table)


@contextmanager
def progress(what: str, total: int, unit: str = "") -> Iterator[Callable[[float], None]]:
    """A progress bar that shows itself at the first step; gives the function that advances it.

    Args:
        what: is being done.
        total: how many steps.
        unit: name of the steps, to show how many are done a second.
    """
    rate = [_Rate(unit)] if unit else []
    bar = Progress(*Progress.get_default_columns(), *rate, console=_CONSOLE, transient=True)
    task = bar.add_task(what, total=total)

    def advance(count: float) -> None:
        bar.start()
        bar.update(task, advance=count)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


class _Rate(ProgressColumn):
    """Steps a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate of a task."""
        return Text(f"{task.finished_speed or task.speed or 0.0:,.1f} {self.unit}/s")
