"""The harmonised modalities, derived from eICU."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.databases.eicu.cohort import age_in_years
from data_modules.databases.eicu.concepts import convert, within_range
from data_modules.databases.eicu.demographics import plausible
from data_modules.databases.eicu.events import STAY, known, last_revisions, monitored, results, summaries
from data_modules.databases.eicu.events import vitals as summarised_vitals
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always
from data_modules.features.store import BoolArray, FloatArray


def person(context: BuildContext) -> ColumnBlock:
    """Age and sex."""
    female = pl.col("gender").str.strip_chars().str.to_lowercase()
    sex = female.replace_strict({"female": 1.0, "male": 0.0}, default=None, return_dtype=pl.Float64)
    return always(_of_patients(context, harmonised.person(age_in_years(), sex)))


def body(context: BuildContext) -> ColumnBlock:
    """Height and weight on admission."""
    frame = _of_patients(context, [plausible(one).alias(one.name) for one in harmonised.EICU_BODY])

    def write(out: FloatArray) -> BoolArray:
        out[:] = frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        present: BoolArray = np.logical_or.reduce(np.isfinite(out), axis=1)
        return present

    return ColumnBlock(frame.columns, write)


def _of_patients(context: BuildContext, columns: list[pl.Expr]) -> pl.DataFrame:
    """Columns of `patient`, one row per row of the cohort, in order."""
    keyed = context.rows.select("row_id", pl.col("stay_id").alias(STAY))
    patients = context.tables["patient"].select(STAY, *columns)
    return keyed.join(patients, on=STAY, how="left").sort("row_id").drop("row_id", STAY)


def _laboratory(context: BuildContext) -> Path:
    """The scratch file of labs that the panels share; written on first use."""
    path = context.scratch / "harmonised_lab.parquet"
    if not path.is_file():
        convert(results(context), harmonised.EICU_LABORATORY).sink_parquet(path, compression="lz4")
    return path


def labs(panel: str, context: BuildContext) -> ColumnBlock:
    """A panel of labs."""
    chosen = harmonised.of_panel(panel)
    concepts = harmonised.EICU_LABS[chosen]

    def clean(events: pl.LazyFrame) -> pl.LazyFrame:
        return last_revisions(harmonised.within(events, chosen), concepts)

    return summaries(context, _laboratory(context), concepts, clean, harmonised.hourly, shared=True)


def vitals(context: BuildContext) -> ColumnBlock:
    """Vitals; arterial-line and cuff pressures are one concept, as in MIMIC-IV."""
    concepts = harmonised.EICU_VITALS
    line = monitored(context, "vitalPeriodic", {concept.label: concept.label for concept in concepts})
    cuff = monitored(context, "vitalAperiodic", harmonised.CUFF)
    wide = pl.concat([line, cuff], how="diagonal")
    return summarised_vitals(context, wide, context.scratch / "harmonised_vitals.parquet", concepts, harmonised.hourly)


def oxygen(context: BuildContext) -> ColumnBlock:
    """Inspired oxygen, charted by respiratory care or recorded with a blood gas."""
    concepts = harmonised.EICU_OXYGEN
    chosen = harmonised.of_concepts(concepts, harmonised.EICU_LABORATORY)
    measured = last_revisions(harmonised.within(pl.scan_parquet(_laboratory(context)), chosen), concepts)
    charted = known(context, "respiratoryCharting", "respchartoffset", "respchartentryoffset").select(
        "row_id",
        event_at="respchartoffset",
        label="respchartvaluelabel",
        value=pl.col("respchartvalue").str.strip_chars(" %").cast(pl.Float64, strict=False),
        unit=pl.lit(None, pl.String),
    )
    events = [measured, within_range(convert(charted, concepts), concepts)]
    path = context.scratch / "harmonised_oxygen.parquet"
    columns = ("row_id", "concept", "event_at", "value")
    pl.concat([one.select(columns) for one in events]).sink_parquet(path, compression="lz4")
    return summaries(context, path, concepts, lambda events: events, harmonised.hourly)


MODALITIES: Mapping[str, ModalitySpec] = {
    "harmonised_person": ModalitySpec(kind="table", block=person),
    "harmonised_body": ModalitySpec(kind="table", block=body),
    "harmonised_demographics": ModalitySpec(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": ModalitySpec(kind="table", tables=("vitalPeriodic", "vitalAperiodic"), block=vitals),
    "harmonised_oxygen": ModalitySpec(kind="table", tables=("lab", "respiratoryCharting"), block=oxygen),
    **{
        f"harmonised_{panel}": ModalitySpec(kind="table", tables=("lab",), block=partial(labs, panel))
        for panel in harmonised.PANELS
    },
}
