"""The coma scale, agitation, temperature, cuff pressures and pain, as nurses of eICU charted them.

nurseCharting has 151.6 million rows in release 2.0, more than all other tables that are read together. It is read once,
in blocks: rows of other labels are dropped as they are parsed, and what is kept is written as numbers.

Labels follow pivoted-gcs, pivoted-vital and pivoted-score of eicu-code; a name is `vallabel|valname`. A sedation score
is one of several scales: it is the Richmond scale (RASS) if the scale that was charted with it says so.
"""

from collections.abc import Callable, Sequence

import polars as pl

from data_modules.databases.eicu.concepts import APERIODIC
from data_modules.databases.eicu.events import (
    EARLIEST,
    LANDMARK,
    as_acts,
    block,
    count_left_out,
    placed,
    settled,
)
from data_modules.features import readings, series
from data_modules.features.concepts import USABLE, Concept, convert, names_of
from data_modules.features.modality import BuildContext, ColumnBlock

TABLE, AT, ENTERED = "nurseCharting", "nursingchartoffset", "nursingchartentryoffset"
LABEL, NAME = "nursingchartcelltypevallabel", "nursingchartcelltypevalname"
SEPARATOR = "|"
_COMA, _CUFF, _TEMPERATURE = "Glasgow coma score", "Non-Invasive BP", "Temperature"
SCALE, SCORE = "Sedation Scale/Score/Goal|Sedation Scale", "Sedation Scale/Score/Goal|Sedation Score"


def _part(name: str, high: float, of: str) -> Concept:
    return Concept(name=f"gcs_{name}", unit="points", low=1, high=high, names=(f"{_COMA}|{of}",))


def _as(name: str, concepts: Sequence[Concept], *names: str) -> Concept:
    """A concept of the monitor, with its range, as it is charted here."""
    (one,) = (concept for concept in concepts if concept.name == name)
    return Concept(name=name, unit=one.unit, low=one.low, high=one.high, names=names)


PARTS: tuple[Concept, ...] = (_part("eye", 4, "Eyes"), _part("verbal", 5, "Verbal"), _part("motor", 6, "Motor"))
GCS_TOTAL = Concept(
    name="gcs_total",
    unit="points",
    low=3,
    high=15,
    names=(f"{_COMA}|GCS Total", "Score (Glasgow Coma Scale)|Value"),
)
RASS = Concept(name="rass", unit="points", low=-5, high=4, names=("RASS|Value", SCORE))
NEUROLOGY: tuple[Concept, ...] = (GCS_TOTAL, *PARTS, RASS)
"""Concepts of the columns of `neurology`."""
IS_RASS = Concept(name="sedation_scale", unit="1", low=0, high=1, names=(SCALE,), states=("rass",))
READ_NEUROLOGY = (*NEUROLOGY, IS_RASS)
FAHRENHEIT = f"{_TEMPERATURE}|Temperature (F)"
NURSE_VITALS: tuple[Concept, ...] = (
    Concept(
        name="temperature",
        unit="C",
        low=21.2,
        high=49,
        names=(f"{_TEMPERATURE}|Temperature (C)", FAHRENHEIT),
        recorded_in={FAHRENHEIT: "f"},
    ),
    _as("noninvasive_sbp", APERIODIC, f"{_CUFF}|Non-Invasive BP Systolic"),
    _as("noninvasive_dbp", APERIODIC, f"{_CUFF}|Non-Invasive BP Diastolic"),
    _as("noninvasive_mbp", APERIODIC, f"{_CUFF}|Non-Invasive BP Mean"),
    Concept(name="pain_score", unit="points", low=0, high=10, names=("Pain Score/Goal|Pain Score",)),
)
CHARTED = (*READ_NEUROLOGY, *NURSE_VITALS)


def kept() -> pl.Expr:
    """Whether a row has one of the labels of `CHARTED`; both columns are compared, so that no texts are joined."""
    pairs = [str(name).split(SEPARATOR) for name in names_of(CHARTED)]
    labels = {label: [name for one, name in pairs if one == label] for label, _ in pairs}
    return pl.any_horizontal(
        (pl.col(LABEL) == label) & pl.col(NAME).is_in(names) for label, names in labels.items()
    )  # fmt: skip


def records(context: BuildContext) -> pl.LazyFrame:
    """The rows of `CHARTED` that were entered by the landmark, converted; written on first use."""
    path = context.scratch / "nurse_charting.parquet"
    if not path.is_file():
        stored = pl.coalesce(ENTERED, AT)
        rows = placed(context, TABLE, AT).filter(kept() & (pl.max_horizontal(AT, stored) <= pl.col(LANDMARK)))
        charted = rows.filter(pl.col("nursingchartvalue").is_not_null()).select(
            "row_id",
            LANDMARK,
            EARLIEST,
            event_at=AT,
            stored=stored,
            name=pl.concat_str(LABEL, NAME, separator=SEPARATOR),
            number=readings.plain("nursingchartvalue"),
            unit=pl.lit(None, pl.String),
            scale=pl.when(pl.col(NAME) == SCALE.split(SEPARATOR)[1]).then(
                pl.col("nursingchartvalue").str.strip_chars()
            ),
        )
        convert(as_acts(charted).with_columns(text="scale").drop("scale"), CHARTED).sink_parquet(
            path, compression="lz4"
        )
        count_left_out(context, TABLE, path, "event_at")
    return pl.scan_parquet(path)


def _of(context: BuildContext, concepts: Sequence[Concept]) -> pl.LazyFrame:
    """The events of some consecutive concepts of `CHARTED`, with `concept` relative to them."""
    start = CHARTED.index(concepts[0])
    found = series.within(records(context), slice(start, start + len(concepts)))
    return found.filter(pl.col("event_at") >= pl.col(EARLIEST))


def neurological(context: BuildContext) -> pl.LazyFrame:
    """The events of `READ_NEUROLOGY`, input of `events.block`."""
    return _of(context, READ_NEUROLOGY)


def of_richmond(events: pl.DataFrame) -> pl.DataFrame:
    """Keep the sedation scores with which the Richmond scale was charted, and take out the scales.

    Args:
        events: settled events of `READ_NEUROLOGY`.

    Returns:
        Events of `NEUROLOGY`.

    >>> cells = [(4, 0, -3.0, -1.0), (4, 1, -2.0, -2.0), (4, 1, -1.0, 4.0), (5, 0, -2.0, 1.0), (5, 0, -1.0, 0.0)]
    >>> rows = [{"row_id": 0, "concept": concept, "source": source, "hours": hours, "value": value}
    ...         for concept, source, hours, value in cells]
    >>> of_richmond(pl.DataFrame(rows)).select("hours", "value").rows()
    [(-3.0, -1.0), (-2.0, -2.0)]
    """
    concept = pl.col("concept")
    scales = events.filter((concept == READ_NEUROLOGY.index(IS_RASS)) & (pl.col("value") == 1))
    score = (concept == NEUROLOGY.index(RASS)) & (pl.col("source") == RASS.names.index(SCORE))
    scores = events.filter(score).join(scales, on=["row_id", "hours"], how="semi")
    return pl.concat([events.filter((concept < len(NEUROLOGY)) & ~score), scores])


def with_sums(events: pl.DataFrame) -> pl.DataFrame:
    """Add the sum of the parts of the coma scale where all were charted at one time, and no total was.

    Args:
        events: events of `of_richmond`.

    Returns:
        The events and the sums, as `gcs_total`.

    >>> part = {"row_id": 0, "known": True, "censored": False, "specimen": None, "source": 0, "problem": "usable"}
    >>> points = [(1, -2.0, 3.0), (2, -2.0, 4.0), (3, -2.0, 6.0), (1, -1.0, 4.0), (3, -1.0, 6.0)]
    >>> rows = [{**part, "concept": concept, "hours": hours, "value": value} for concept, hours, value in points]
    >>> with_sums(pl.DataFrame(rows, schema_overrides={"concept": pl.UInt16})).filter(pl.col("concept") == 0).rows()
    [(0, True, False, None, 0, 'usable', 0, -2.0, 13.0)]
    """
    at = ["row_id", "hours"]
    valued = events.filter(pl.col("value").is_not_null())
    totals = valued.filter(pl.col("concept") == 0)
    parts = valued.filter(pl.col("concept").is_between(1, len(PARTS)))
    means = parts.group_by(*at, "concept").agg(pl.col("value").sort().mean()).sort(*at, "concept")
    sums = means.group_by(at).agg(pl.len(), pl.col("value").sum()).filter(pl.col("len") == len(PARTS))
    added = sums.join(totals, on=at, how="anti").select(
        *at,
        "value",
        known=pl.lit(value=True),
        censored=pl.lit(value=False),
        concept=pl.lit(0, events.schema["concept"]),
        source=pl.lit(0, events.schema["source"]),
        problem=pl.lit(USABLE).cast(events.schema["problem"]),
    )
    return pl.concat([events, added], how="diagonal")


def neurology(
    context: BuildContext,
    transform: Callable[[pl.DataFrame], pl.DataFrame] = with_sums,
    counted_as: str = "neurology",
) -> ColumnBlock:
    """Summaries of the coma scale and of agitation."""
    found = neurological(context)
    return block(
        context,
        counted_as,
        lambda scanned: scanned,
        found,
        NEUROLOGY,
        drawn=False,
        settle=lambda events: of_richmond(settled(events)),
        transform=transform,
    )


def vital(context: BuildContext) -> pl.LazyFrame:
    """The events of `NURSE_VITALS`, input of `events.block`."""
    return _of(context, NURSE_VITALS)


def nurse_vitals(context: BuildContext) -> ColumnBlock:
    """Summaries of temperature, cuff pressures and pain."""
    return block(
        context, "nurse_vitals", lambda scanned: scanned, vital(context), NURSE_VITALS, drawn=False, settle=settled
    )
