"""Urine, intake and output of the 24 h before the landmark, in all and by body weight (outputevents, inputevents).

The items of urine are those of the concept urine_output of MIT-LCP/mimic-code; what an irrigation of the bladder put in
is taken off. A volume counts once it is stored: an output at its time, a running infusion by its rate until the
landmark, and any other intake at its end. Infusions are stored before they end as a rule, so an end counts as that of a
drug does (`vasoactives.known_end`). The weight is the last one that was charted by the landmark. Outputs are
recorded in an intensive care unit alone, so a rate needs one unit stay over all of its hours.
"""

from collections.abc import Mapping

import polars as pl

from data_modules.databases.mimic_iv import sets
from data_modules.databases.mimic_iv.events import CHARTED, by_admission, scratch
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.databases.mimic_iv.vasoactives import COLUMNS, TABLE, known_end
from data_modules.features import series
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray

OUTPUT = "outputevents"
OUTPUT_COLUMNS = ("subject_id", "hadm_id", "charttime", "storetime", "itemid", "value", "valueuom")
HOURS = (6, 12, 24)
MAX_ML = 10_000.0
"""A larger volume, or hourly rate, is a recording error."""

IRRIGANT_IN = 227488
URINE = (226557, 226558, 226559, 226560, 226561, 226563, 226564, 226565, 226567, 226584, 227489, IRRIGANT_IN)
NO_OUTPUT = (226633, 227510)
"""Before the admission; the residue of tube feeding, which is usually given back."""
NO_INTAKE = (226361, 226362, 226401, 226402, 226403, 225162, 225163, 225165)
"""Before the admission; residue given back; irrigation of the bladder; fluids of a dialysis machine."""
PER_HOUR: Mapping[str, float] = {"ml/hour": 1.0, "ml/hr": 1.0, "ml/h": 1.0, "ml/min": 60.0}

VOLUMES = (*(f"urine_ml/{hours}h" for hours in HOURS), "intake_ml/24h", "output_ml/24h")
BY_WEIGHT = (*(f"urine_ml_per_kg_hour/{hours}h" for hours in HOURS), "balance_ml_per_kg/24h")
NAMES = (*VOLUMES, "balance_ml/24h", *BY_WEIGHT, "weight_kg")
"""Columns of the modality."""

_LANDMARK = pl.col("landmark_at")
_WINDOW = pl.duration(hours=max(HOURS))


def outputs(context: BuildContext) -> pl.DataFrame:
    """What came out in the 24 h before the landmark.

    Returns:
        One row per event: `row_id`, `hours` before the landmark, `itemid` and `volume` in mL, negative for what an
        irrigation put in; null = cannot be used.
    """
    events = pl.scan_parquet(scratch(context, OUTPUT, OUTPUT_COLUMNS, "charttime"))
    found = link(events, windows(context.rows).lazy(), at="charttime", available="storetime")
    recent = found.filter((pl.col("charttime") > _LANDMARK - _WINDOW) & ~pl.col("itemid").is_in(NO_OUTPUT))
    sign = pl.when(pl.col("itemid") == IRRIGANT_IN).then(-1.0).otherwise(1.0)
    chosen = recent.select(
        "row_id", "itemid", hours=_hours(_LANDMARK - pl.col("charttime")), volume=sign * _usable("value", "valueuom")
    )
    return chosen.collect(engine="streaming").sort("row_id", "hours", "itemid", "volume")


def intake(context: BuildContext) -> pl.DataFrame:
    """What went in during the 24 h before the landmark.

    Returns:
        One row per interval: `row_id` and `volume` in mL of its part in the 24 h; null = cannot be used.
    """
    events = pl.scan_parquet(scratch(context, TABLE, COLUMNS, "starttime"))
    found = link(events, windows(context.rows).lazy(), at="starttime", available="storetime")
    fluid = found.filter((_normal("amountuom") == "ml") & ~pl.col("itemid").is_in(NO_INTAKE)).with_columns(known_end())
    begin = _LANDMARK - _WINDOW
    end = pl.coalesce("known_end", "landmark_at")
    inside = pl.max_horizontal(_hours(end - pl.max_horizontal(pl.col("starttime"), begin)), 0.0)
    factor = _normal("rateuom").replace_strict(PER_HOUR, default=None, return_dtype=pl.Float64())
    rate = pl.col("rate") * factor
    flowing = pl.when(rate.is_between(0, MAX_ML)).then(rate * inside)
    ended = pl.col("endtime").is_between(begin, _LANDMARK, closed="right")
    counted = (pl.col("rate").is_not_null() & (inside > 0)) | (pl.col("rate").is_null() & ended)
    volume = pl.when(pl.col("rate").is_not_null()).then(flowing).otherwise(_usable("amount", "amountuom"))
    chosen = fluid.filter(counted).select("row_id", volume=volume)
    return chosen.collect(engine="streaming").sort("row_id", "volume")


def _hours(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_seconds() / 3600


def _normal(unit: str) -> pl.Expr:
    return pl.col(unit).str.strip_chars().str.to_lowercase()


def _usable(volume: str, unit: str) -> pl.Expr:
    return pl.when((_normal(unit) == "ml") & pl.col(volume).is_between(0, MAX_ML)).then(volume)


def volumes(out: pl.DataFrame, into: pl.DataFrame) -> pl.DataFrame:
    """Add up volumes.

    Args:
        out: see `outputs`.
        into: see `intake`.

    Returns:
        `row_id` and `VOLUMES` of the rows with any event. Urine is null where none was recorded in 24 h, intake and
        output 0.

    >>> out = pl.DataFrame({"row_id": [0, 0], "itemid": [226559, 226559], "hours": [3.0, 8.0], "volume": [90.0, 60.0]})
    >>> volumes(out, pl.DataFrame({"row_id": [0, 1], "volume": [500.0, 20.0]})).rows()
    [(0, 90.0, 150.0, 150.0, 500.0, 150.0), (1, None, None, None, 20.0, 0.0)]
    """
    urine = pl.col("itemid").is_in(URINE) & pl.col("volume").is_not_null()
    within = [pl.col("volume").filter(urine & (pl.col("hours") < hours)).sum() for hours in HOURS]
    given_off = out.group_by("row_id", maintain_order=True).agg(
        *(pl.when(urine.any()).then(some).alias(name) for some, name in zip(within, VOLUMES, strict=False)),
        pl.col("volume").sum().alias("output_ml/24h"),
    )
    taken = into.group_by("row_id", maintain_order=True).agg(pl.col("volume").sum().alias("intake_ml/24h"))
    joined = given_off.join(taken, on="row_id", how="full", coalesce=True)
    return joined.with_columns(pl.col("intake_ml/24h", "output_ml/24h").fill_null(0.0)).select(
        "row_id", *VOLUMES
    ).sort("row_id")  # fmt: skip


def weights(context: BuildContext) -> pl.DataFrame:
    """`row_id` and `weight_kg`, the last that was charted by the landmark."""
    charted = by_admission(sets.events(context, CHARTED, "weight"), windows(context.rows))
    last = series.latest(series.last_revisions(charted.collect(engine="streaming")))
    return last.select("row_id", weight_kg=pl.col("value").cast(pl.Float64)).sort("row_id")


def time_in_unit(context: BuildContext) -> pl.DataFrame:
    """`row_id` and `hours_in_unit` without a break before the landmark, of the rows that are in a unit then."""
    rows = context.rows.select("row_id", "hadm_id", "landmark_at")
    stays = context.tables["icustays"].select("hadm_id", "intime", "outtime").join(rows, on="hadm_id")
    stays = stays.filter((pl.col("intime") <= _LANDMARK) & (pl.col("outtime") >= _LANDMARK).fill_null(value=True))
    return stays.group_by("row_id").agg(hours_in_unit=_hours(_LANDMARK - pl.col("intime")).max())


def fluids(context: BuildContext) -> ColumnBlock:
    """The columns `NAMES`; present where any volume was recorded in the 24 h."""

    def write(table: FloatArray) -> BoolArray:
        out, into = outputs(context), intake(context)
        lost = {name: frame["volume"].null_count() for name, frame in (("output", out), ("intake", into))}
        context.record("results without a value", "fluids", lost)
        balance, weight = pl.col("intake_ml/24h") - pl.col("output_ml/24h"), pl.col("weight_kg")
        rates = [
            pl.when(pl.col("hours_in_unit") >= hours).then(pl.col(f"urine_ml/{hours}h") / hours / weight)
            for hours in HOURS
        ]
        found = volumes(out, into)
        for part in (weights(context), time_in_unit(context)):
            found = found.join(part, on="row_id", how="left")
        shown = found.with_columns(
            balance.alias("balance_ml/24h"),
            *(value.alias(name) for name, value in zip(BY_WEIGHT, [*rates, balance / weight], strict=True)),
        )
        every = context.rows.select("row_id").join(
            shown.with_columns(present=pl.lit(value=True)), on="row_id", how="left", maintain_order="left"
        )
        table[:] = every.select(NAMES).cast(pl.Float32).fill_null(float("nan")).to_numpy()
        present: BoolArray = every["present"].fill_null(value=False).to_numpy()
        return present

    return ColumnBlock(list(NAMES), write)
