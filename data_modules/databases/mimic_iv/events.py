"""Events of MIMIC-IV that belong to the rows of a cohort, and the summaries of labs and vitals.

The events of a table are written once to a scratch file, then linked to rows; what is left out is counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv.linking import left_out, link, windows
from data_modules.features import readings, series
from data_modules.features.concepts import Concept, convert
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray

LEFT_OUT = "events left out"
TIMES = ("subject_id", "hadm_id", "charttime", "storetime")


@dataclass(frozen=True)
class Measured:
    """A table of measurements.

    Attributes:
        table: name of the table.
        parts: columns of a concept.
        specimen: column with the specimen; None if there is none.
        text: column whose text may change what the number means, or is the result; without it, that of `remark`.
        remark: column in which a result may be reported as text; None if there is none.
    """

    table: str
    parts: tuple[str, ...]
    specimen: str | None
    text: str = "value"
    remark: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        own = [self.text, *(name for name in (self.specimen, self.remark) if name)]
        return [*TIMES, "itemid", "valuenum", "valueuom", *own]

    @property
    def texts(self) -> list[str]:
        """The columns in which a result may be reported as text."""
        return [self.text, *([self.remark] if self.remark else [])]


LABS = Measured("labevents", series.LABORATORY, "specimen_id", remark="comments")
CHARTED = Measured("chartevents", series.CHARTED, None)


def keep(context: BuildContext, source: Measured, concepts: Sequence[Concept], path: Path) -> None:
    """Write the events of some concepts and of the cohort's subjects to a scratch file, in one pass."""
    subjects = context.rows.select("subject_id").unique().lazy()
    events = convert(records(context.release.scan(source.table, source.columns), source), concepts)
    kept = events.join(subjects, on="subject_id", how="semi").select(
        "subject_id",
        "hadm_id",
        pl.col("charttime").alias("event_at"),
        pl.col("storetime").alias("available_at"),
        "concept",
        "source",
        pl.col("value").cast(pl.Float32),
        "censored",
        "done",
        "problem",
        "unit",
        (pl.col(source.specimen) if source.specimen else pl.lit(None, pl.Int64)).alias("specimen"),
    )
    kept.sink_parquet(path, compression="lz4")
    count_left_out(context, source.table, path)


def records(scanned: pl.LazyFrame, source: Measured) -> pl.LazyFrame:
    """Prepare a table of measurements for `convert`: a number, or a limit or number that is reported as text.

    Args:
        scanned: columns of `source`.
        source: the table.

    Returns:
        Input of `convert`, with `censored` (the number is a limit) and `done` (False = nothing was measured).
    """
    lacks_number = pl.col("valuenum").is_null()
    # Most texts repeat the number and need no parser; a remark is no result where there is a number.
    read = dict.fromkeys(source.texts, lacks_number)
    read[source.text] = lacks_number | pl.col(source.text).str.contains(r"^\s*[<>[:alpha:]]")
    texts = scanned.with_columns(
        pl.when(needed).then(pl.col(name)).alias(f"{name}_read") for name, needed in read.items()
    )
    limits = pl.coalesce(readings.limit(f"{name}_read") for name in source.texts)
    plain = pl.coalesce(readings.plain(f"{name}_read") for name in source.texts)
    done = ~(lacks_number & readings.not_done([f"{name}_read" for name in source.texts]))
    return texts.select(
        *TIMES,
        *([source.specimen] if source.specimen else []),
        name="itemid",
        number=pl.coalesce("valuenum", limits, plain),
        unit="valueuom",
        text=pl.coalesce(source.texts),
        censored=limits.is_not_null(),
        done=done,
    )


def count_left_out(context: BuildContext, table: str, path: Path, at: str | pl.Expr = "event_at") -> None:
    """Count the events of a scratch file that carry the hadm_id of a row and are not linked to it."""
    events = pl.scan_parquet(path).with_columns(happened_at=at)
    context.record(LEFT_OUT, table, left_out(events, windows(context.rows).lazy(), at="happened_at"))


def linked(
    context: BuildContext, table: str, columns: Sequence[str], *, at: str, available: str | None = None
) -> pl.LazyFrame:
    """Link the events of a table to the rows, by way of a scratch file of the cohort's subjects.

    Args:
        context: release and rows.
        table: the table.
        columns: its columns to read, with those of time.
        at: see `link`.
        available: see `link`.

    Returns:
        The columns, `row_id` and `landmark_at` of the events known at the landmarks.
    """
    path = scratch(context, table, columns, at)
    return link(pl.scan_parquet(path), windows(context.rows).lazy(), at=at, available=available)


def scratch(
    context: BuildContext, table: str, columns: Sequence[str], at: str | pl.Expr, filled: str | None = None
) -> Path:
    """The scratch file of a table with the events of the cohort's subjects; written, and counted, on first use.

    Args:
        context: release and rows.
        table: the table.
        columns: its columns to keep.
        at: time of the event.
        filled: keep only events with a value in this column, which need not be kept.

    Returns:
        The file.
    """
    path = context.scratch / f"{table}_events.parquet"
    if not path.is_file():
        subjects = context.rows.select("subject_id").unique().lazy()
        records = context.release.scan(table, [*columns, *([filled] if filled else [])])
        kept = records if filled is None else records.filter(pl.col(filled).is_not_null()).select(columns)
        kept.join(subjects, on="subject_id", how="semi").sink_parquet(path, compression="lz4")
        count_left_out(context, table, path, at)
    return path


def by_admission(events: pl.LazyFrame, windows: pl.DataFrame, *, drawn: bool = False) -> pl.LazyFrame:
    """Link events to a block of rows, as input of `series.write`.

    Releases are sorted by subject, so a block reads only the row groups of its subjects.

    Args:
        events: columns of a file of `keep`.
        windows: see `linking.link`.
        drawn: True = events count from the time they happened, and their results from the time they were stored;
            False = events count once they are stored.

    Returns:
        `row_id`, `concept`, `source`, `value`, `censored`, `known`, `problem`, `unit`, `specimen`, `stored` and `hours`
        (relative to the landmark).
    """
    subjects = windows["subject_id"]
    near = events.filter(pl.col("subject_id").is_between(subjects.min(), subjects.max()))
    found = link(near, windows.lazy(), at="event_at", available=None if drawn else "available_at")
    stored = pl.coalesce("available_at", "event_at")
    hours = (pl.col("event_at") - pl.col("landmark_at")).dt.total_seconds() / 3600
    known = found.with_columns(stored=stored, known=pl.col("done") & (stored <= pl.col("landmark_at")), hours=hours)
    return known.select(
        "row_id", "concept", "source", "known", "problem", "unit", "specimen", "stored", "hours",
        pl.when("known").then(pl.col("value", "censored")),
    )  # fmt: skip


def block(
    context: BuildContext,
    events: pl.LazyFrame,
    source: Measured,
    concepts: Sequence[Concept],
    transform: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events,
    counted_as: str | None = None,
    settle: Callable[[pl.DataFrame], pl.DataFrame] = series.last_revisions,
) -> ColumnBlock:
    """A block of summaries of events with the columns of a file of `keep`; the manifest has its counts by name."""

    def of_rows(events: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        return by_admission(events, windows, drawn="ordered" in source.parts)

    def write(out: FloatArray) -> BoolArray:
        rows = windows(context.rows)
        steps = {"settle": settle, "transform": transform}
        written = series.write(events, rows, concepts, out, of_rows, parts=source.parts, **steps)
        series.count(context, counted_as or source.table, concepts, written[1])
        return written[0]

    return ColumnBlock(series.column_names(concepts, source.parts), write)
