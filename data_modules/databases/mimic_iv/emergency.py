"""Triage, vital signs and chief complaints of MIMIC-IV-ED, for the admissions that follow.

A stay in the emergency department belongs to the admission that it records, or, without one, to the admission during
whose hours it began (`linking`); a vital sign of such a stay to the one during which it was taken. Triage has no time
of its own: it is known at the arrival. A vital sign has no time of storage and is known when it was taken. Temperatures
are recorded in degrees Fahrenheit.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv.events import Measured, block, count_left_out
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.features import documents, series
from data_modules.features.concepts import Concept, convert
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec

STAYS, TRIAGE, VITALS = "edstays", "triage", "ed_vitalsign"
ED_VITALS: tuple[Concept, ...] = (
    Concept(name="heart_rate", unit="1/min", low=1, high=299, names=("heartrate",)),
    Concept(name="respiratory_rate", unit="1/min", low=1, high=69, names=("resprate",)),
    Concept(name="spo2", unit="%", low=1, high=100, names=("o2sat",)),
    Concept(name="sbp", unit="mmHg", low=1, high=399, names=("sbp",)),
    Concept(name="dbp", unit="mmHg", low=1, high=299, names=("dbp",)),
    Concept(name="temperature", unit="C", low=21.2, high=49, names=("temperature",), recorded_in={"temperature": "f"}),
    Concept(name="pain", unit="points", low=0, high=10, names=("pain",)),
)
"""Named for their columns; ranges are those of `concepts.VITALS`."""
ED_TRIAGE: tuple[Concept, ...] = (
    *ED_VITALS,
    Concept(name="acuity", unit="level", low=1, high=5, names=("acuity",)),
)
"""Acuity: level of the Emergency Severity Index, 1 = most severe."""


def _stays(context: BuildContext) -> pl.LazyFrame:
    subjects = context.rows.select("subject_id").unique().lazy()
    stays = context.release.scan(STAYS, ["subject_id", "hadm_id", "stay_id", "intime"])
    return stays.join(subjects, on="subject_id", how="semi")


def recorded(rows: pl.LazyFrame, concepts: Sequence[Concept], *, at: str) -> pl.LazyFrame:
    """Turn rows with a column for each quantity into events, as a file of `events.keep` has them.

    Args:
        rows: `subject_id`, `hadm_id`, a time, and the columns that the concepts name, numbers or texts.
        concepts: named for columns.
        at: column with the time of the event.

    Returns:
        `subject_id`, `hadm_id`, `event_at`, `available_at`, `concept`, `source`, `value`, `censored`, `done`,
        `problem`, `unit`, `specimen`; an empty cell is no event.

    >>> from datetime import datetime
    >>> row = {"subject_id": 7, "hadm_id": 1, "at": datetime(2150, 1, 1), "heartrate": 80.0, "temperature": 98.6,
    ...        "pain": "unable"}
    >>> events = recorded(pl.LazyFrame([row]), [one for one in ED_VITALS if one.names[0] in row], at="at")
    >>> events.select("concept", pl.col("value").round(1), "problem").sort("concept").collect().rows()
    [(0, 80.0, 'usable'), (1, 37.0, 'usable'), (2, None, 'unreadable')]
    """
    names = [str(name) for concept in concepts for name in concept.names]
    index = ["subject_id", "hadm_id", at]
    texts = rows.select(*index, pl.col(names).cast(pl.String))
    long = texts.unpivot(names, index=index, variable_name="name", value_name="text").drop_nulls("text")
    read = long.with_columns(
        number=pl.col("text").str.strip_chars().cast(pl.Float64, strict=False), unit=pl.lit(None, pl.String)
    )
    return convert(read, concepts).select(
        "subject_id",
        "hadm_id",
        pl.col(at).alias("event_at"),
        pl.lit(None, pl.Datetime("us")).alias("available_at"),
        "concept",
        "source",
        pl.col("value").cast(pl.Float32),
        pl.lit(value=False).alias("censored"),
        pl.lit(value=True).alias("done"),
        "problem",
        "unit",
        pl.lit(None, pl.Int64).alias("specimen"),
    )


def summaries(context: BuildContext, events: pl.LazyFrame, table: str, concepts: Sequence[Concept]) -> ColumnBlock:
    """A block of summaries of events of `recorded`."""
    path = context.scratch / f"{table}_recorded.parquet"
    events.sink_parquet(path, compression="lz4")
    count_left_out(context, table, path)
    return block(context, pl.scan_parquet(path), Measured(table, series.CHARTED, None), concepts, counted_as=table)


def _block(table: str, concepts: Sequence[Concept], context: BuildContext) -> ColumnBlock:
    at = "intime" if table == TRIAGE else "charttime"
    names = [str(name) for concept in concepts for name in concept.names]
    times = [] if table == TRIAGE else ["charttime"]
    rows = context.release.scan(table, ["stay_id", *times, *names]).join(_stays(context), on="stay_id")
    return summaries(context, recorded(rows, concepts, at=at), table, concepts)


def _complaints(context: BuildContext, folder: Path) -> pl.Series:
    """The chief complaints of the arrivals, as texts."""
    triage = context.release.scan(TRIAGE, ["stay_id", "chiefcomplaint"])
    said = triage.filter(pl.col("chiefcomplaint").str.strip_chars() != "").join(_stays(context), on="stay_id")
    known = link(said, windows(context.rows).lazy(), at="intime")
    hours = (pl.col("intime") - pl.col("landmark_at")).dt.total_seconds() / 3600
    texts = known.select("row_id", hours=hours, text="chiefcomplaint", document_id=pl.col("stay_id").cast(pl.String))
    return documents.write(texts, folder)


EMERGENCY: Mapping[str, ModalitySpec] = {
    "ed_triage": ModalitySpec(kind="table", tables=(STAYS, TRIAGE), block=partial(_block, TRIAGE, ED_TRIAGE)),
    "ed_vitals": ModalitySpec(kind="table", tables=(STAYS, VITALS), block=partial(_block, VITALS, ED_VITALS)),
    "emergency": ModalitySpec(kind="table", parts=("ed_triage", "ed_vitals")),
    "chief_complaint": ModalitySpec(kind="documents", tables=(STAYS, TRIAGE), files=_complaints),
}
"""The modalities of this file."""
