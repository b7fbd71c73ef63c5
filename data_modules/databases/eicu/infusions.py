"""Rates of infusions of eICU, by drug and in one unit.

The drug and the unit of `drugrate` stand in `drugname`: `Norepinephrine (mcg/min)`. A row of a drug without a rate that
can be read or converted (volumes per hour, whose concentration is not recorded; `()`) is an infusion without a rate.
"""

from collections.abc import Callable, Sequence

import polars as pl

from data_modules.databases.eicu.concepts import INFUSED, VASOACTIVES
from data_modules.databases.eicu.demographics import WEIGHT
from data_modules.databases.eicu.events import LANDMARK, STAY, as_acts, block, known, unrevised
from data_modules.features import readings, series
from data_modules.features.concepts import PROBLEMS, UNREADABLE, USABLE, Concept, convert, names_of
from data_modules.features.dosing import by_weight
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.vasoactive import NOREPINEPHRINE_OF

NOT_STATED = "not stated"
"""Unit of a rate whose drugname has none."""
HOLDS_MINUTES = 4 * 60
"""How long a rate holds without a later row of its drug; of the intervals on the open demo nine in ten are shorter."""
DRUGS = (*VASOACTIVES, *INFUSED)
"""Concepts of the scratch file of rates."""
EQUIVALENT = Concept(name="norepinephrine_equivalents", names=(), unit="ug/kg/min", low=0, high=100)
WRITTEN = (*VASOACTIVES, EQUIVALENT)
"""Concepts of the columns of `vasoactives`."""
_VASOPRESSORS = pl.DataFrame(
    [(place, NOREPINEPHRINE_OF[one.name]) for place, one in enumerate(VASOACTIVES) if one.name in NOREPINEPHRINE_OF],
    schema={"concept": pl.UInt16, "factor": pl.Float64},
    orient="row",
)
"""Concepts whose rates add up to a norepinephrine equivalent."""


def drug() -> pl.Expr:
    """Return the drug of a row, the first word of its drugname in lower case; null where it begins with no word.

    >>> names = ["Norepinephrine STD 4 mg Dextrose 5% 250 ml (mcg/min)", "EPINEPHrine(Adrenalin)STD", "0.9NS (ml/hr)"]
    >>> pl.DataFrame({"drugname": names}).select(drug()).to_series().to_list()
    ['norepinephrine', 'epinephrine', None]
    """
    return pl.col("drugname").str.to_lowercase().str.extract(r"^\s*([a-z]+)(?:[\s(]|$)").alias("drug")


def unit() -> pl.Expr:
    """Return the unit of the rate of a row, `NOT_STATED` without one.

    >>> names = ["Amiodarone (mg/min) (mg/min)", "Propofol ()", "Dopamine"]
    >>> pl.DataFrame({"drugname": names}).select(unit()).to_series().to_list()
    ['mg/min', 'not stated', 'not stated']
    """
    stated = pl.col("drugname").str.to_lowercase().str.extract(r"\(([^()]*)\)\s*$").str.replace_all(r"\s", "")
    return pl.when(stated != "").then(stated).otherwise(pl.lit(NOT_STATED)).alias("unit")


def rates(context: BuildContext) -> pl.LazyFrame:
    """Select the infusions of the drugs of `DRUGS` that were known at the landmark.

    Args:
        context: release and rows.

    Returns:
        Input of `events.block`. A dose is converted by the weight of its row, or else by that on admission.
    """
    admitted = context.tables["patient"].lazy().select(STAY, "admissionweight")
    rows = known(context, "infusionDrug", "infusionoffset").join(admitted, on=STAY, how="left")
    weights = [pl.col(name).cast(pl.Float64, strict=False) for name in ("patientweight", "admissionweight")]
    named = rows.select(
        "row_id",
        LANDMARK,
        unit(),
        event_at="infusionoffset",
        stored="infusionoffset",
        name=drug(),
        number=readings.plain("drugrate"),
        weight=pl.coalesce(pl.when(one.is_between(WEIGHT.low, WEIGHT.high)).then(one) for one in weights),
    ).filter(pl.col("name").is_in(names_of(DRUGS)))
    paused = (pl.col("number") == 0).fill_null(value=False)  # in whatever unit
    return convert(as_acts(by_weight(named, DRUGS).with_columns(unit=pl.when(~paused).then("unit"))), DRUGS)


def equivalents(events: pl.LazyFrame) -> pl.LazyFrame:
    """The norepinephrine equivalent at each time at which a vasopressor was charted.

    The rate of a vasopressor holds until its next row, for `HOLDS_MINUTES` at most. There is no value while the rate of
    one of them is unknown.

    Args:
        events: result of `rates`, of `VASOACTIVES`.

    Returns:
        Events of the concept `EQUIVALENT`, with the columns of `events`.
    """
    order = ["row_id", LANDMARK, "event_at"]
    value = pl.col("value")
    charted = (
        events.join(_VASOPRESSORS.lazy(), on="concept")
        .group_by(*order, "concept", "factor")
        .agg(value.sort().mean(), lost=value.is_null().any())
        .sort("event_at")
    )
    times = charted.select(order).unique().join(_VASOPRESSORS.lazy().select("concept"), how="cross").sort("event_at")
    held = times.join_asof(
        charted.drop(LANDMARK),
        on="event_at",
        by=["row_id", "concept"],
        tolerance=HOLDS_MINUTES,
        check_sortedness=False,
    )
    total = (value * pl.col("factor")).sort_by("concept").sum()
    added = held.group_by(order).agg(pl.when(~pl.col("lost").any()).then(total).alias("value"))
    position = pl.lit(WRITTEN.index(EQUIVALENT), pl.UInt16)
    problem = pl.when(value.is_null()).then(pl.lit(UNREADABLE)).otherwise(pl.lit(USABLE)).cast(PROBLEMS)
    records = added.with_columns(stored="event_at", concept=position, source=pl.lit(0, pl.UInt8), problem=problem)
    return as_acts(records).drop("text")


def chosen(context: BuildContext, concepts: Sequence[Concept]) -> pl.LazyFrame:
    """The rates of some consecutive drugs, with `concept` relative to them; those of all are written on first use."""
    path = context.scratch / "infusion_rates.parquet"
    if not path.is_file():
        rates(context).sink_parquet(path, compression="lz4")
    start = DRUGS.index(concepts[0])
    return series.within(pl.scan_parquet(path), slice(start, start + len(concepts)))


def _as_recorded(events: pl.DataFrame) -> pl.DataFrame:
    return events


def vasoactives(
    context: BuildContext,
    transform: Callable[[pl.DataFrame], pl.DataFrame] = _as_recorded,
    counted_as: str = "vasoactives",
) -> ColumnBlock:
    """Summaries of the rate of each vasopressor and inotrope, and of the norepinephrine equivalent."""

    def events(scanned: pl.LazyFrame) -> pl.LazyFrame:
        return pl.concat([scanned, equivalents(scanned)], how="diagonal")

    found, settle = chosen(context, VASOACTIVES), unrevised
    return block(context, counted_as, events, found, WRITTEN, drawn=False, settle=settle, transform=transform)


def infusion_rates(
    context: BuildContext,
    transform: Callable[[pl.DataFrame], pl.DataFrame] = _as_recorded,
    counted_as: str = "infusion_rates",
) -> ColumnBlock:
    """Summaries of the rate of each other drug."""
    found, settle = chosen(context, INFUSED), unrevised
    return block(
        context, counted_as, lambda scanned: scanned, found, INFUSED, drawn=False, settle=settle, transform=transform
    )
