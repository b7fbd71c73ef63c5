"""The modalities of eICU: declarations, and their derivation from events known at the landmark."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.databases.eicu import forms
from data_modules.databases.eicu.cohort import LANDMARK_MINUTES, age_in_years, refuse_repeats
from data_modules.databases.eicu.concepts import APERIODIC, LABS, PERIODIC
from data_modules.databases.eicu.demographics import demographics, subgroups
from data_modules.databases.eicu.events import (
    CONDITIONS,
    LANDMARK,
    PHYSIOLOGY,
    READ,
    STAY,
    known,
    laboratory,
    labs,
    monitored,
    vitals,
)
from data_modules.databases.eicu.further import FURTHER
from data_modules.databases.eicu.hospitals import presence_by_hospital
from data_modules.features import codes, documents
from data_modules.features.concepts import Concept, names_of
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always
from data_modules.features.store import BoolArray, FloatArray
from data_modules.raw.reader import Release


def read_tables(release: Release) -> dict[str, pl.DataFrame]:
    """The core tables, with the columns that features may read."""
    tables = {}
    for name, key in (("patient", STAY), ("hospital", "hospitalid")):
        frame = release.scan(name, READ[name]).filter(pl.col(key).is_not_null()).collect()
        refuse_repeats(release, name, frame, key)
        tables[name] = frame
    return tables


def count(_: BuildContext, modalities: Sequence[str], cohort: pl.DataFrame) -> dict[str, object]:
    """Counts for the manifest: presence by hospital."""
    return presence_by_hospital(cohort, modalities)


def attributes(context: BuildContext) -> pl.DataFrame:
    """The attributes of the rows by which an evaluation is divided."""
    return subgroups(context.rows, context.tables["patient"].with_columns(age_in_years()))


def _demographics(context: BuildContext) -> ColumnBlock:
    patients = context.tables["patient"].with_columns(age_in_years())
    return always(demographics(context.rows, patients, context.tables["hospital"]))


def _day_one(context: BuildContext, table: str, names: Sequence[str]) -> ColumnBlock:
    """Values of the first 24 h, for rows whose landmark is not earlier; −1 in the table means missing."""
    key = READ[table][1]
    values = [pl.when(pl.col(name) != -1).then(pl.col(name)).cast(pl.Float32).alias(name) for name in names]
    windows = context.rows.lazy().filter(pl.col(LANDMARK) >= LANDMARK_MINUTES).select("row_id", **{STAY: "stay_id"})
    found = context.release.scan(table, READ[table]).join(windows, on=STAY).sort("row_id", key).collect()
    # A stay has one row; of several, the first entered counts, so that no row of the cohort is repeated.
    frame = found.unique("row_id", keep="first", maintain_order=True).select("row_id", *values)

    def write(out: FloatArray) -> BoolArray:
        present = np.zeros(len(out), dtype=np.bool_)
        out[:] = np.nan
        measured = frame.select(names).fill_null(float("nan")).to_numpy()
        rows = frame["row_id"].to_numpy()
        out[rows] = measured
        present[rows] = np.isfinite(measured).any(1)
        return present

    return ColumnBlock([f"{table}/{name}" for name in names], write)


def _physiology(context: BuildContext) -> ColumnBlock:
    return _day_one(context, "apacheApsVar", PHYSIOLOGY)


def _conditions(context: BuildContext) -> ColumnBlock:
    return _day_one(context, "apachePredVar", CONDITIONS)


def _labs(context: BuildContext) -> ColumnBlock:
    return labs(context, laboratory(context), slice(0, len(LABS)), LABS)


def _own_vitals(table: str, concepts: Sequence[Concept], context: BuildContext) -> ColumnBlock:
    columns = {str(name): str(name) for name in names_of(concepts)}
    return vitals(context, table, monitored(context, table, columns), concepts)


def _branches(events: pl.LazyFrame, path: str, separator: str, depths: Sequence[int]) -> pl.LazyFrame:
    """Return `row_id`, `word`: prefixes of a path at the given depths, and the whole path.

    `pulmonary|ventilation|oxygen|mask` at depths 1 and 2 gives `pulmonary`, `pulmonary|ventilation` and itself.
    """
    parts = pl.col(path).str.to_lowercase().str.split(separator)
    words = [parts.list.head(depth).list.join(separator) for depth in depths]
    return events.select("row_id", word=pl.concat_list(*words, parts.list.join(separator))).explode("word")


def _medications(context: BuildContext) -> ColumnBlock:
    orders = known(context, "medication", "drugstartoffset", "drugorderoffset")
    # Cancelled orders count: the time of cancellation is not recorded and may be after the landmark.
    substance = "hicl/" + pl.col("drughiclseqno").cast(pl.String)
    return codes.block(context, orders.select("row_id", word=pl.coalesce(substance, codes.clean("drugname"))), "drug")


def _infusions(context: BuildContext) -> ColumnBlock:
    substance = codes.clean("drugname").str.replace(r"\s*\([^()]*\)$", "")
    return codes.block(
        context, known(context, "infusionDrug", "infusionoffset").select("row_id", word=substance), "infusion"
    )


def _treatments(context: BuildContext) -> ColumnBlock:
    entered = known(context, "treatment", "treatmentoffset")
    return codes.block(context, _branches(entered, "treatmentstring", "|", (1, 2, 3)), "treatment")


def _diagnoses(context: BuildContext) -> ColumnBlock:
    entered = known(context, "diagnosis", "diagnosisoffset")
    return codes.block(context, _branches(entered, "diagnosisstring", "|", (1, 2, 3)), "diagnosis")


def _admission_diagnosis(context: BuildContext) -> ColumnBlock:
    entered = known(context, "admissionDx", "admitdxenteredoffset")
    path = pl.col("admitdxpath").str.strip_prefix("admission diagnosis|")
    return codes.block(context, _branches(entered.with_columns(path), "admitdxpath", "|", ()), "admission")


def _history(context: BuildContext) -> ColumnBlock:
    entered = known(context, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset")
    path = pl.col("pasthistorypath").str.strip_prefix("notes/Progress Notes/Past History/")
    return codes.block(context, _branches(entered.with_columns(path), "pasthistorypath", "/", (3,)), "history")


def _text(context: BuildContext, folder: Path) -> pl.Series:
    tables = {
        "admissionDx": known(context, "admissionDx", "admitdxenteredoffset"),
        "pastHistory": known(context, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset"),
        "physicalExam": known(context, "physicalExam", "physicalexamoffset"),
        "note": known(context, "note", "noteoffset", "noteenteredoffset"),
    }
    return documents.write(forms.verbalise(tables, context.rows.select("row_id", "stay_id", LANDMARK)), folder)


EICU_MODALITIES: Mapping[str, ModalitySpec] = {
    "demographics": ModalitySpec(kind="table", block=_demographics),
    "apache_physiology": ModalitySpec(kind="table", tables=("apacheApsVar",), block=_physiology),
    "apache_conditions": ModalitySpec(kind="table", tables=("apachePredVar",), block=_conditions),
    "apache": ModalitySpec(kind="table", parts=("apache_physiology", "apache_conditions")),
    "history": ModalitySpec(kind="table", tables=("pastHistory",), block=_history),
    "labs": ModalitySpec(kind="table", tables=("lab",), block=_labs),
    "vitals_periodic": ModalitySpec(
        kind="table", tables=("vitalPeriodic",), block=partial(_own_vitals, "vitalPeriodic", PERIODIC)
    ),
    "vitals_aperiodic": ModalitySpec(
        kind="table", tables=("vitalAperiodic",), block=partial(_own_vitals, "vitalAperiodic", APERIODIC)
    ),
    "vitals": ModalitySpec(kind="table", parts=("vitals_periodic", "vitals_aperiodic")),
    "medications": ModalitySpec(kind="table", tables=("medication",), block=_medications),
    "infusions": ModalitySpec(kind="table", tables=("infusionDrug",), block=_infusions),
    "drugs": ModalitySpec(kind="table", parts=("medications", "infusions")),
    "treatments": ModalitySpec(kind="table", tables=("treatment",), block=_treatments),
    "diagnosis_entries": ModalitySpec(kind="table", tables=("diagnosis",), block=_diagnoses),
    "admission_diagnosis": ModalitySpec(kind="table", tables=("admissionDx",), block=_admission_diagnosis),
    "diagnoses": ModalitySpec(kind="table", parts=("diagnosis_entries", "admission_diagnosis")),
    "text": ModalitySpec(kind="documents", tables=tuple(forms.TABLES), files=_text),
    **FURTHER,
}
