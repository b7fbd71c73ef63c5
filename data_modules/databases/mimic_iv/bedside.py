"""The worst values of the 24 h before the landmark, for the scores: charted values, labs, gases, drugs and urine.

The ratio PaO2 / FiO2 is that of an arterial specimen and of the oxygen that is recorded with it, or was charted in the
4 h before it. There is respiratory support if the last record of ventilation, invasive or not, of the 14 h before says
so (mimic-code: bg, ventilation). A drug counts at any time of the 24 h at which it runs.
"""

from collections.abc import Sequence

import polars as pl

from data_modules.databases.mimic_iv import fluids, sets, vasoactives
from data_modules.databases.mimic_iv.coma import GCS_PARTS, coma_totals
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, by_admission, scratch
from data_modules.features import series
from data_modules.features.modality import BuildContext

WINDOW_HOURS = 24.0
OXYGEN_HOURS, SUPPORT_HOURS = 4.0, 14.0
"""For how long an inspired oxygen, or a state of ventilation, holds."""
VITAL_NAMES = ("gcs_total", *(concept.name for concept in sets.SCORED_VITALS[GCS_PARTS:]))
LAB_NAMES = tuple(concept.name for concept in sets.SCORED_LABS)
DRUGS = ("dopamine", "dobutamine", "epinephrine", "norepinephrine")
RECENT = pl.col("hours") > -WINDOW_HOURS


def urine(context: BuildContext) -> pl.DataFrame:
    """`row_id` and `urine`, mL in 24 h, of the rows that were as long in the unit; without outputevents no row."""
    schema = {"row_id": context.rows.schema["row_id"], "volume": pl.Float64()}
    if not context.release.has(fluids.OUTPUT):
        return pl.DataFrame(schema={"row_id": schema["row_id"], "urine": pl.Float64()})
    added = fluids.volumes(fluids.outputs(context), pl.DataFrame(schema=schema))
    long = fluids.time_in_unit(context).filter(pl.col("hours_in_unit") >= WINDOW_HOURS)
    return added.select("row_id", urine="urine_ml/24h").drop_nulls().join(long, on="row_id", how="semi")


def extremes(context: BuildContext, rows: pl.DataFrame, urine: pl.DataFrame) -> pl.DataFrame:
    """The worst values of a block of rows.

    Args:
        context: release.
        rows: see `linking.link`.
        urine: see `urine`.

    Returns:
        One row per row of `rows`, in order: `row_id`; `<name>_min` and `<name>_max` of `VITAL_NAMES` and `LAB_NAMES`;
        `pf` and `pf_supported` (mmHg); the highest rates of `DRUGS` (ug/kg/min); `urine` (mL); null = not known;
        `any`, whether one of them is known.
    """
    charted = coma_totals(_settled(context, CHARTED, rows))
    labs = _settled(context, LABS, rows)
    found = rows.select("row_id")
    parts = (
        _limits(charted, VITAL_NAMES),
        _limits(labs, LAB_NAMES),
        gases(labs, charted),
        _drugs(context, rows),
        urine,
    )
    for part in parts:
        found = found.join(part, on="row_id", how="left", maintain_order="left")
    measured = [name for name in found.columns if name != "row_id"]
    return found.with_columns(any=pl.any_horizontal(pl.col(measured).is_not_null()))


def _settled(context: BuildContext, source: Measured, rows: pl.DataFrame) -> pl.DataFrame:
    events = by_admission(sets.events(context, source, "scores"), rows, drawn="ordered" in source.parts)
    # Nothing earlier is read, and a stay may be long.
    read = events.filter(pl.col("hours") > -(WINDOW_HOURS + SUPPORT_HOURS))
    return series.last_revisions(read.collect(engine="streaming"))


def _limits(events: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Smallest and largest value of each concept in the 24 h."""
    limits = []
    for number, name in enumerate(names):
        value = pl.col("value").filter(pl.col("concept") == number)
        limits += [value.min().alias(f"{name}_min"), value.max().alias(f"{name}_max")]
    valued = events.filter(RECENT & pl.col("value").is_not_null())
    return valued.group_by("row_id").agg(limits)


def gases(labs: pl.DataFrame, charted: pl.DataFrame) -> pl.DataFrame:
    """The lowest PaO2 / FiO2, without and with respiratory support.

    Args:
        labs: settled events of `sets.SCORED_LABS`.
        charted: events of `VITAL_NAMES`.

    Returns:
        `row_id`, `pf`, `pf_supported` in mmHg of the rows with an arterial gas and its inspired oxygen.
    """
    key = ["row_id", "specimen"]
    oxygen = _valued(labs, LAB_NAMES, "po2").filter(RECENT & pl.col("specimen").is_not_null())
    arterial = _valued(labs, LAB_NAMES, "arterial").filter(pl.col("value") == 1)
    with_gas = _valued(labs, LAB_NAMES, "fio2_gas").group_by(key).agg(inspired=pl.col("value").max())
    drawn = (
        oxygen.join(arterial, on=key, how="semi").join(with_gas, on=key, how="left").sort("hours", "row_id", "value")
    )
    for name, hours in (
        ("fio2", OXYGEN_HOURS),
        ("ventilated", SUPPORT_HOURS),
        ("noninvasive_ventilation", SUPPORT_HOURS),
    ):
        at_once = _valued(charted, VITAL_NAMES, name).group_by("row_id", "hours").agg(pl.col("value").max().alias(name))
        drawn = drawn.join_asof(at_once.sort("hours"), on="hours", by="row_id", tolerance=hours, check_sortedness=False)
    supported = (pl.max_horizontal("ventilated", "noninvasive_ventilation") == 1).fill_null(value=False)
    ratio = 100 * pl.col("value") / pl.coalesce("inspired", "fio2")
    return drawn.group_by("row_id").agg(pf=ratio.filter(~supported).min(), pf_supported=ratio.filter(supported).min())


def _valued(events: pl.DataFrame, names: Sequence[str], name: str) -> pl.DataFrame:
    chosen = events.filter((pl.col("concept") == names.index(name)) & pl.col("value").is_not_null())
    return chosen.select("row_id", "specimen", "hours", pl.col("value").cast(pl.Float64))


def _drugs(context: BuildContext, rows: pl.DataFrame) -> pl.DataFrame:
    """The highest rate of each drug that runs in the 24 h."""
    numbers = {concept.name: number for number, concept in enumerate(vasoactives.VASOACTIVES)}
    if not context.release.has(vasoactives.TABLE):
        empty = {"row_id": rows.schema["row_id"], **dict.fromkeys(DRUGS, pl.Float64())}
        return pl.DataFrame(schema=empty)
    path = scratch(context, vasoactives.TABLE, vasoactives.COLUMNS, "starttime")
    rates = vasoactives.running(vasoactives.intervals(pl.scan_parquet(path), rows).collect(engine="streaming"))
    valued = rates.filter(pl.col("value").is_not_null()).sort("row_id", "concept", "hours")
    # What ran when the window began is the last change before it; after a 0 nothing did.
    last = valued.filter(~RECENT).group_by("row_id", "concept", maintain_order=True).last()
    before = last.filter(pl.col("value") > 0)
    running = pl.concat([before, valued.filter(RECENT).select(before.columns)])
    highest = [pl.col("value").filter(pl.col("concept") == numbers[name]).max().alias(name) for name in DRUGS]
    return running.group_by("row_id").agg(highest)
