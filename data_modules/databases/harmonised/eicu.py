"""The harmonised modalities, derived from eICU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.databases.eicu import infusions, nursing, respiration
from data_modules.databases.eicu.cohort import age_in_years
from data_modules.databases.eicu.demographics import plausible
from data_modules.databases.eicu.events import (
    EARLIEST,
    LANDMARK,
    STAY,
    as_records,
    block,
    drawn_by_landmark,
    known,
    labs,
    monitored,
    results,
    settled,
)
from data_modules.databases.eicu.events import vitals as summarised_vitals
from data_modules.databases.eicu.further import FURTHER
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.harmonised.hours import hourly, hourly_rates
from data_modules.features import series
from data_modules.features.concepts import Concept, convert, names_of
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
        results(context, harmonised.EICU_LABORATORY, path)
    return path


def panel(name: str, context: BuildContext) -> ColumnBlock:
    """A panel of labs."""
    chosen = harmonised.of_panel(name)
    return labs(context, _laboratory(context), chosen, harmonised.EICU_LABS[chosen], hourly, "harmonised lab")


def vitals(context: BuildContext) -> ColumnBlock:
    """Vitals; arterial-line and cuff pressures are one concept, as in MIMIC-IV."""
    concepts = harmonised.EICU_VITALS
    line = monitored(context, "vitalPeriodic", {str(name): str(name) for name in names_of(concepts)})
    cuff = monitored(context, "vitalAperiodic", harmonised.CUFF)
    wide = pl.concat([line, cuff], how="diagonal")
    return summarised_vitals(context, "harmonised vitals", wide, concepts, hourly)


_GAS = pl.lit(0, pl.Int64)
"""Marks oxygen of a blood gas, which no charted value revises."""


def oxygen(context: BuildContext) -> ColumnBlock:
    """Inspired oxygen, charted by respiratory care or recorded with a blood gas."""
    concepts = harmonised.EICU_OXYGEN
    chosen = harmonised.of_concepts(concepts, harmonised.EICU_LABORATORY)
    gases = series.within(pl.scan_parquet(_laboratory(context)), chosen).filter(drawn_by_landmark())
    charted = known(context, "respiratoryCharting", "respchartoffset", "respchartentryoffset").select(
        "row_id",
        LANDMARK,
        event_at="respchartoffset",
        stored=pl.coalesce("respchartentryoffset", "respchartoffset"),
        name="respchartvaluelabel",
        number=pl.col("respchartvalue").str.strip_chars(" %").cast(pl.Float64, strict=False),
    )
    path = context.scratch / "harmonised_oxygen.parquet"
    measured = gases.filter(pl.col("stored") <= pl.col(LANDMARK)).drop(EARLIEST).with_columns(specimen=_GAS)
    both = [measured, convert(as_records(charted), concepts)]
    pl.concat(both, how="diagonal").sink_parquet(path, compression="lz4")
    scanned = pl.scan_parquet(path)
    return block(
        context,
        "harmonised oxygen",
        lambda events: events,
        scanned,
        concepts,
        drawn=False,
        settle=settled,
        transform=hourly,
    )


def _respiration(context: BuildContext) -> ColumnBlock:
    """Oxygen, devices, ventilation and settings that MIMIC-IV has too."""
    names = [concept.name for concept in respiration.RECORDED]
    places = [names.index(concept.name) for concept in harmonised.EICU_RESPIRATION]
    found = series.picked(respiration.records(context), places)
    return _charted(context, "harmonised respiration", found, harmonised.EICU_RESPIRATION)


def _charted(context: BuildContext, counted_as: str, found: pl.LazyFrame, concepts: Sequence[Concept]) -> ColumnBlock:
    return block(
        context, counted_as, lambda scanned: scanned, found, concepts, drawn=False, settle=settled, transform=hourly
    )


def _neurology(context: BuildContext) -> ColumnBlock:
    """Total and parts of the coma scale, and RASS."""
    return nursing.neurology(context, lambda events: hourly(nursing.with_sums(events)), "harmonised neurology")


def _nurse_vitals(context: BuildContext) -> ColumnBlock:
    """Temperature, cuff pressures and pain."""
    return _charted(context, "harmonised nurse_vitals", nursing.vital(context), nursing.NURSE_VITALS)


def _held(events: pl.DataFrame) -> pl.DataFrame:
    return hourly_rates(events, infusions.HOLDS_MINUTES / 60)


def _vasoactives(context: BuildContext) -> ColumnBlock:
    return infusions.vasoactives(context, _held, "harmonised vasoactives")


def _infusion_rates(context: BuildContext) -> ColumnBlock:
    return infusions.infusion_rates(context, _held, "harmonised infusion_rates")


BLOCKS: Mapping[str, Callable[[BuildContext], ColumnBlock]] = {
    "respiration": _respiration,
    "neurology": _neurology,
    "nurse_vitals": _nurse_vitals,
    "vasoactives": _vasoactives,
    "infusion_rates": _infusion_rates,
}
"""Modality of eICU -> its harmonised form, of the same tables."""
MODALITIES: Mapping[str, ModalitySpec] = {
    "harmonised_person": ModalitySpec(kind="table", block=person),
    "harmonised_body": ModalitySpec(kind="table", block=body),
    "harmonised_demographics": ModalitySpec(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": ModalitySpec(kind="table", tables=("vitalPeriodic", "vitalAperiodic"), block=vitals),
    "harmonised_oxygen": ModalitySpec(kind="table", tables=("lab", "respiratoryCharting"), block=oxygen),
    **{
        f"harmonised_{name}": ModalitySpec(kind="table", tables=("lab",), block=partial(panel, name))
        for name in harmonised.PANELS
    },
    **{f"harmonised_{name}": replace(FURTHER[name], block=block) for name, block in BLOCKS.items()},
    # Their rules are those that both databases can follow.
    **{f"harmonised_{name}": FURTHER[name] for name in ("fluids", "scores")},
}
