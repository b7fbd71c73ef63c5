"""The modalities that eICU offers: declarations, and how each is made of what was known at the landmark."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.cohorts.eicu import LANDMARK_MINUTES, age_in_years, refuse_repeats
from data_modules.cohorts.hospitals import presence_by_hospital
from data_modules.features import codes, documents, eicu_harmonised, eicu_text, harmonised
from data_modules.features.eicu_concepts import APERIODIC, LABS, PERIODIC, NamedConcept, convert
from data_modules.features.eicu_demographics import demographics
from data_modules.features.eicu_events import (
    CONDITIONS,
    LANDMARK,
    PHYSIOLOGY,
    READ,
    STAY,
    always,
    known,
    last_revisions,
    monitored,
    results,
    summaries,
    vitals,
)
from data_modules.features.modality import Block, Definition, Sources
from data_modules.features.store import BoolArray, FloatArray
from data_modules.sources.reader import Release


def read_tables(release: Release) -> dict[str, pl.DataFrame]:
    """The core tables, in those columns that features may look at."""
    tables = {}
    for name, key in (("patient", STAY), ("hospital", "hospitalid")):
        frame = release.scan(name, READ[name]).filter(pl.col(key).is_not_null()).collect()
        refuse_repeats(release, name, frame, key)
        tables[name] = frame
    return tables


def count(_: Sources, modalities: Sequence[str], cohort: pl.DataFrame) -> dict[str, object]:
    """Counts for the manifest: presence by hospital."""
    return presence_by_hospital(cohort, modalities)


def _demographics(sources: Sources) -> Block:
    patients = sources.tables["patient"].with_columns(age_in_years())
    return always(demographics(sources.rows, patients, sources.tables["hospital"]))


def _day_one(sources: Sources, table: str, names: Sequence[str]) -> Block:
    """Values of the first 24 h, for rows whose landmark lies no earlier; −1 means missing there."""
    key = READ[table][1]
    values = [pl.when(pl.col(name) != -1).then(pl.col(name)).cast(pl.Float32).alias(name) for name in names]
    windows = sources.rows.lazy().filter(pl.col(LANDMARK) >= LANDMARK_MINUTES).select("row_id", **{STAY: "stay_id"})
    found = sources.release.scan(table, READ[table]).join(windows, on=STAY).sort("row_id", key).collect()
    # A stay has one row; were there several, the one entered first counts, so that no row of the cohort doubles.
    frame = found.unique("row_id", keep="first", maintain_order=True).select("row_id", *values)

    def write(out: FloatArray) -> BoolArray:
        present = np.zeros(len(out), dtype=np.bool_)
        out[:] = np.nan
        measured = frame.select(names).fill_null(float("nan")).to_numpy()
        rows = frame["row_id"].to_numpy()
        out[rows] = measured
        present[rows] = np.isfinite(measured).any(1)
        return present

    return Block([f"{table}/{name}" for name in names], write)


def _physiology(sources: Sources) -> Block:
    return _day_one(sources, "apacheApsVar", PHYSIOLOGY)


def _conditions(sources: Sources) -> Block:
    return _day_one(sources, "apachePredVar", CONDITIONS)


def _labs(sources: Sources) -> Block:
    path = sources.scratch / "lab.parquet"
    convert(results(sources), LABS).sink_parquet(path, compression="lz4")
    return summaries(sources, path, LABS, partial(last_revisions, concepts=LABS))


def _own_vitals(table: str, concepts: Sequence[NamedConcept], sources: Sources) -> Block:
    columns = {concept.label: concept.label for concept in concepts}
    return vitals(sources, monitored(sources, table, columns), sources.scratch / f"{table}.parquet", concepts)


def _branches(events: pl.LazyFrame, path: str, separator: str, depths: Sequence[int]) -> pl.LazyFrame:
    """`row_id`, `word`: the first so many parts of a path, and the whole of it.

    `pulmonary|ventilation|oxygen|mask` at depths 1 and 2 gives `pulmonary`, `pulmonary|ventilation` and itself.
    """
    parts = pl.col(path).str.to_lowercase().str.split(separator)
    words = [parts.list.head(depth).list.join(separator) for depth in depths]
    return events.select("row_id", word=pl.concat_list(*words, parts.list.join(separator))).explode("word")


def _medications(sources: Sources) -> Block:
    orders = known(sources, "medication", "drugstartoffset", "drugorderoffset")
    # Cancelled orders count: when they were cancelled is not told, and may be after the landmark.
    substance = "hicl/" + pl.col("drughiclseqno").cast(pl.String)
    return codes.block(sources, orders.select("row_id", word=pl.coalesce(substance, _clean("drugname"))), "drug")


def _infusions(sources: Sources) -> Block:
    substance = _clean("drugname").str.replace(r"\s*\([^()]*\)$", "")
    return codes.block(
        sources, known(sources, "infusionDrug", "infusionoffset").select("row_id", word=substance), "infusion"
    )


def _treatments(sources: Sources) -> Block:
    entered = known(sources, "treatment", "treatmentoffset")
    return codes.block(sources, _branches(entered, "treatmentstring", "|", (1, 2, 3)), "treatment")


def _diagnoses(sources: Sources) -> Block:
    entered = known(sources, "diagnosis", "diagnosisoffset")
    return codes.block(sources, _branches(entered, "diagnosisstring", "|", (1, 2, 3)), "diagnosis")


def _admission_diagnosis(sources: Sources) -> Block:
    entered = known(sources, "admissionDx", "admitdxenteredoffset")
    path = pl.col("admitdxpath").str.strip_prefix("admission diagnosis|")
    return codes.block(sources, _branches(entered.with_columns(path), "admitdxpath", "|", ()), "admission")


def _history(sources: Sources) -> Block:
    entered = known(sources, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset")
    path = pl.col("pasthistorypath").str.strip_prefix("notes/Progress Notes/Past History/")
    return codes.block(sources, _branches(entered.with_columns(path), "pasthistorypath", "/", (3,)), "history")


def _clean(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase()


def _text(sources: Sources, folder: Path) -> pl.Series:
    tables = {
        "admissionDx": known(sources, "admissionDx", "admitdxenteredoffset"),
        "pastHistory": known(sources, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset"),
        "physicalExam": known(sources, "physicalExam", "physicalexamoffset"),
        "note": known(sources, "note", "noteoffset", "noteenteredoffset"),
    }
    return documents.write(eicu_text.verbalise(tables, sources.rows.select("row_id", "stay_id", LANDMARK)), folder)


EICU_MODALITIES: Mapping[str, Definition] = {
    "demographics": Definition(kind="table", block=_demographics),
    "apache_physiology": Definition(kind="table", tables=("apacheApsVar",), block=_physiology),
    "apache_conditions": Definition(kind="table", tables=("apachePredVar",), block=_conditions),
    "apache": Definition(kind="table", parts=("apache_physiology", "apache_conditions")),
    "history": Definition(kind="table", tables=("pastHistory",), block=_history),
    "labs": Definition(kind="table", tables=("lab",), block=_labs),
    "vitals_periodic": Definition(
        kind="table", tables=("vitalPeriodic",), block=partial(_own_vitals, "vitalPeriodic", PERIODIC)
    ),
    "vitals_aperiodic": Definition(
        kind="table", tables=("vitalAperiodic",), block=partial(_own_vitals, "vitalAperiodic", APERIODIC)
    ),
    "vitals": Definition(kind="table", parts=("vitals_periodic", "vitals_aperiodic")),
    "medications": Definition(kind="table", tables=("medication",), block=_medications),
    "infusions": Definition(kind="table", tables=("infusionDrug",), block=_infusions),
    "drugs": Definition(kind="table", parts=("medications", "infusions")),
    "treatments": Definition(kind="table", tables=("treatment",), block=_treatments),
    "diagnosis_entries": Definition(kind="table", tables=("diagnosis",), block=_diagnoses),
    "admission_diagnosis": Definition(kind="table", tables=("admissionDx",), block=_admission_diagnosis),
    "diagnoses": Definition(kind="table", parts=("diagnosis_entries", "admission_diagnosis")),
    "text": Definition(kind="documents", tables=tuple(eicu_text.TABLES), files=_text),
    "harmonised_person": Definition(kind="table", block=eicu_harmonised.person),
    "harmonised_body": Definition(kind="table", block=eicu_harmonised.body),
    "harmonised_demographics": Definition(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": Definition(
        kind="table", tables=("vitalPeriodic", "vitalAperiodic"), block=eicu_harmonised.vitals
    ),
    "harmonised_oxygen": Definition(kind="table", tables=("lab", "respiratoryCharting"), block=eicu_harmonised.oxygen),
    **{
        f"harmonised_{panel}": Definition(kind="table", tables=("lab",), block=partial(eicu_harmonised.labs, panel))
        for panel in harmonised.PANELS
    },
}
