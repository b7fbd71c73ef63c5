"""The interface of a modality: its declaration, and the context of its build."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.features.store import BoolArray, FloatArray
from data_modules.raw.reader import Release
from data_modules.vocabulary import Kind


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """The inputs for writing a modality.

    Attributes:
        release: the raw tables.
        rows: one row per unit: `row_id`, `subject_id`, `hadm_id`, times, `interval_start`, `interval_end`,
            `landmark_at`, `prediction_at`.
        tables: core tables in memory, by name.
        train: `row_id`, `subject_id` of the train rows, to fit on.
        scratch: folder for temporary files, removed after all modalities are written.
        min_vocabulary_subjects: see `ReleaseCohortConfig`.
        max_vocabulary: see `ReleaseCohortConfig`.
        vocabularies: prefix (`drug`, `culture`, ...) -> words to use instead of fitting them.
        counts: what -> table -> counts for the manifest, filled by `record`.
        modalities: names, parts included, of all that are written from this context, so that one pass of a table can
            serve several; empty = each is on its own.
    """

    release: Release
    rows: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    train: pl.DataFrame
    scratch: Path
    min_vocabulary_subjects: int
    max_vocabulary: int
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    modalities: Sequence[str] = ()

    def record(self, what: str, table: str, counts: Mapping[str, int]) -> None:
        """Keep counts for the manifest; zeros are left out."""
        found = {name: count for name, count in counts.items() if count}
        if found:
            self.counts.setdefault(what, {}).setdefault(table, {}).update(found)


@dataclass(frozen=True)
class ColumnBlock:
    """Column names, and a function that writes their values and returns (N,) presence."""

    columns: list[str]
    write: Callable[[FloatArray], BoolArray]


@dataclass(frozen=True, kw_only=True)
class ModalitySpec:
    """A modality that a database offers.

    Attributes:
        kind: how it is stored.
        tables: raw tables that it needs.
        optional: raw table that it reads where it exists -> what holds without it.
        block: prepares its columns, for a table.
        parts: modalities whose columns it concatenates, for a table of tables.
        files: writes documents or an image index into a folder; returns the row ids with data.
        declares: note in the manifest on when it becomes available.
        published: columns of the modality, each (N,) float64, NaN = unknown -> published predictions of the rows, each
            (N,): `<score>/<task>`, a probability, or `<score>/points`, for a score without a published equation.
    """

    kind: Kind
    tables: tuple[str, ...] = ()
    optional: Mapping[str, str] = field(default_factory=dict)
    block: Callable[[BuildContext], ColumnBlock] | None = None
    parts: tuple[str, ...] = ()
    files: Callable[[BuildContext, Path], pl.Series] | None = None
    declares: str | None = None
    published: Callable[[Mapping[str, NDArray[np.float64]]], Mapping[str, NDArray[np.float64]]] | None = None


def always(frame: pl.DataFrame) -> ColumnBlock:
    """A block of columns that is present in every row.

    Args:
        frame: one row per row of the cohort, in order; null = not measured.

    Returns:
        The block, float32 with NaN where null.

    >>> block = always(pl.DataFrame({"age": [70, None]}))
    >>> out = np.empty((2, 1), np.float32)
    >>> block.columns, block.write(out).tolist(), out.tolist()
    (['age'], [True, True], [[70.0], [nan]])
    """

    def write(out: FloatArray) -> BoolArray:
        out[:] = frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return np.ones(frame.height, dtype=np.bool_)

    return ColumnBlock(frame.columns, write)
