"""The interface between a database and the cohort stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from data_modules.cohorts.rows import CohortRows
from data_modules.features.modality import BuildContext, ModalitySpec
from data_modules.raw.reader import Release
from data_modules.raw.schema import ReleaseSchema


def no_tables(release: Release) -> dict[str, pl.DataFrame]:
    """Read no core tables into memory."""
    return {}


def no_label_tables(tasks: Sequence[str]) -> tuple[str, ...]:
    """Derive every outcome from core tables."""
    return ()


def no_counts(context: BuildContext, modalities: Sequence[str], cohort: pl.DataFrame) -> dict[str, Any]:
    """Add no counts to the manifest."""
    return {}


@dataclass(frozen=True, kw_only=True)
class DatabaseSpec:
    """A database from which cohorts are built.

    Attributes:
        schema: its raw tables.
        modalities: name -> modality.
        build_rows: raw tables and cohort settings -> rows with labels.
        label_tables: tasks -> the raw tables besides the core tables that their labels are derived from.
        read_tables: core tables that modalities read, by name, in memory.
        count: counts for the manifest, from the modalities and the finished cohort.
        subgroups: `row_id` and attributes of the rows, text, by which an evaluation is divided and which no model reads
            (`cohorts/subgroups.py`); None lists none.
        scores: published predictions for the rows: `row_id`, `<score>/<task>`; None without any.
        score_tables: the raw tables that `scores` reads.
        image_files: PhysioNet project of the image files; None without any.
        image_embeddings: PhysioNet project of published image embeddings; None without any.
    """

    schema: ReleaseSchema
    modalities: Mapping[str, ModalitySpec]
    build_rows: Callable[[Release, Any], CohortRows]
    label_tables: Callable[[Sequence[str]], tuple[str, ...]] = no_label_tables
    read_tables: Callable[[Release], dict[str, pl.DataFrame]] = no_tables
    count: Callable[[BuildContext, Sequence[str], pl.DataFrame], dict[str, Any]] = no_counts
    subgroups: Callable[[BuildContext], pl.DataFrame] | None = None
    scores: Callable[[Release, pl.DataFrame], pl.DataFrame] | None = None
    score_tables: tuple[str, ...] = field(default=())
    image_files: str | None = None
    image_embeddings: str | None = None
