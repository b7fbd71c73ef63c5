"""What eICU recorded, as features read it: events that were known at the landmark, and their summaries.

An event belongs to the unit stay whose patientunitstayid it bears. It counts if it happened and was entered at or
before the landmark; where no time of entry is told, it was entered when it happened.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.databases.eicu.concepts import APERIODIC, PERIODIC, NamedConcept, convert, within_range
from data_modules.databases.eicu.demographics import HOSPITAL_COLUMNS, PATIENT_COLUMNS
from data_modules.features import series
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray

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
    "respiratoryCharting": (STAY, "respchartoffset", "respchartentryoffset", "respchartvaluelabel", "respchartvalue"),
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
"""Table -> every column that a feature reads. tests/unit/databases/eicu/test_leakage.py holds it against what must not be read."""


def known(context: BuildContext, table: str, at: str, entered: str | None = None) -> pl.LazyFrame:
    """Rows of a table that had happened and been entered at the landmark of their stay, with its `row_id`.

    Args:
        context: the release and the rows.
        table: whose columns in `READ` are read.
        at: offset at which something happened; rows without it are dropped.
        entered: offset at which it entered the record; null or None means at once.
    """
    windows = context.rows.lazy().select("row_id", LANDMARK, pl.col("stay_id").alias(STAY))
    linked = context.release.scan(table, READ[table]).join(windows, on=STAY)
    latest = pl.col(at) if entered is None else pl.max_horizontal(at, entered)
    return linked.filter(pl.col(at).is_not_null() & (latest <= pl.col(LANDMARK)))


def always(frame: pl.DataFrame) -> ColumnBlock:
    """Columns that every row has; null is not measured."""

    def write(out: FloatArray) -> BoolArray:
        out[:] = frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return np.ones(frame.height, dtype=np.bool_)

    return ColumnBlock(frame.columns, write)


def results(context: BuildContext) -> pl.LazyFrame:
    """Labs that were drawn and entered by the landmark, as `convert` takes them."""
    drawn = known(context, "lab", "labresultoffset", "labresultrevisedoffset")
    return drawn.select(
        "row_id",
        event_at="labresultoffset",
        available_at=pl.coalesce("labresultrevisedoffset", "labresultoffset"),
        label="labname",
        value="labresult",
        unit="labmeasurenameinterface",
    )


def last_revisions(events: pl.LazyFrame, concepts: Sequence[NamedConcept]) -> pl.LazyFrame:
    """Of several results of one lab and time the plausible one revised last; those that contradict each other go.

    Args:
        events: known labs: `row_id`, `concept`, `source`, `event_at`, `available_at`, `value`. Results under two names
            of a concept do not contradict each other.
        concepts: what `concept` counts.

    | event_at | available_at | value | |
    |---|---|---|---|
    | 60 | 90 | 4.0 | superseded |
    | 60 | 95 | 4.2 | kept |
    | 70 | 80 | 3.0 | dropped |
    | 70 | 80 | 9.0 | dropped: which of the two holds is unknown |
    """
    key = ["row_id", "concept", "source", "event_at"]
    agreed = events.group_by(*key, "available_at").agg(pl.col("value").first(), versions=pl.col("value").n_unique())
    plausible = within_range(agreed.filter(pl.col("versions") == 1).drop("versions"), concepts)
    return plausible.group_by(key).agg(pl.col("value").sort_by("available_at").last())


def monitored(context: BuildContext, table: str, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Values of a table of vitals that were known at the landmark, its columns under other names."""
    named = [pl.col(column).cast(pl.Float64).alias(name) for name, column in columns.items()]
    return known(context, table, "observationoffset").select("row_id", *named, event_at="observationoffset")


def vitals(
    context: BuildContext,
    wide: pl.LazyFrame,
    path: Path,
    concepts: Sequence[NamedConcept],
    then: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
) -> ColumnBlock:
    """Summarise a table of vitals.

    Args:
        context: the rows.
        wide: as `monitored` gives it, one column a concept, under its label.
        path: of a scratch file.
        concepts: which columns.
        then: see `summaries`.
    """
    labels = [concept.label for concept in concepts]
    wide.sink_parquet(path, compression="lz4")

    def long(events: pl.LazyFrame) -> pl.LazyFrame:
        named = events.unpivot(labels, index=["row_id", "event_at"], variable_name="label", value_name="value")
        return within_range(convert(named.with_columns(unit=pl.lit(None, pl.String)), concepts), concepts)

    return summaries(context, path, concepts, long, then)


def summaries(
    context: BuildContext,
    path: Path,
    concepts: Sequence[NamedConcept],
    clean: Callable[[pl.LazyFrame], pl.LazyFrame],
    then: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
    *,
    shared: bool = False,
) -> ColumnBlock:
    """Clean and summarise the events of a scratch file, a block of rows at a time.

    Args:
        context: the rows.
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
        present = series.write(path, context.rows.select("row_id", LANDMARK), len(concepts), out, known)
        if not shared:
            path.unlink()
        return present

    return ColumnBlock(series.column_names(concepts), write)
