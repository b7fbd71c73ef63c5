"""What a database must say of itself for cohorts to be built from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from data_modules.cohorts.rows import CohortRows
from data_modules.features.modality import BuildContext, ModalitySpec
from data_modules.raw.reader import Release
from data_modules.raw.schema import ReleaseSchema


def no_tables(release: Release) -> dict[str, pl.DataFrame]:
    """Keep no core table in memory."""
    return {}


def no_counts(context: BuildContext, modalities: Sequence[str], cohort: pl.DataFrame) -> dict[str, Any]:
    """Add no count to the manifest."""
    return {}


@dataclass(frozen=True, kw_only=True)
class DatabaseSpec:
    """How cohorts of one database are built.

    Attributes:
        schema: its raw tables.
        modalities: name -> modality that it offers.
        build_rows: rows with labels, from the raw tables and the cohort's settings.
        read_tables: core tables that modalities read, in memory, by name.
        count: counts for the manifest, of the modalities of a finished cohort.
        scores: published predictions for the rows: `row_id`, `<score>/<task>`; None where there are none.
        score_tables: the raw tables that `scores` reads.
        image_files: project of the image files, None where the database has none.
        image_embeddings: project of published image embeddings, None where the database has none.
    """

    schema: ReleaseSchema
    modalities: Mapping[str, ModalitySpec]
    build_rows: Callable[[Release, Any], CohortRows]
    read_tables: Callable[[Release], dict[str, pl.DataFrame]] = no_tables
    count: Callable[[BuildContext, Sequence[str], pl.DataFrame], dict[str, Any]] = no_counts
    scores: Callable[[Release, pl.DataFrame], pl.DataFrame] | None = None
    score_tables: tuple[str, ...] = field(default=())
    image_files: str | None = None
    image_embeddings: str | None = None
