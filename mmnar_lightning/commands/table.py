"""`mmnar table`: runs what a table of methods lacks, and writes it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from data_modules import locks
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, show, warn
from mmnar_lightning.distributed import launch, signals
from mmnar_lightning.report import style
from mmnar_lightning.tables import declared, files, page, plan, processes, score, stored, work, written

WRITING = ".table.lock"
SCRIPT = "experiments/slurm/table.sbatch"
MAX_ARRAY = 1001
"""Jobs of an array that SLURM takes unless its MaxArraySize is set; the numbers within an array are below it."""
PICTURE_DPI = 90
"""Of the figure beside a page, which a repository may hold."""
SHOWN = (0, 1, 6, 8, 9)
"""Columns of the table on screen; the others are in its files."""


@signals.handled()
def make_table(config: ExperimentConfig, words: Sequence[str]) -> Path:
    """Run the entries that are not finished and, if all are, write the table; with `predictions` only write it.

    Args:
        config: of the command.
        words: of the command, which apply to all runs.

    Returns:
        The table's folder.

    Raises:
        ConfigError: for several devices or processes, which would share one run.
    """
    launched = launch.detect_launch()
    if config.trainer.num_devices != 1 or (launched is not None and launched.world_size > 1):
        raise ConfigError("table trains every run in one process; omit trainer.devices, and use an array for more")
    planned = plan.make(declared.read(declared.find(config.table.name)), config, words)
    planned.folder.mkdir(parents=True, exist_ok=True)
    say(f"table: {planned.folder}, {len(planned.entries)} entries of {len(planned.methods)} methods")
    if config.table.source == "runs":
        if config.table.part is None:
            alone = [word for word in words if not word.startswith("table.processes=")]
            for line in arrays_of(len(planned.entries), alone):
                say(f"as an array of jobs: {line}")
        with processes.beside(words, config.table.processes, planned.folder):
            work.run(planned, config.table.part)
    with locks.locked(planned.folder / WRITING):
        unfinished = [entry for entry in planned.entries if not stored.is_stored(entry)]
        if unfinished and config.table.part is not None:
            say(f"{len(unfinished)} entries are not finished; the job that finishes last writes the table")
        else:
            write(planned, config)
    return planned.folder


def arrays_of(count: int, words: Sequence[str]) -> list[str]:
    """The lines that run all entries as arrays of SLURM jobs, none larger than SLURM takes.

    Args:
        count: number of entries.
        words: of the command.

    Returns:
        One line, or several that are all submitted.

    >>> arrays_of(4, ["table.name=quick"])
    ['sbatch --array=0-3 experiments/slurm/table.sbatch table.name=quick']
    >>> arrays_of(MAX_ARRAY + 2, [])[1]
    'MMNAR_OFFSET=1001 sbatch --array=0-1 experiments/slurm/table.sbatch'
    """
    found = []
    for first in range(0, count, MAX_ARRAY):
        last = min(MAX_ARRAY, count - first) - 1
        offset = f"MMNAR_OFFSET={first} " if first else ""
        found.append(offset + shlex.join(["sbatch", f"--array=0-{last}", SCRIPT, *words]))
    return found


def write(planned: plan.Plan, config: ExperimentConfig) -> None:
    """Score the stored predictions, and write the table, its figure and, where asked for, its page."""
    found = stored.read(planned)
    family = planned.table.family
    lines = score.lines(planned, found)
    drawn = files.write(
        lines,
        family,
        planned.folder,
        modalities=stored.modalities_of(planned),
        left_out=stored.left_out_of(planned),
    )
    if config.table.page:
        style.save(drawn, page.write(planned, found, lines, Path(config.table.page)), ["png"], PICTURE_DPI)
    for cohort, task, own in written.sections(lines):
        texts = [written.cells(line) for line in own]
        show(
            f"{cohort}: {task}",
            [written.HEADER[place] for place in SHOWN],
            [[row[place] for place in SHOWN] for row in texts],
        )
    for line in lines:
        if line.reason:
            warn(f"{line.cohort}, {line.method}: not applicable: {line.reason}")
    say(f"table: {planned.folder / files.MARKDOWN}")


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    make_table(config, words)
    return 0
