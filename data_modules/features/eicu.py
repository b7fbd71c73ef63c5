"""The modalities that eICU offers: declarations, and the columns of the tables that each reads.

An event belongs to the unit stay whose patientunitstayid it bears. It counts if it happened and was entered at or
before the landmark; where no time of entry is told, it was entered when it happened.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.cohorts.eicu import LANDMARK_MINUTES, age_in_years, refuse_repeats
from data_modules.cohorts.hospitals import presence_by_hospital
from data_modules.features import codes, documents, eicu_text, harmonised, series
from data_modules.features.eicu_concepts import APERIODIC, LABS, PERIODIC, NamedConcept, convert, within_range
from data_modules.features.eicu_demographics import HOSPITAL_COLUMNS, PATIENT_COLUMNS, demographics
from data_modules.features.modality import Block, Definition, Sources
from data_modules.features.store import BoolArray, FloatArray
from data_modules.sources.reader import Release

STAY, LANDMARK = "patientunitstayid", "prediction_offset_minutes"

PHYSIOLOGY = (
    "intubated", "vent", "dialysis", "eyes", "motor", "verbal", "meds", "urine", "wbc", "temperature",
    "respiratoryrate", "sodium", "heartrate", "meanbp", "ph", "hematocrit", "creatinine", "albumin", "pao2", "pco2",
    "bun", "glucose", "bilirubin", "fio2",
)  # fmt: skip
"""Worst values of the first 24 h (apacheApsVar)."""
CONDITIONS = (
    "aids", "hepaticfailure", "lymphoma", "metastaticcancer", "leukemia", "immunosuppression", "cirrhosis", "diabetes",
    "electivesurgery", "readmit", "ima", "midur", "thrombolytics", "activetx", "ventday1", "oobventday1",
    "oobintubday1",
)  # fmt: skip
"""Chronic conditions, the way in and treatment on day 1 (apachePredVar); never how the stay ended."""

READ: Mapping[str, tuple[str, ...]] = {
    "patient": PATIENT_COLUMNS,
    "hospital": HOSPITAL_COLUMNS,
    "apacheApsVar": (STAY, "apacheapsvarid", *PHYSIOLOGY),
    "apachePredVar": (STAY, "apachepredvarid", *CONDITIONS),
    "pastHistory": (STAY, "pasthistoryoffset", "pasthistoryenteredoffset", "pasthistorypath"),
    "lab": (STAY, "labresultoffset", "labresultrevisedoffset", "labname", "labresult", "labmeasurenameinterface"),
    "vitalPeriodic": (STAY, "observationoffset", *(concept.label for concept in PERIODIC)),
    "vitalAperiodic": (STAY, "observationoffset", *(concept.label for concept in APERIODIC)),
    "medication": (STAY, "drugstartoffset", "drugorderoffset", "drugname", "drughiclseqno"),
    "infusionDrug": (STAY, "infusionoffset", "drugname"),
    "treatment": (STAY, "treatmentoffset", "treatmentstring"),
    "diagnosis": (STAY, "diagnosisoffset", "diagnosisstring"),
    "admissionDx": (STAY, "admitdxenteredoffset", "admitdxpath"),
    "note": (STAY, "noteoffset", "noteenteredoffset", "notepath", "notetext"),
    "physicalExam": (STAY, "physicalexamoffset", "physicalexampath", "physicalexamtext"),
}
"""Table -> every column that a feature reads. tests/eicu/test_leakage.py holds it against what must not be read."""


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


def _known(sources: Sources, table: str, at: str, entered: str | None = None) -> pl.LazyFrame:
    """Rows of a table that had happened and been entered at the landmark of their stay, with its `row_id`.

    Args:
        sources: the release and the rows.
        table: whose columns in `READ` are read.
        at: offset at which something happened; rows without it are dropped.
        entered: offset at which it entered the record; null or None means at once.
    """
    windows = sources.rows.lazy().select("row_id", LANDMARK, pl.col("stay_id").alias(STAY))
    linked = sources.release.scan(table, READ[table]).join(windows, on=STAY)
    latest = pl.col(at) if entered is None else pl.max_horizontal(at, entered)
    return linked.filter(pl.col(at).is_not_null() & (latest <= pl.col(LANDMARK)))


def _demographics(sources: Sources) -> Block:
    patients = sources.tables["patient"].with_columns(age_in_years())
    return _always(demographics(sources.rows, patients, sources.tables["hospital"]))


def _always(frame: pl.DataFrame) -> Block:
    """Columns that every row has; null is not measured."""

    def write(out: FloatArray) -> BoolArray:
        out[:] = frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return np.ones(frame.height, dtype=np.bool_)

    return Block(frame.columns, write)


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


def _harmonised_demographics(sources: Sources) -> Block:
    female = pl.col("gender").str.strip_chars().str.to_lowercase()
    sex = female.replace_strict({"female": 1.0, "male": 0.0}, default=None, return_dtype=pl.Float64)
    keyed = sources.rows.select("row_id", pl.col("stay_id").alias(STAY))
    patients = sources.tables["patient"].select(STAY, *harmonised.demographics(age_in_years(), sex))
    return _always(keyed.join(patients, on=STAY, how="left").sort("row_id").drop("row_id", STAY))


def _results(sources: Sources) -> pl.LazyFrame:
    """Labs that were drawn and entered by the landmark, as `convert` takes them."""
    drawn = _known(sources, "lab", "labresultoffset", "labresultrevisedoffset")
    return drawn.select(
        "row_id",
        event_at="labresultoffset",
        available_at=pl.coalesce("labresultrevisedoffset", "labresultoffset"),
        label="labname",
        value="labresult",
        unit="labmeasurenameinterface",
    )


def _labs(sources: Sources) -> Block:
    path = sources.scratch / "lab.parquet"
    convert(_results(sources), LABS).sink_parquet(path, compression="lz4")
    return _summaries(sources, path, LABS, partial(last_revisions, concepts=LABS))


def _harmonised_labs(panel: str, sources: Sources) -> Block:
    """Panels share a scratch file."""
    path = sources.scratch / "harmonised_lab.parquet"
    if not path.is_file():
        convert(_results(sources), harmonised.EICU_LABS).sink_parquet(path, compression="lz4")
    chosen = harmonised.of_panel(panel)
    concepts = harmonised.EICU_LABS[chosen]

    def clean(events: pl.LazyFrame) -> pl.LazyFrame:
        return last_revisions(harmonised.within(events, chosen), concepts)

    return _summaries(sources, path, concepts, clean, harmonised.hourly, shared=True)


def last_revisions(events: pl.LazyFrame, concepts: Sequence[NamedConcept]) -> pl.LazyFrame:
    """Of several results of one lab and time the plausible one revised last; those that contradict each other go.

    Args:
        events: known labs: `row_id`, `concept`, `event_at`, `available_at`, `value`.
        concepts: what `concept` counts.

    | event_at | available_at | value | |
    |---|---|---|---|
    | 60 | 90 | 4.0 | superseded |
    | 60 | 95 | 4.2 | kept |
    | 70 | 80 | 3.0 | dropped |
    | 70 | 80 | 9.0 | dropped: which of the two holds is unknown |
    """
    key = ["row_id", "concept", "event_at"]
    agreed = events.group_by(*key, "available_at").agg(pl.col("value").first(), versions=pl.col("value").n_unique())
    plausible = within_range(agreed.filter(pl.col("versions") == 1).drop("versions"), concepts)
    return plausible.group_by(key).agg(pl.col("value").sort_by("available_at").last())


def _monitored(sources: Sources, table: str, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Values of a table of vitals that were known at the landmark, its columns under other names."""
    named = [pl.col(column).cast(pl.Float64).alias(name) for name, column in columns.items()]
    return _known(sources, table, "observationoffset").select("row_id", *named, event_at="observationoffset")


def _vitals(
    sources: Sources,
    wide: pl.LazyFrame,
    path: Path,
    concepts: Sequence[NamedConcept],
    then: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
) -> Block:
    labels = [concept.label for concept in concepts]
    wide.sink_parquet(path, compression="lz4")

    def long(events: pl.LazyFrame) -> pl.LazyFrame:
        named = events.unpivot(labels, index=["row_id", "event_at"], variable_name="label", value_name="value")
        return within_range(convert(named.with_columns(unit=pl.lit(None, pl.String)), concepts), concepts)

    return _summaries(sources, path, concepts, long, then)


def _own_vitals(table: str, concepts: Sequence[NamedConcept], sources: Sources) -> Block:
    columns = {concept.label: concept.label for concept in concepts}
    return _vitals(sources, _monitored(sources, table, columns), sources.scratch / f"{table}.parquet", concepts)


def _harmonised_vitals(sources: Sources) -> Block:
    """Pressures of the arterial line and of the cuff are one concept, as in MIMIC-IV."""
    concepts = harmonised.EICU_VITALS
    line = _monitored(sources, "vitalPeriodic", {concept.label: concept.label for concept in concepts})
    cuff = _monitored(sources, "vitalAperiodic", harmonised.CUFF)
    wide = pl.concat([line, cuff], how="diagonal")
    return _vitals(sources, wide, sources.scratch / "harmonised_vitals.parquet", concepts, harmonised.hourly)


def _summaries(
    sources: Sources,
    path: Path,
    concepts: Sequence[NamedConcept],
    clean: Callable[[pl.LazyFrame], pl.LazyFrame],
    then: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
    *,
    shared: bool = False,
) -> Block:
    """Clean and summarise the events of a scratch file, a block of rows at a time.

    Args:
        sources: the rows.
        path: of the scratch file.
        concepts: what `concept` counts, once the events are clean.
        clean: events of the file -> `row_id`, `concept`, `event_at`, `value`.
        then: what is done to them once their time is told in hours to the landmark.
        shared: whether other modalities read the file as well; otherwise it goes once it was read.
    """

    def known(scanned: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        rows = windows["row_id"]
        near = scanned.filter(pl.col("row_id").is_between(rows.min(), rows.max()))
        hours = (pl.col("event_at") - pl.col(LANDMARK)) / 60
        joined = clean(near).join(windows.lazy(), on="row_id")
        return then(joined.select("row_id", "concept", "value", hours=hours, specimen=pl.lit(None, pl.Int64)))

    def write(out: FloatArray) -> BoolArray:
        present = series.write(path, sources.rows.select("row_id", LANDMARK), len(concepts), out, known)
        if not shared:
            path.unlink()
        return present

    return Block(series.column_names(concepts), write)


def _branches(events: pl.LazyFrame, path: str, separator: str, depths: Sequence[int]) -> pl.LazyFrame:
    """`row_id`, `word`: the first so many parts of a path, and the whole of it.

    `pulmonary|ventilation|oxygen|mask` at depths 1 and 2 gives `pulmonary`, `pulmonary|ventilation` and itself.
    """
    parts = pl.col(path).str.to_lowercase().str.split(separator)
    words = [parts.list.head(depth).list.join(separator) for depth in depths]
    return events.select("row_id", word=pl.concat_list(*words, parts.list.join(separator))).explode("word")


def _medications(sources: Sources) -> Block:
    orders = _known(sources, "medication", "drugstartoffset", "drugorderoffset")
    # Cancelled orders count: when they were cancelled is not told, and may be after the landmark.
    substance = "hicl/" + pl.col("drughiclseqno").cast(pl.String)
    return codes.block(sources, orders.select("row_id", word=pl.coalesce(substance, _clean("drugname"))), "drug")


def _infusions(sources: Sources) -> Block:
    substance = _clean("drugname").str.replace(r"\s*\([^()]*\)$", "")
    return codes.block(
        sources, _known(sources, "infusionDrug", "infusionoffset").select("row_id", word=substance), "infusion"
    )


def _treatments(sources: Sources) -> Block:
    known = _known(sources, "treatment", "treatmentoffset")
    return codes.block(sources, _branches(known, "treatmentstring", "|", (1, 2, 3)), "treatment")


def _diagnoses(sources: Sources) -> Block:
    known = _known(sources, "diagnosis", "diagnosisoffset")
    return codes.block(sources, _branches(known, "diagnosisstring", "|", (1, 2, 3)), "diagnosis")


def _admission_diagnosis(sources: Sources) -> Block:
    known = _known(sources, "admissionDx", "admitdxenteredoffset")
    path = pl.col("admitdxpath").str.strip_prefix("admission diagnosis|")
    return codes.block(sources, _branches(known.with_columns(path), "admitdxpath", "|", ()), "admission")


def _history(sources: Sources) -> Block:
    known = _known(sources, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset")
    path = pl.col("pasthistorypath").str.strip_prefix("notes/Progress Notes/Past History/")
    return codes.block(sources, _branches(known.with_columns(path), "pasthistorypath", "/", (3,)), "history")


def _clean(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase()


def _text(sources: Sources, folder: Path) -> pl.Series:
    tables = {
        "admissionDx": _known(sources, "admissionDx", "admitdxenteredoffset"),
        "pastHistory": _known(sources, "pastHistory", "pasthistoryoffset", "pasthistoryenteredoffset"),
        "physicalExam": _known(sources, "physicalExam", "physicalexamoffset"),
        "note": _known(sources, "note", "noteoffset", "noteenteredoffset"),
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
    "harmonised_demographics": Definition(kind="table", block=_harmonised_demographics),
    "harmonised_vitals": Definition(kind="table", tables=("vitalPeriodic", "vitalAperiodic"), block=_harmonised_vitals),
    **{
        f"harmonised_{panel}": Definition(kind="table", tables=("lab",), block=partial(_harmonised_labs, panel))
        for panel in harmonised.PANELS
    },
}
