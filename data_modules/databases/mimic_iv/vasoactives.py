"""Rates of vasopressors and inotropes (inputevents), and the sum of the vasopressors as norepinephrine.

Items follow the concepts of MIT-LCP/mimic-code (medication); the limits are far above any rate that is given. A row of
inputevents is an interval with one rate; it is known when it is stored. What is summarised is the running rate: a value
whenever it changes, and 0 where the drug ends.

No column says when an end was recorded: a row is stored within the interval as a rule, and the row that goes on from
its end is stored later. An end counts once a row of the drug was begun or stored at or after it, or `HELD_HOURS`
later; until then the drug runs.
"""

from collections.abc import Callable, Sequence

import polars as pl

from data_modules.databases.mimic_iv.events import CHARTED, scratch
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.features import series
from data_modules.features.concepts import USABLE, Concept, convert
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray
from data_modules.features.vasoactive import NOREPINEPHRINE_OF

TABLE = "inputevents"
COLUMNS = (
    "subject_id", "hadm_id", "starttime", "endtime", "storetime", "itemid", "amount", "amountuom", "rate", "rateuom",
    "patientweight",
)  # fmt: skip
"""What is read of inputevents, for the drugs and for the fluids."""
HELD_HOURS = 4.0
"""For how long a rate holds after its recorded end, unless another row shows the end; as in eICU."""


def _drug(name: str, high: float, item: int, unit: str = "ug/kg/min") -> Concept:
    return Concept(name=name, unit=unit, low=0, high=high, names=(item,))


VASOACTIVES: tuple[Concept, ...] = (
    _drug("norepinephrine", 10, 221906),
    _drug("epinephrine", 10, 221289),
    _drug("phenylephrine", 50, 221749),
    _drug("dopamine", 100, 221662),
    _drug("vasopressin", 0.5, 222315, unit="units/min"),
    _drug("dobutamine", 100, 221653),
    _drug("milrinone", 5, 221986),
)
WRITTEN = (*VASOACTIVES, Concept(name="norepinephrine_equivalents", unit="ug/kg/min", low=0, high=100, names=()))
"""Concepts of the columns."""


def recorded(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Prepare rows of inputevents for `convert`.

    A rate per minute alone is divided by the weight in the row. A weight of 1 kg beside `mg/kg/min` marks a rate that
    is in ug/kg/min (mimic-code, norepinephrine).

    Args:
        rows: `itemid`, `rate`, `rateuom`, `patientweight` (kg) and any other columns.

    Returns:
        The other columns with `name`, `number`, `unit` and `text`.

    >>> rows = pl.LazyFrame({"itemid": [221749], "rate": [160.0], "rateuom": ["mcg/min"], "patientweight": [80.0]})
    >>> recorded(rows).collect().rows()
    [(221749, 2.0, 'mcg/min/kg', None)]
    """
    unit = pl.col("rateuom").str.strip_chars().str.to_lowercase()
    weight = pl.col("patientweight")
    whole = unit.is_in(["mcg/min", "mg/min"]) & weight.is_not_null()
    mislabelled = (unit == "mg/kg/min") & (weight == 1)
    number = pl.when(whole & (weight > 1)).then(pl.col("rate") / weight).when(~whole).then("rate")
    named = pl.when(mislabelled).then(pl.lit("mcg/kg/min")).when(whole).then(unit + "/kg").otherwise(unit)
    kept = [name for name in rows.collect_schema() if name not in {"itemid", "rate", "rateuom", "patientweight"}]
    return rows.select(*kept, name="itemid", number=number, unit=named, text=pl.lit(None, pl.String))


def intervals(
    events: pl.LazyFrame,
    rows: pl.DataFrame,
    drugs: Sequence[Concept] = VASOACTIVES,
    prepare: Callable[[pl.LazyFrame], pl.LazyFrame] = recorded,
) -> pl.LazyFrame:
    """Link rows of inputevents with a rate to a block of rows, as input of `running`.

    Args:
        events: `COLUMNS`.
        rows: see `linking.link`.
        drugs: the drugs to keep.
        prepare: makes input of `convert` of the rows; see `recorded`.

    Returns:
        `row_id`, `concept` of the drugs, `source`, `value`, `problem`, `unit`, `hours` of the start, relative to
        the landmark, and `ended`, hours of the end; null where it was not known at the landmark.
    """
    subjects = rows["subject_id"]
    near = events.filter(pl.col("subject_id").is_between(subjects.min(), subjects.max()))
    found = link(near.filter(pl.col("rate").is_not_null()), rows.lazy(), at="starttime", available="storetime")
    stored = pl.coalesce("storetime", "starttime")
    timed = found.with_columns(hours=_hours(pl.col("starttime")), ended=_hours(known_end()), stored=stored)
    kept = ["row_id", "hours", "ended", "stored", "itemid", "rate", "rateuom", "patientweight"]
    return convert(prepare(timed.select(kept)), drugs)


def known_end() -> pl.Expr:
    """Return the end of a row with a rate, of rows of inputevents that `link` gave; null where it was not known.

    >>> from datetime import datetime as day
    >>> row = {"row_id": 0, "itemid": 1, "rate": 2.0, "landmark_at": day(2150, 1, 2)}
    >>> times = [(day(2150, 1, 1, 9), day(2150, 1, 1, 12), day(2150, 1, 1, 9)),
    ...          (day(2150, 1, 1, 21), day(2150, 1, 1, 22), day(2150, 1, 1, 21))]
    >>> rows = [{**row, "starttime": start, "endtime": end, "storetime": stored} for start, end, stored in times]
    >>> [end and end.hour for end in pl.DataFrame(rows).select(known_end()).to_series()]
    [12, None]
    """
    stored = pl.coalesce("storetime", "starttime")
    at_rate = pl.when(pl.col("rate").is_not_null()).then(pl.max_horizontal("starttime", stored))
    by_then = pl.max_horizontal(
        at_rate.max().over("row_id", "itemid"), pl.col("landmark_at") - pl.duration(hours=HELD_HOURS)
    )
    # What was begun and stored by the landmark shows no end after it.
    return pl.when(pl.col("endtime") <= by_then).then("endtime").alias("known_end")


def _hours(time: pl.Expr) -> pl.Expr:
    return (time - pl.col("landmark_at")).dt.total_seconds() / 3600


def running(found: pl.DataFrame, drugs: Sequence[Concept] = VASOACTIVES) -> pl.DataFrame:
    """The rate of each drug, and of all vasopressors as norepinephrine, at every time when it changes.

    Args:
        found: see `intervals`.
        drugs: the drugs that `concept` numbers.

    Returns:
        Events of the drugs, and of the sum (`WRITTEN`) where a drug has a factor: 0 where a drug ends and none of it
        goes on; null for a rate that cannot be used.

    >>> interval = {"row_id": 0, "source": 0, "problem": "usable", "unit": None, "stored": 0}
    >>> rows = [(0, -5.0, -3.0, 0.1), (0, -3.0, -1.0, 0.2), (4, -4.0, None, 0.04)]
    >>> frame = pl.DataFrame([{**interval, "concept": drug, "hours": start, "ended": end, "value": rate}
    ...                       for drug, start, end, rate in rows])
    >>> running(frame).select("concept", "hours", pl.col("value").round(3)).rows()
    [(0, -5.0, 0.1), (0, -3.0, 0.2), (0, -1.0, 0.0), (4, -4.0, 0.04), (7, -5.0, 0.1), (7, -4.0, 0.2), (7, -3.0, 0.3),
     (7, -1.0, 0.1)]
    """
    lasting = pl.col("ended").is_null() | (pl.col("ended") > pl.col("hours"))
    usable = found.filter(pl.col("value").is_not_null() & lasting)
    factors = [NOREPINEPHRINE_OF.get(concept.name) for concept in drugs]
    factor = pl.col("concept").replace_strict(range(len(factors)), factors, return_dtype=pl.Float64())
    equivalent = usable.with_columns(
        value=pl.col("value") * factor, concept=pl.lit(len(drugs), found.schema["concept"])
    ).filter(pl.col("value").is_not_null())
    without = found.filter(pl.col("value").is_null()).select("row_id", "concept", "hours", "value", "problem", "unit")
    rates = pl.concat([_steps(usable), _steps(equivalent)]).with_columns(
        problem=pl.lit(USABLE, found.schema["problem"]), unit=pl.lit(None, pl.String)
    )
    return pl.concat([rates, without.cast({"value": pl.Float64, "unit": pl.String})]).with_columns(
        known=pl.lit(value=True), censored=pl.lit(value=False), specimen=pl.lit(None, pl.Int64)
    )


def _steps(used: pl.DataFrame) -> pl.DataFrame:
    """`row_id`, `concept`, `hours`, `value`: the sum of the intervals that run, at their starts and ends."""
    key = ["row_id", "concept"]
    starts = used.select(*key, "hours", change="value", begun=pl.lit(1))
    ends = used.filter(pl.col("ended").is_not_null()).select(
        *key, hours="ended", change=-pl.col("value"), begun=pl.lit(-1)
    )
    changes = pl.concat([starts, ends]).sort(*key, "hours", "change")
    at_once = changes.group_by(*key, "hours", maintain_order=True).agg(pl.col("change", "begun").sum())
    rate, active = (pl.col(name).cum_sum().over(key) for name in ("change", "begun"))
    # The count says when nothing runs, which the rounded sum cannot.
    return at_once.select(*key, "hours", value=pl.when(active > 0).then(rate.clip(lower_bound=0)).otherwise(0.0))


def vasoactives(context: BuildContext) -> ColumnBlock:
    """The columns of the modality: those of charted concepts, for each of `WRITTEN`."""
    path = scratch(context, TABLE, COLUMNS, "starttime")

    def write(out: FloatArray) -> BoolArray:
        rows = windows(context.rows)
        written = series.write(
            pl.scan_parquet(path), rows, WRITTEN, out, intervals, parts=CHARTED.parts, settle=running
        )
        series.count(context, "vasoactives", WRITTEN, written[1])
        return written[0]

    return ColumnBlock(series.column_names(WRITTEN, CHARTED.parts), write)
