"""What a modality of a source is made of, and what writing one needs to know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data_modules.features.store import BoolArray, FloatArray
from data_modules.raw.reader import Release
from data_modules.vocabulary import Kind


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Everything that the writing of a modality may look at.

    Attributes:
        release: the raw tables.
        rows: one row per unit: `row_id`, `subject_id`, `hadm_id`, times, `interval_start`, `interval_end`,
            `landmark_at`, `prediction_at`.
        tables: core tables already in memory, by name.
        train: `row_id`, `subject_id` of the train rows, for what is fitted.
        scratch: a folder for temporary files, removed once all modalities are written.
        min_vocabulary_subjects: see the cohort's settings.
        max_vocabulary: see the cohort's settings.
        vocabularies: prefix (`drug`, `culture`, ...) -> words fitted before, used instead of fitting them.
    """

    release: Release
    rows: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    train: pl.DataFrame
    scratch: Path
    min_vocabulary_subjects: int
    max_vocabulary: int
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnBlock:
    """Columns of an array, and the function that writes them and returns where the block is present."""

    columns: list[str]
    write: Callable[[FloatArray], BoolArray]


@dataclass(frozen=True, kw_only=True)
class ModalitySpec:
    """A modality that a source offers.

    Attributes:
        kind: how it is stored.
        tables: raw tables without which it does not exist.
        block: prepares its columns (table kinds).
        parts: other definitions that it joins side by side (a table made of tables).
        files: writes documents or an image index into a folder; returns the row ids that have any.
        declares: what a reader of the manifest must know about when it becomes available.
    """

    kind: Kind
    tables: tuple[str, ...] = ()
    block: Callable[[BuildContext], ColumnBlock] | None = None
    parts: tuple[str, ...] = ()
    files: Callable[[BuildContext, Path], pl.Series] | None = None
    declares: str | None = None
