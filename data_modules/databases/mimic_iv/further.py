"""Modalities beyond those of the default cohorts: further measurements, drugs that support the circulation, fluids."""

from collections.abc import Mapping
from functools import partial

import polars as pl

from data_modules.databases.mimic_iv import background, fluids, scores, sets, vasoactives
from data_modules.databases.mimic_iv.coma import WRITTEN, coma_totals
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, block
from data_modules.features import series
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec


def _neurology(context: BuildContext) -> ColumnBlock:
    def settle(found: pl.DataFrame) -> pl.DataFrame:
        return coma_totals(series.last_revisions(found))

    charted = sets.events(context, CHARTED, "neurology")
    return block(context, charted, CHARTED, WRITTEN, settle=settle, counted_as="neurology")


def _block(source: Measured, name: str, context: BuildContext) -> ColumnBlock:
    return block(context, sets.events(context, source, name), source, sets.SETS[source][name], counted_as=name)


def _measured(source: Measured, name: str) -> ModalitySpec:
    return ModalitySpec(kind="table", tables=(source.table,), block=partial(_block, source, name))


FURTHER: Mapping[str, ModalitySpec] = {
    "special_labs": _measured(LABS, "special_labs"),
    "urinalysis": _measured(LABS, "urinalysis"),
    "neurology": ModalitySpec(kind="table", tables=(CHARTED.table,), block=_neurology),
    "respiration": _measured(CHARTED, "respiration"),
    "vasoactives": ModalitySpec(kind="table", tables=(vasoactives.TABLE,), block=vasoactives.vasoactives),
    "fluids": ModalitySpec(kind="table", tables=(fluids.OUTPUT, vasoactives.TABLE, CHARTED.table), block=fluids.fluids),
    "scores": ModalitySpec(
        kind="table",
        tables=(CHARTED.table, LABS.table),
        optional={
            vasoactives.TABLE: "no drug counts in SOFA",
            fluids.OUTPUT: "no urine counts in the scores",
            background.SERVICES: "only the type of admission says who was operated on",
            background.DIAGNOSES: "no earlier disease counts, and Charlson's index is not known",
        },
        block=scores.scores,
        published=scores.published,
    ),
}
"""The modalities of this file."""
