"""Prints the labels of a cohort, and which cells of its public results will be masked; it loads no torch."""

from collections.abc import Mapping, Sequence

import polars as pl

from data_modules import patterns
from data_modules.cohorts.columns import LABEL
from data_modules.cohorts.presence import pattern_ids, prevalence
from data_modules.vocabulary import SPLITS
from mmnar_lightning.console import show
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells, with_sum
from mmnar_lightning.report.cohort import MASKED

MAX_NAMED = 8
"""Most patterns of a task that are named."""


def show_labels(rows: pl.DataFrame, tasks: Sequence[str], min_count: int) -> None:
    """Print known labels and positive ones by task and split, without small cells.

    Args:
        rows: of cohort.parquet.
        tasks: names.
        min_count: `privacy.min_count`.
    """
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


def _prevalence(counts: Counts) -> str:
    share = f" ({counts.positives / counts.rows:.1%})" if counts.rows else ""
    return f"{counts.positives} of {counts.rows}{share}"


def masked_cells(
    rows: pl.DataFrame, tasks: Sequence[str], modalities: Sequence[str], min_count: int
) -> dict[str, frozenset[str]]:
    """The cells that the public results of the test split will hide, by the rule of docs/privacy.md.

    Args:
        rows: of cohort.parquet.
        tasks: names.
        modalities: names.
        min_count: `privacy.min_count`.

    Returns:
        Task -> pattern labels; `all` is among them where the task is hidden whole.

    >>> flags = {"split": ["test"] * 30, "label/death": [True, False] * 15, "present/labs": [True] * 28 + [False] * 2}
    >>> masked_cells(pl.DataFrame(flags), ["death"], ["labs"], 10)["death"] >= {"0"}
    True
    """
    tested = rows.filter(pl.col("split") == "test")
    counted = tested.with_columns(pattern_ids(tested, modalities))
    tables = {task: with_sum(_by_pattern(counted, task, len(modalities))) for task in tasks}
    return hidden_cells(tables, min_count)


def _by_pattern(rows: pl.DataFrame, task: str, num_modalities: int) -> dict[str, Counts]:
    label = pl.col(LABEL + task)
    counted = rows.group_by("pattern").agg(known=label.is_not_null().sum(), positive=label.sum()).sort("pattern")
    return {
        patterns.label(pattern, num_modalities): Counts(known, positive)
        for pattern, known, positive in counted.iter_rows()
    }


def show_masked(found: Mapping[str, frozenset[str]], num_patterns: int) -> None:
    """Print which cells will be masked.

    Args:
        found: of `masked_cells`.
        num_patterns: of the test split.
    """
    table = []
    for task, names in found.items():
        own = sorted(names - {ALL})
        if ALL in names:
            table.append([task, "the whole task"])
        else:
            more = f" and {len(own) - MAX_NAMED} more" if len(own) > MAX_NAMED else ""
            named = f": {', '.join(own[:MAX_NAMED])}{more}" if own else ""
            table.append([task, f"{len(own)} of {num_patterns} patterns{named}"])
    show("masked in the public results of the test split", ["task", "cells"], table)
