"""Cell by cell: what the package writes for a cohort, and what the loops derive."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules.databases.registry import database
from data_modules.features.modality import BuildContext
from data_modules.raw.reader import Release

RELATIVE, ABSOLUTE = 2e-4, 2e-4
"""Values are stored as float32, and slopes are differences of them."""


@dataclass
class Part:
    """One line of the table.

    Attributes:
        database: name and cohort.
        name: what is compared.
        rows: rows of the cohort.
        cells: cells compared.
        filled: of these with a value, in either.
        reasons: kind of disagreement -> cells.
    """

    database: str
    name: str
    rows: int = 0
    cells: int = 0
    filled: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def disagree(self) -> int:
        """Cells that disagree."""
        return self.reasons.total()


@lru_cache(maxsize=1)
def _tables(name: str, release: Release) -> Mapping[str, pl.DataFrame]:
    """The tables that every modality of a release reads, kept while its modalities are written one by one."""
    return database(name).read_tables(release)


def write(name: str, release: Release, rows: pl.DataFrame, modality: str, scratch: Path) -> tuple[list[str], Any]:
    """Columns and values (N, C) of a modality for all rows; the last column is presence."""
    scratch.mkdir(parents=True, exist_ok=True)
    spec = database(name)
    sources = BuildContext(
        release=release,
        rows=rows,
        tables=_tables(name, release),
        train=rows.select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=1,
        max_vocabulary=9,
        modalities=list(spec.modalities),  # so that a table is read once for all of them
    )
    make = spec.modalities[modality].block
    assert make is not None, f"{modality} is no table"
    block = make(sources)
    out = np.full((rows.height, len(block.columns)), np.nan, np.float32)
    present = block.write(out)
    return [*block.columns, "present"], np.column_stack([out, present])


def cells(part: Part, columns: Sequence[str], found: Any, expected: Sequence[Mapping[str, float]]) -> Part:
    """Compare a table of numbers; the kind of a disagreement is its column, or the part of its concept."""
    table = np.array([[row.get(column, np.inf) for column in columns] for row in expected])
    same = np.isclose(found, table, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    part.rows, part.cells = table.shape[0], table.size
    part.filled = int((~np.isnan(found) | ~np.isnan(table)).sum())
    for column, wrong in zip(columns, (~same).sum(0), strict=True):
        if wrong:
            part.reasons[column.rsplit("/")[-1]] += int(wrong)
    only = set().union(*expected[:1]) - set(columns)
    part.reasons.update({f"{column} is not a column": len(expected) for column in only})
    return part


def labels(part: Part, names: Sequence[str], found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> Part:
    """Compare keyed rows of times and labels; a row that one of them lacks disagrees in every cell."""
    keys = found.keys() | expected.keys()
    part.rows, part.cells = len(found), len(keys) * len(names)
    for key in keys:
        if key not in found or key not in expected:
            part.reasons["row of one only"] += len(names)
            continue
        for name, ours, theirs in zip(names, found[key], expected[key], strict=True):
            part.filled += ours is not None or theirs is not None
            if ours != theirs:
                part.reasons[name] += 1
    return part


def report(parts: Sequence[Part]) -> None:
    """Print the table, as markdown."""
    print("| cohort | part | rows | cells | filled | disagree | reason: cells |\n|---|---|---|---|---|---|---|")
    for part in parts:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in part.reasons.most_common()) or "-"
        numbers = " | ".join(f"{count:,}" for count in (part.rows, part.cells, part.filled, part.disagree))
        print(f"| {part.database} | {part.name} | {numbers} | {reasons} |")
