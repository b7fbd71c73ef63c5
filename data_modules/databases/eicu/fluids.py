"""Urine, intake, output and balance of the 24 h before the landmark, in all and by body weight (intakeOutput).

A cell belongs to intake, output or dialysis by its cellpath (`flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|Urine`).
Left out are counts, shares of meals, doses, and totals of a shift or day, which repeat volumes of other cells. The
columns intaketotal, outputtotal and nettotal are not read: they contain cells that were entered later.
"""

import numpy as np
import polars as pl

from data_modules.databases.eicu.concepts import VOLUMES
from data_modules.databases.eicu.demographics import WEIGHT, plausible
from data_modules.databases.eicu.events import LANDMARK, STAY, as_records, known
from data_modules.features.concepts import USABLE, convert
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.series import LOST
from data_modules.features.store import BoolArray, FloatArray

TABLE = "intakeOutput"
URINE = (
    r"urin|urethral|foley|void|indwelling catheter|straight cath|external cath|condom|suprapubic|nephrostomy|"
    r"ileal conduit|ileoconduit|urostomy"
)
"""Labels of urine, after the list of pivoted-uo of eicu-code."""
NO_VOLUME = r"count|occurrence|unmeasured|number of|^% |\((?:mcg|mg|units)\)"
TOTAL = r"24 ?hr? total|^total (?:in|out|intake|output)\b"
HOURS = (6, 12, 24)
MAX_TOTAL = 30_000
"""Largest plausible volume of a day, mL: some flow sheets repeat the sum since morning in every cell."""
SUMS = (*(f"urine_ml/{hours}h" for hours in HOURS), "intake_ml/24h", "output_ml/24h")
BY_WEIGHT = (*(f"urine_ml_per_kg_hour/{hours}h" for hours in HOURS), "balance_ml_per_kg/24h")
NAMES = (*SUMS, "balance_ml/24h", *BY_WEIGHT, "weight_kg")
"""Columns of the modality, as in MIMIC-IV."""


def kind() -> pl.Expr:
    """Return what the volume of a cell is, a name of `VOLUMES`; null for all else. Urine is output too.

    >>> cells = ["Output (ml)|Foley cath", "Output (ml)|Urine Count", "Intake (ml)|Generic Intake (ml)|P.O.",
    ...          "Dialysis (ml)|Out", "Weight|Bodyweight (kg)", "Intake (ml)|24 HR TOTAL INTAKE  0700-0659"]
    >>> frame = pl.DataFrame({"cellpath": [f"flowsheet|Flowsheet Cell Labels|I&O|{cell}" for cell in cells]})
    >>> frame.select(kind()).to_series().to_list()
    ['urine', None, 'intake', 'output', None, None]
    """
    path = pl.col("cellpath").str.to_lowercase()
    group = path.str.extract(r"\|i&o\|([^|]*)\|")
    label = path.str.extract(r"([^|]*)$").str.strip_chars()
    inward = (group == "intake (ml)") | ((group == "dialysis (ml)") & (label == "in"))
    outward = (group == "output (ml)") | ((group == "dialysis (ml)") & (label == "out"))
    urine = (group == "output (ml)") & label.str.contains(URINE) & ~label.str.contains("stool")
    named = (
        pl.when(urine).then(pl.lit("urine")).when(inward).then(pl.lit("intake")).when(outward).then(pl.lit("output"))
    )
    return pl.when(~label.str.contains(f"{NO_VOLUME}|{TOTAL}")).then(named).alias("name")


def cells(context: BuildContext) -> pl.DataFrame:
    """Select the volumes charted in the 24 h before the landmark and entered by it.

    Args:
        context: release and rows.

    Returns:
        One row per cell: `row_id`, `hours` before the landmark, `name` of `VOLUMES`, `problem`, and `volume` in mL;
        null = not plausible.
    """
    recent = known(context, TABLE, "intakeoutputoffset", "intakeoutputentryoffset").select(
        "row_id",
        kind(),
        hours=(pl.col(LANDMARK) - pl.col("intakeoutputoffset")) / 60,
        number="cellvaluenumeric",
    )
    found = convert(as_records(recent.filter(pl.col("hours") < max(HOURS))), VOLUMES)
    names = {place: concept.name for place, concept in enumerate(VOLUMES)}
    name = pl.col("concept").replace_strict(names, return_dtype=pl.String)
    chosen = found.select("row_id", "hours", "problem", name=name, volume="value")
    return chosen.collect(engine="streaming").sort("row_id", "name", "hours", "volume")


def added(found: pl.DataFrame) -> pl.DataFrame:
    """Add up volumes; urine is output too.

    Args:
        found: `row_id`, `hours` before the landmark, `name` of `VOLUMES`, `volume` in mL, null = none.

    Returns:
        `row_id` and `SUMS` of the rows with any cell; null where no such volume was charted in 24 h.

    >>> names, volumes = ["urine", "urine", "intake"], [90.0, 60.0, 500.0]
    >>> cells = pl.DataFrame({"row_id": [0] * 3, "hours": [3.0, 8.0, 9.0], "name": names, "volume": volumes})
    >>> added(cells).rows()
    [(0, 90.0, 150.0, 150.0, 500.0, 150.0)]
    """
    volume, name = pl.col("volume"), pl.col("name")

    def total(names: list[str], hours: int = max(HOURS)) -> pl.Expr:
        chosen = name.is_in(names) & volume.is_not_null()
        return pl.when(chosen.any()).then(volume.filter(chosen & (pl.col("hours") < hours)).sum())

    sums = [*(total(["urine"], hours) for hours in HOURS), total(["intake"]), total(["urine", "output"])]
    named = [one.alias(column) for one, column in zip(sums, SUMS, strict=True)]
    return found.group_by("row_id", maintain_order=True).agg(named)


def plausible_sums(sums: pl.DataFrame) -> pl.DataFrame:
    """Take sums out that exceed `MAX_TOTAL`.

    Args:
        sums: `SUMS` and any other columns.

    Returns:
        The same columns.

    >>> plausible_sums(pl.DataFrame({name: [100.0, MAX_TOTAL + 1] for name in SUMS}))[SUMS[0]].to_list()
    [100.0, None]
    """
    return sums.with_columns(pl.when(pl.col(name) <= MAX_TOTAL).then(name).alias(name) for name in SUMS)


def by_weight(sums: pl.DataFrame) -> pl.DataFrame:
    """Add balance and rates to volumes.

    Args:
        sums: `row_id`, `SUMS`, `weight_kg`, `minutes` in the unit.

    Returns:
        `row_id` and `NAMES`. A balance needs intake and output; there is no rate over more hours than in the unit.
    """
    balance, weight = pl.col("intake_ml/24h") - pl.col("output_ml/24h"), pl.col("weight_kg")
    rates = [
        pl.when(pl.col("minutes") >= hours * 60).then(pl.col(f"urine_ml/{hours}h") / hours / weight) for hours in HOURS
    ]
    named = [value.alias(name) for value, name in zip([*rates, balance / weight], BY_WEIGHT, strict=True)]
    return sums.with_columns(balance.alias("balance_ml/24h"), *named).select("row_id", *NAMES)


def filled(out: FloatArray, written: pl.DataFrame) -> BoolArray:
    """Write the result of `by_weight` into (N, columns), NaN elsewhere; returns which rows have one."""
    place = written["row_id"].to_numpy()
    out[:] = np.nan
    out[place] = written.select(NAMES).cast(pl.Float32).fill_null(float("nan")).to_numpy()
    present = np.zeros(len(out), dtype=np.bool_)
    present[place] = True
    return present


def fluids(context: BuildContext) -> ColumnBlock:
    """The columns `NAMES`; present where any volume was charted in the 24 h."""
    weights = context.tables["patient"].select(plausible(WEIGHT).alias("weight_kg"), stay_id=STAY)
    rows = context.rows.select("row_id", "stay_id", minutes=LANDMARK).join(weights, on="stay_id", how="left")

    def write(out: FloatArray) -> BoolArray:
        found = cells(context)
        sums = added(found)
        context.record(LOST, "fluids", _lost(found, sums))
        return filled(out, by_weight(plausible_sums(sums).join(rows, on="row_id")))

    return ColumnBlock(list(NAMES), write)


def _lost(found: pl.DataFrame, sums: pl.DataFrame) -> dict[str, int]:
    """The cells without a usable volume, by quantity and reason, and the sums that are out of range."""
    unused = found.filter(pl.col("problem") != USABLE).group_by("name", "problem").len()
    beyond = {f"{name} out of range": int((sums[name] > MAX_TOTAL).sum()) for name in SUMS}
    return beyond | {f"{name} {problem}": number for name, problem, number in unused.iter_rows()}
