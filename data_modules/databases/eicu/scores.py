"""SOFA of the 24 h before the landmark, from what is known at it.

The columns are those of MIMIC-IV's `scores`. The ratio PaO2 / FiO2 is that of a gas and of the inspired oxygen that is
recorded with it, or was charted in the 4 h before it; there is respiratory support if the last record of ventilation of
the 14 h before says so. A vasoactive drug whose rate is not known counts at its lowest step. Urine counts after 24 h in
the unit.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.databases.eicu import fluids, infusions, nursing, respiration
from data_modules.databases.eicu.concepts import APERIODIC, LABS, PERIODIC, VASOACTIVES
from data_modules.databases.eicu.events import LANDMARK, drawn_by_landmark, known, laboratory, settled, timed
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.sofa import ORGANS, SofaValues, sofa_points
from data_modules.features.store import BoolArray, FloatArray, blocks

Array = NDArray[np.float64]
ROWS_AT_ONCE = 4096
WINDOW_HOURS = 24
OXYGEN_HOURS, SUPPORT_HOURS = 4.0, 14.0
"""For how long an inspired oxygen, or a state of ventilation, holds."""
DRUGS = ("dopamine", "dobutamine", "epinephrine", "norepinephrine")
LOWEST_RATE = 1e-9
"""Rate of a drug that runs at a rate that is not known, ug/kg/min."""
COLUMNS = (*(f"sofa/{organ}" for organ in ORGANS), "sofa")
"""Points; an organ without a value is not known, and counts as normal in the sum."""
OPTIONAL: Mapping[str, str] = {
    "vitalPeriodic": "no pressure of an arterial line counts",
    "vitalAperiodic": "no cuff pressure counts",
    "infusionDrug": "no vasoactive drug counts",
    "respiratoryCharting": "no inspired oxygen or ventilation that was charted counts",
    "treatment": "no ventilation that was entered as a treatment counts",
    "nurseCharting": "no coma scale counts",
    "intakeOutput": "no urine counts",
}
"""Table beside `lab` -> what holds without it."""
RECENT = pl.col("hours") > -WINDOW_HOURS


def scores(context: BuildContext) -> ColumnBlock:
    """The columns `COLUMNS`; present where any value that they read was known in the 24 h."""

    def write(out: FloatArray) -> BoolArray:
        rows = context.rows.sort("row_id")
        whole = [_pressure(context), _drugs(context), _urine(context)]
        present = np.zeros(len(out), dtype=np.bool_)
        for block in blocks(rows.height, ROWS_AT_ONCE):
            part = rows[block].select("row_id")
            labs = _settled(pl.scan_parquet(laboratory(context)).filter(drawn_by_landmark()), part)
            for found in (*whole, _limits(labs), gases(labs, _breathing(context, part)), _coma(context, part)):
                part = part.join(found, on="row_id", how="left", maintain_order="left")
            values = {name: _array(part, name) for name in SofaValues.__dataclass_fields__}
            organs = sofa_points(SofaValues(**values))
            present[block] = organs.known.any(1)
            table = np.column_stack([np.where(organs.known, organs.points, np.nan), organs.total])
            out[block] = np.where(present[block][:, None], table, np.nan)
        return present

    return ColumnBlock(list(COLUMNS), write)


def published(values: Mapping[str, Array]) -> dict[str, Array]:
    """The points of SOFA, as a published score."""
    return {"sofa/points": values["sofa"]}


def _array(table: pl.DataFrame, name: str) -> Array:
    if name not in table.columns:
        return np.full(table.height, np.nan)
    array: Array = table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return array


def _settled(scanned: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Settled events of a block of rows that have a value."""
    of_rows = scanned.filter(pl.col("row_id").is_between(rows["row_id"].min(), rows["row_id"].max()))
    events = settled(timed(of_rows).collect(engine="streaming"))
    return events.filter(pl.col("value").is_not_null())


def _of(events: pl.DataFrame, concepts: Sequence[Concept], name: str) -> pl.DataFrame:
    """`row_id`, `hours` and the value of one concept, one row a time."""
    names = [concept.name for concept in concepts]
    chosen = events.filter(pl.col("concept") == names.index(name))
    return chosen.group_by("row_id", "hours").agg(pl.col("value").max().alias(name)).sort("hours", "row_id")


def _limits(labs: pl.DataFrame) -> pl.DataFrame:
    """`row_id`, and the worst platelets, bilirubin and creatinine."""
    names = [concept.name for concept in LABS]
    value = {name: pl.col("value").filter(pl.col("concept") == names.index(name)) for name in names}
    return labs.filter(RECENT).group_by("row_id").agg(
        platelets=value["platelets"].min(),
        bilirubin=value["bilirubin_total"].max(),
        creatinine=value["creatinine"].max(),
    )  # fmt: skip


def gases(labs: pl.DataFrame, breathing: pl.DataFrame) -> pl.DataFrame:
    """The lowest PaO2 / FiO2, without and with respiratory support.

    Args:
        labs: settled events of `LABS` with a value.
        breathing: settled events of `respiration.RECORDED` with a value.

    Returns:
        `row_id`, `pf`, `pf_supported` in mmHg of the rows with a gas and its inspired oxygen.
    """
    key = ["row_id", "hours"]
    drawn = _of(labs, LABS, "po2").filter(RECENT)
    drawn = drawn.join(_of(labs, LABS, "fio2").rename({"fio2": "with_gas"}), on=key, how="left").sort("hours")
    for name, hours in (
        ("fio2", OXYGEN_HOURS),
        ("ventilated", SUPPORT_HOURS),
        ("noninvasive_ventilation", SUPPORT_HOURS),
    ):
        charted = _of(breathing, respiration.RECORDED, name)
        drawn = drawn.join_asof(charted, on="hours", by="row_id", tolerance=hours, check_sortedness=False)
    supported = (pl.max_horizontal("ventilated", "noninvasive_ventilation") == 1).fill_null(value=False)
    ratio = 100 * pl.col("po2") / pl.coalesce("with_gas", "fio2")
    return drawn.group_by("row_id").agg(pf=ratio.filter(~supported).min(), pf_supported=ratio.filter(supported).min())


def _breathing(context: BuildContext, rows: pl.DataFrame) -> pl.DataFrame:
    if context.release.has(respiration.CHARTING):
        return _settled(respiration.records(context), rows)
    nothing = {"row_id": rows.schema["row_id"], "hours": pl.Float64(), "concept": pl.UInt16(), "value": pl.Float64()}
    return pl.DataFrame(schema=nothing)


def _coma(context: BuildContext, rows: pl.DataFrame) -> pl.DataFrame:
    """`row_id` and the lowest total of the coma scale."""
    if not context.release.has(nursing.TABLE):
        return rows.with_columns(gcs=pl.lit(None, pl.Float64))
    scale = nursing.with_sums(_settled(nursing.neurological(context), rows))
    totals = scale.filter(RECENT & (pl.col("concept") == 0))
    return totals.group_by("row_id").agg(gcs=pl.col("value").min())


def _pressure(context: BuildContext) -> pl.DataFrame:
    """`row_id` and the lowest mean arterial pressure, of an arterial line or a cuff."""
    sources = (("vitalPeriodic", PERIODIC, "mbp"), ("vitalAperiodic", APERIODIC, "noninvasive_mbp"))
    found = [pl.LazyFrame(schema={"row_id": context.rows.schema["row_id"], "mbp": pl.Float64()})]
    for table, concepts, name in sources:
        if context.release.has(table):
            (one,) = (concept for concept in concepts if concept.name == name)
            value = pl.col(str(one.names[0])).cast(pl.Float64)
            charted = known(context, table, "observationoffset").filter(_within("observationoffset"))
            found.append(charted.filter(value.is_between(one.low, one.high)).select("row_id", mbp=value))
    return pl.concat(found).group_by("row_id").agg(pl.col("mbp").min()).collect(engine="streaming")


def _within(at: str) -> pl.Expr:
    return pl.col(at) > pl.col(LANDMARK) - WINDOW_HOURS * 60


def _drugs(context: BuildContext) -> pl.DataFrame:
    """`row_id` and the highest rate of each drug; `LOWEST_RATE` where it ran and no rate above 0 is known."""
    if not context.release.has("infusionDrug"):
        return context.rows.select("row_id").clear()
    names = [concept.name for concept in VASOACTIVES]
    charted = infusions.chosen(context, VASOACTIVES).filter(_within("event_at"))
    rates = []
    for drug in DRUGS:
        rate = pl.col("value").filter(pl.col("concept") == names.index(drug))
        highest = rate.max()
        unknown = (rate.null_count() > 0) & ~(highest > 0).fill_null(value=False)
        rates.append(pl.when(unknown).then(LOWEST_RATE).otherwise(highest).alias(drug))
    return charted.group_by("row_id").agg(rates).collect(engine="streaming")


def _urine(context: BuildContext) -> pl.DataFrame:
    """`row_id` and the urine of 24 h, mL, of the rows that were as long in the unit."""
    if not context.release.has(fluids.TABLE):
        return context.rows.select("row_id").clear()
    long = context.rows.filter(pl.col(LANDMARK) >= WINDOW_HOURS * 60).select("row_id")
    sums = fluids.plausible_sums(fluids.added(fluids.cells(context)))
    return sums.select("row_id", urine="urine_ml/24h").join(long, on="row_id", how="semi")
