"""The specification of MIMIC-IV for the cohort stage."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.mimic_iv.cohort import build_rows, label_tables, read_admissions, read_stays
from data_modules.databases.mimic_iv.demographics import subgroups
from data_modules.databases.mimic_iv.modalities import MIMIC_MODALITIES, note_presence
from data_modules.databases.mimic_iv.tables import EMBEDDINGS, IMAGE_PROJECT, MIMIC_IV
from data_modules.features.modality import BuildContext
from data_modules.raw.reader import Release


def _read_tables(release: Release) -> dict[str, pl.DataFrame]:
    return {"admissions": read_admissions(release), "icustays": read_stays(release)}


def _count(context: BuildContext, modalities: Sequence[str], cohort: pl.DataFrame) -> dict[str, Any]:
    return {"discharge_note stored by": note_presence(context)} if "discharge_note" in modalities else {}


SPEC = DatabaseSpec(
    schema=MIMIC_IV,
    modalities=MIMIC_MODALITIES,
    build_rows=build_rows,
    label_tables=label_tables,
    read_tables=_read_tables,
    count=_count,
    subgroups=lambda context: subgroups(context.rows),
    image_files=IMAGE_PROJECT,
    image_embeddings=EMBEDDINGS,
)
