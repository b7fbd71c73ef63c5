"""Events of eICU that were known at the landmark, and their summaries.

An event belongs to the unit stay of its patientunitstayid, unless it is long before the hospital stay. It is known if
it happened and was entered at or before the landmark; without a time of entry, it was entered when it happened.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from data_modules.databases.eicu.concepts import APERIODIC, LABS, PERIODIC
from data_modules.databases.eicu.demographics import HOSPITAL_COLUMNS, PATIENT_COLUMNS
from data_modules.features import readings, series
from data_modules.features.concepts import CONTRADICTED, PROBLEMS, Concept, convert, names_of
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
    "lab": (
        STAY, "labresultoffset", "labresultrevisedoffset", "labname", "labresult", "labresulttext",
        "labmeasurenameinterface", "labmeasurenamesystem",
    ),
    "respiratoryCharting": (STAY, "respchartoffset", "respchartentryoffset", "respchartvaluelabel", "respchartvalue"),
    "vitalPeriodic": (STAY, "observationoffset", *(str(name) for name in names_of(PERIODIC))),
    "vitalAperiodic": (STAY, "observationoffset", *(str(name) for name in names_of(APERIODIC))),
    "medication": (STAY, "drugstartoffset", "drugorderoffset", "drugname", "drughiclseqno"),
    "infusionDrug": (STAY, "infusionoffset", "drugname", "drugrate", "patientweight"),
    "intakeOutput": (STAY, "intakeoutputoffset", "intakeoutputentryoffset", "cellpath", "cellvaluenumeric"),
    "nurseCharting": (
        STAY, "nursingchartoffset", "nursingchartentryoffset", "nursingchartcelltypevallabel",
        "nursingchartcelltypevalname", "nursingchartvalue",
    ),
    "treatment": (STAY, "treatmentoffset", "treatmentstring"),
    "diagnosis": (STAY, "diagnosisoffset", "diagnosisstring"),
    "admissionDx": (STAY, "admitdxenteredoffset", "admitdxpath"),
    "note": (STAY, "noteoffset", "noteenteredoffset", "notepath", "notetext"),
    "physicalExam": (STAY, "physicalexamoffset", "physicalexampath", "physicalexamtext"),
}  # fmt: skip
"""Table -> all columns that features read; test_leakage.py checks them against those that must not be read."""


EARLIEST = "earliest"
EARLY_MINUTES = 7 * 24 * 60
"""How long before the hospital stay an event may have happened; drugs of the demo start up to a week before it."""
TOO_EARLY = "more than 7 days before the hospital stay"
LEFT_OUT = "events left out"
NO_SPECIMEN = pl.lit(None, pl.Int64)


def _windows(context: BuildContext) -> pl.LazyFrame:
    """`row_id`, stay, landmark and the earliest offset of an event, of each row."""
    admitted = context.tables["patient"].select(STAY, "hospitaladmitoffset")
    windows = context.rows.select("row_id", LANDMARK, pl.col("stay_id").alias(STAY)).join(admitted, on=STAY, how="left")
    earliest = pl.min_horizontal(pl.col("hospitaladmitoffset"), 0) - EARLY_MINUTES
    return windows.lazy().select("row_id", STAY, LANDMARK, earliest.alias(EARLIEST))


def placed(context: BuildContext, table: str, at: str) -> pl.LazyFrame:
    """Link the events of a table to the rows of their stay.

    Args:
        context: release and rows.
        table: the table; its columns in `READ` are read.
        at: offset of the event; rows without it are dropped.

    Returns:
        The columns of `READ`, `row_id`, the landmark and `EARLIEST`.
    """
    linked = context.release.scan(table, READ[table]).join(_windows(context), on=STAY)
    return linked.filter(pl.col(at).is_not_null())


def known(context: BuildContext, table: str, at: str, entered: str | None = None) -> pl.LazyFrame:
    """Select the events of a table that happened and were entered by the landmark of their stay.

    They are written to a scratch file on first use; those that are too early are counted.

    Args:
        context: release and rows.
        table: the table; its columns in `READ` are read.
        at: offset of the event; rows without it are dropped.
        entered: offset of its entry into the record; null or None = entered when it happened.

    Returns:
        The columns of `READ`, `row_id` and the landmark.
    """
    path = context.scratch / f"{table}_events.parquet"
    if not path.is_file():
        placed(context, table, at).sink_parquet(path, compression="lz4")
        count_left_out(context, table, path, at)
    latest = pl.col(at) if entered is None else pl.max_horizontal(at, entered)
    events = pl.scan_parquet(path).filter((pl.col(at) >= pl.col(EARLIEST)) & (latest <= pl.col(LANDMARK)))
    return events.drop(EARLIEST)


def count_left_out(context: BuildContext, table: str, path: Path, at: str) -> None:
    """Count the events of a scratch file that are too early to belong to their stay."""
    early = pl.scan_parquet(path).select((pl.col(at) < pl.col(EARLIEST)).sum())
    context.record(LEFT_OUT, table, {TOO_EARLY: early.collect(engine="streaming").item()})


def results(context: BuildContext, concepts: Sequence[Concept], path: Path) -> None:
    """Write the labs that were drawn by the landmark to a scratch file.

    The number is in the unit of the interface; where the text states another number, it was converted to the unit of
    the system, and the text is in that of the interface.

    Args:
        context: release and rows.
        concepts: the concepts to keep.
        path: file to write: `row_id`, `hours`, `stored`, `known`, `censored`, `specimen` and the columns of `convert`.
    """
    drawn = placed(context, "lab", "labresultoffset")
    stored = pl.coalesce("labresultrevisedoffset", "labresultoffset")
    text = pl.coalesce(readings.plain("labresulttext"), readings.limit("labresulttext"))
    converted = (pl.col("text_number") - pl.col("labresult")).abs() > 0.005 * pl.col("labresult").abs() + 1e-6
    interface, system = pl.col("labmeasurenameinterface"), pl.col("labmeasurenamesystem")
    events = drawn.with_columns(text_number=text).select(
        "row_id",
        LANDMARK,
        EARLIEST,
        event_at="labresultoffset",
        stored=stored,
        name="labname",
        number=pl.coalesce("labresult", "text_number"),
        unit=pl.when(converted).then(pl.coalesce(system, interface)).otherwise(pl.coalesce(interface, system)),
        other_number="text_number",
        other_unit=pl.coalesce(interface, system),
        text="labresulttext",
        censored=readings.limit("labresulttext").is_not_null(),
        done=~readings.not_done(["labresulttext"]),
        specimen=NO_SPECIMEN,
    )
    convert(events, concepts).sink_parquet(path, compression="lz4")
    count_left_out(context, "lab", path, "event_at")


def laboratory(context: BuildContext) -> Path:
    """The scratch file of `results` for `LABS`; written on first use."""
    path = context.scratch / "lab.parquet"
    if not path.is_file():
        results(context, LABS, path)
    return path


def unrevised(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events as they are: values of monitors at one time are several measurements, not revisions."""
    return events


def settled(events: pl.DataFrame) -> pl.DataFrame:
    """Return the last revisions of labs; see `contradicted` and `series.last_revisions`.

    Args:
        events: as of both.

    Returns:
        The events that are left.

    >>> rows = [(0, 1, 0, -8.0, None, True, 80, 3.0, "usable"), (0, 1, 0, -8.0, None, True, 90, 4.0, "usable")]
    >>> schema = {"row_id": pl.UInt32, "concept": pl.UInt16, "source": pl.UInt8, "hours": pl.Float64,
    ...           "specimen": pl.Int64, "known": pl.Boolean, "stored": pl.Int64, "value": pl.Float64,
    ...           "problem": PROBLEMS}
    >>> settled(pl.DataFrame(rows, schema, orient="row"))["value"].to_list()
    [4.0]
    """
    return series.last_revisions(contradicted(events))


def contradicted(events: pl.DataFrame) -> pl.DataFrame:
    """Take the values from results of one lab, time and revision that differ: it is unknown which is right.

    Results under two labels of a concept do not contradict each other.

    Args:
        events: `row_id`, `concept`, `source`, `hours`, `stored`, `value`, `problem`.

    Returns:
        The events:

    | hours | stored | value | becomes |
    |---|---|---|---|
    | -9 | 90 | 4.0 | 4.0 |
    | -9 | 95 | 4.2 | 4.2 |
    | -8 | 80 | 3.0 | null |
    | -8 | 80 | 9.0 | null |

    >>> rows = [(0, 1, 0, -8.0, 80, 3.0, "usable"), (0, 1, 0, -8.0, 80, 9.0, "usable")]
    >>> schema = {"row_id": pl.UInt32, "concept": pl.UInt16, "source": pl.UInt8, "hours": pl.Float64,
    ...           "stored": pl.Int64, "value": pl.Float64, "problem": PROBLEMS}
    >>> contradicted(pl.DataFrame(rows, schema, orient="row")).select("value", "problem").rows()
    [(None, 'contradicted'), (None, 'contradicted')]
    """
    several = pl.col("value").drop_nulls().n_unique().over("row_id", "concept", "source", "hours", "stored") > 1
    lost = several & pl.col("value").is_not_null()
    return events.with_columns(
        value=pl.when(~lost).then("value"),
        problem=pl.when(lost).then(pl.lit(CONTRADICTED, PROBLEMS)).otherwise("problem"),
    )


def monitored(context: BuildContext, table: str, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Values of a table of vitals that were known at the landmark, as columns; `columns` maps new to old names."""
    named = [pl.col(column).cast(pl.Float64).alias(name) for name, column in columns.items()]
    return known(context, table, "observationoffset").select("row_id", *named, LANDMARK, event_at="observationoffset")


def charted(wide: pl.LazyFrame, concepts: Sequence[Concept]) -> pl.LazyFrame:
    """Values of the columns of vitals as events.

    Args:
        wide: result of `monitored`, one column per concept, named by its first name.
        concepts: the concepts.

    Returns:
        Input of `block`.
    """
    names = [str(concept.names[0]) for concept in concepts]
    index = ["row_id", LANDMARK, "event_at"]
    long = wide.unpivot(names, index=index, variable_name="name", value_name="number").with_columns(stored="event_at")
    return convert(as_records(long), concepts)


def as_records(events: pl.LazyFrame) -> pl.LazyFrame:
    """Numbers without unit and text as input of `convert`; empty cells are no events."""
    return as_acts(events.filter(pl.col("number").is_not_null()).with_columns(unit=pl.lit(None, pl.String)))


def as_acts(events: pl.LazyFrame) -> pl.LazyFrame:
    """Charted numbers with units as input of `convert`; they are no limits and have no specimen."""
    return events.with_columns(text=pl.lit(None, pl.String), censored=False, done=True, specimen=NO_SPECIMEN)


def block(
    context: BuildContext,
    table: str,
    events: Callable[[pl.LazyFrame], pl.LazyFrame],
    scanned: pl.LazyFrame,
    concepts: Sequence[Concept],
    *,
    drawn: bool,
    settle: Callable[[pl.DataFrame], pl.DataFrame],
    transform: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events,
) -> ColumnBlock:
    """A block of summaries of events.

    Args:
        context: rows of the cohort.
        table: name of the table in the manifest.
        events: events of a range of rows of `scanned` -> `row_id`, `LANDMARK`, `event_at`, `stored`, `concept`,
            `source`, `specimen`, `value`, `censored`, `done`, `problem`, `unit`.
        scanned: scan of the files with the events of all rows.
        concepts: the concepts that `concept` numbers.
        drawn: True = an event counts from the time it happened, and its result from the time it was stored.
        settle: see `series.write`.
        transform: see `series.write`.

    Returns:
        The block.
    """
    parts = series.LABORATORY if drawn else series.CHARTED

    def of_rows(scanned: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        rows = windows["row_id"]
        return timed(events(scanned.filter(pl.col("row_id").is_between(rows.min(), rows.max()))))

    def write(out: FloatArray) -> BoolArray:
        rows = context.rows.select("row_id")
        present, special = series.write(
            scanned, rows, concepts, out, of_rows, parts=parts, settle=settle, transform=transform
        )
        series.count(context, table, concepts, special)
        return present

    return ColumnBlock(series.column_names(concepts, parts), write)


def timed(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events as input of `series.write`."""
    known = pl.col("done") & (pl.col("stored") <= pl.col(LANDMARK))
    return events.select(
        "row_id", "concept", "source", "problem", "unit", "stored", "specimen",
        pl.when(known).then(pl.col("value", "censored")),
        known=known,
        hours=(pl.col("event_at") - pl.col(LANDMARK)) / 60,
    )  # fmt: skip


def labs(
    context: BuildContext,
    path: Path,
    chosen: slice,
    concepts: Sequence[Concept],
    transform: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events,
    counted_as: str = "lab",
) -> ColumnBlock:
    """A block of summaries of a slice of the concepts of a file of `results`; the manifest has its counts by name."""

    def events(scanned: pl.LazyFrame) -> pl.LazyFrame:
        return series.within(scanned, chosen).filter(drawn_by_landmark())

    return block(
        context, counted_as, events, pl.scan_parquet(path), concepts, drawn=True, settle=settled, transform=transform
    )


def drawn_by_landmark() -> pl.Expr:
    """Whether an event of a file of `results` belongs to the stay and was drawn by the landmark."""
    return pl.col("event_at").is_between(pl.col(EARLIEST), pl.col(LANDMARK))


def vitals(
    context: BuildContext,
    table: str,
    wide: pl.LazyFrame,
    concepts: Sequence[Concept],
    transform: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events,
) -> ColumnBlock:
    """A block of summaries of the columns of vitals; see `charted`."""

    def events(scanned: pl.LazyFrame) -> pl.LazyFrame:
        return charted(scanned, concepts)

    return block(context, table, events, wide, concepts, drawn=False, settle=unrevised, transform=transform)
