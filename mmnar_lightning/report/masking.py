"""Prints the labels of a cohort, and which cells of its public results will be masked; it loads no torch."""

from collections.abc import Mapping, Sequence

import polars as pl

from data_modules import patterns
from data_modules.cohorts.columns import kind_of, task_column
from data_modules.cohorts.presence import count_patterns, known_values, pattern_ids, prevalence, scored
from data_modules.features.store import BoolArray
from data_modules.vocabulary import SPLITS
from mmnar_lightning.console import show
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells, with_sum
from mmnar_lightning.report.cohort import MASKED

MAX_NAMED = 8
"""Most patterns of a task that are named."""


def show_labels(rows: pl.DataFrame, tasks: Sequence[str], min_count: int) -> None:
    """Print known labels and positive ones by task and split, of numbers known ones, without small cells.

    Args:
        rows: of cohort.parquet.
        tasks: names.
        min_count: `privacy.min_count`.
    """
    if kind_of(rows) == "value":
        _show_values(rows, tasks, min_count)
        return
    cells = {
        task: {split: Counts(own["known"], own["positive"]) for split, own in found.items()}
        for task, found in prevalence(rows, tasks).items()
    }
    hidden = hidden_cells({task: with_sum(own) for task, own in cells.items()}, min_count)
    table = [
        [task, *(_prevalence(own[split]) if split in own and split not in hidden[task] else MASKED for split in SPLITS)]
        for task, own in cells.items()
    ]
    show("positive of known labels", ["task", *SPLITS], table)


def _show_values(rows: pl.DataFrame, tasks: Sequence[str], min_count: int) -> None:
    cells = {
        task: {split: Counts(own["known"], 0) for split, own in found.items()}
        for task, found in known_values(rows, tasks).items()
    }
    hidden = hidden_cells({task: with_sum(own) for task, own in cells.items()}, min_count)
    table = [
        [task, *(str(own[split].rows) if split in own and split not in hidden[task] else MASKED for split in SPLITS)]
        for task, own in cells.items()
    ]
    show("known values", ["task", *SPLITS], table)


def _prevalence(counts: Counts) -> str:
    share = f" ({counts.positives / counts.rows:.1%})" if counts.rows else ""
    return f"{counts.positives} of {counts.rows}{share}"


def masked_cells(
    rows: pl.DataFrame, tasks: Sequence[str], modalities: Sequence[str], min_count: int
) -> dict[str, Mapping[str, bool]]:
    """Find the cells that the public results of the test split will hide, by the rule of docs/privacy.md.

    Args:
        rows: of cohort.parquet.
        tasks: names.
        modalities: names.
        min_count: `privacy.min_count`.

    Returns:
        Task -> pattern label -> whether it is hidden; `all` among them is the whole task.

    >>> flags = {"split": ["test"] * 30, "label/death": [True, False] * 15, "present/labs": [True] * 28 + [False] * 2}
    >>> masked_cells(pl.DataFrame(flags), ["death"], ["labs"], 10)["death"]
    {'all': False, '1': True, '0': True}
    """
    scored_patterns = scored([entry["pattern"] for entry in count_patterns(rows, modalities)], len(tasks))
    tested = rows.filter(pl.col("split") == "test")
    members = patterns.members(pattern_ids(tested, modalities).to_numpy(), scored_patterns, len(modalities))
    tables = {
        task: with_sum({name: _counts(tested[task_column(tested, task)], own) for name, own in members.items()})
        for task in tasks
    }
    hidden = hidden_cells(tables, min_count)
    return {task: {name: name in hidden[task] for name in cells} for task, cells in tables.items()}


def _counts(label: pl.Series, member: BoolArray) -> Counts:
    own = label.filter(pl.Series(member))
    positives = int(own.sum() or 0) if own.dtype == pl.Boolean else 0
    return Counts(len(own) - own.null_count(), positives)


def show_masked(found: Mapping[str, Mapping[str, bool]]) -> None:
    """Print which cells will be masked; of `masked_cells`."""
    table = []
    for task, cells in found.items():
        own = sorted(name for name, is_hidden in cells.items() if is_hidden and name != ALL)
        if cells[ALL]:
            table.append([task, "the whole task"])
        else:
            more = f" and {len(own) - MAX_NAMED} more" if len(own) > MAX_NAMED else ""
            named = f": {', '.join(own[:MAX_NAMED])}{more}" if own else ""
            table.append([task, f"{len(own)} of {len(cells) - 1} patterns{named}"])
    show("masked in the public results of the test split", ["task", "cells"], table)
