"""Events of eICU that were known at the landmark, and their summaries.

An event belongs to the unit stay of its patientunitstayid. It is known if it happened and was entered at or before the
landmark; without a time of entry, it was entered when it happened.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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
"""Chronic conditions, admission source and treatment on day 1 (apachePredVar); no outcomes of the stay."""

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
"""Table -> all columns that features read; test_leakage.py checks them against those that must not be read."""


def known(context: BuildContext, table: str, at: str, entered: str | None = None) -> pl.LazyFrame:
    """Select the events of a table that happened and were entered by the landmark of their stay.

    Args:
        context: release and rows.
        table: the table; its columns in `READ` are read.
        at: offset of the event; rows without it are dropped.
        entered: offset of its entry into the record; null or None = entered when it happened.

    Returns:
        The columns of `READ`, `row_id` and the landmark.
    """
    windows = context.rows.lazy().select("row_id", LANDMARK, pl.col("stay_id").alias(STAY))
    linked = context.release.scan(table, READ[table]).join(windows, on=STAY)
    latest = pl.col(at) if entered is None else pl.max_horizontal(at, entered)
    return linked.filter(pl.col(at).is_not_null() & (latest <= pl.col(LANDMARK)))


def results(context: BuildContext) -> pl.LazyFrame:
    """Labs that were drawn and entered by the landmark, as input of `convert`."""
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
    """Keep the last plausible revision of each lab and time; contradicting results are dropped.

    Results under two labels of a concept do not contradict each other.

    Args:
        events: known labs: `row_id`, `concept`, `source`, `event_at`, `available_at`, `value`.
        concepts: the concepts that `concept` numbers.

    Returns:
        One row per `row_id`, `concept`, `source` and `event_at`, with `value`:

    | event_at | available_at | value | |
    |---|---|---|---|
    | 60 | 90 | 4.0 | superseded |
    | 60 | 95 | 4.2 | kept |
    | 70 | 80 | 3.0 | dropped |
    | 70 | 80 | 9.0 | dropped, because it is unknown which of the two is right |

    >>> rows = [(0, 1, 0, 60, 90, 40.0), (0, 1, 0, 60, 95, 42.0), (0, 1, 0, 70, 80, 30.0), (0, 1, 0, 70, 80, 90.0)]
    >>> schema = {"row_id": pl.UInt32, "concept": pl.UInt16, "source": pl.UInt8, "event_at": pl.Int64,
    ...           "available_at": pl.Int64, "value": pl.Float64}
    >>> last_revisions(pl.LazyFrame(rows, schema, orient="row"), PERIODIC).collect().rows()
    [(0, 1, 0, 60, 42.0)]
    """
    key = ["row_id", "concept", "source", "event_at"]
    agreed = events.group_by(*key, "available_at").agg(pl.col("value").first(), versions=pl.col("value").n_unique())
    plausible = within_range(agreed.filter(pl.col("versions") == 1).drop("versions"), concepts)
    return plausible.group_by(key).agg(pl.col("value").sort_by("available_at").last())


def monitored(context: BuildContext, table: str, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Values of a table of vitals that were known at the landmark; `columns` maps new to old names."""
    named = [pl.col(column).cast(pl.Float64).alias(name) for name, column in columns.items()]
    return known(context, table, "observationoffset").select("row_id", *named, event_at="observationoffset")


def vitals(
    context: BuildContext,
    wide: pl.LazyFrame,
    path: Path,
    concepts: Sequence[NamedConcept],
    transform: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
) -> ColumnBlock:
    """Summarise a table of vitals.

    Args:
        context: rows of the cohort.
        wide: output of `monitored`, one column per concept, named by its label.
        path: scratch file to write.
        concepts: the concepts to summarise.
        transform: see `summaries`.

    Returns:
        A block with the columns of `series.column_names`.
    """
    labels = [concept.label for concept in concepts]
    wide.sink_parquet(path, compression="lz4")

    def long(events: pl.LazyFrame) -> pl.LazyFrame:
        named = events.unpivot(labels, index=["row_id", "event_at"], variable_name="label", value_name="value")
        return within_range(convert(named.with_columns(unit=pl.lit(None, pl.String)), concepts), concepts)

    return summaries(context, path, concepts, long, transform)


def summaries(
    context: BuildContext,
    path: Path,
    concepts: Sequence[NamedConcept],
    clean: Callable[[pl.LazyFrame], pl.LazyFrame],
    transform: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda events: events,
    *,
    shared: bool = False,
) -> ColumnBlock:
    """Clean and summarise the events of a scratch file, by blocks of rows.

    Args:
        context: rows of the cohort.
        path: the scratch file.
        concepts: the concepts that `concept` numbers after `clean`.
        clean: events of the file -> `row_id`, `concept`, `event_at`, `value`.
        transform: applied to the input of `series.summarise`.
        shared: whether other modalities read the file too; otherwise it is deleted after reading.

    Returns:
        A block with the columns of `series.column_names`.
    """

    def known(scanned: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        rows = windows["row_id"]
        near = scanned.filter(pl.col("row_id").is_between(rows.min(), rows.max()))
        hours = (pl.col("event_at") - pl.col(LANDMARK)) / 60
        joined = clean(near).join(windows.lazy(), on="row_id")
        return transform(joined.select("row_id", "concept", "value", hours=hours, specimen=pl.lit(None, pl.Int64)))

    def write(out: FloatArray) -> BoolArray:
        present = series.write(path, context.rows.select("row_id", LANDMARK), len(concepts), out, known)
        if not shared:
            path.unlink()
        return present

    return ColumnBlock(series.column_names(concepts), write)
