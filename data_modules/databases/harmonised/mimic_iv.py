"""The harmonised modalities, derived from MIMIC-IV."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from data_modules.databases.eicu import fluids as volumes
from data_modules.databases.eicu.concepts import VOLUMES
from data_modules.databases.eicu.nursing import RASS
from data_modules.databases.eicu.scores import COLUMNS as SOFA
from data_modules.databases.eicu.scores import published
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.harmonised.hours import hourly, hourly_rates
from data_modules.databases.mimic_iv import fluids, linking, scores, vasoactives
from data_modules.databases.mimic_iv.coma import GCS_PARTS, coma_totals
from data_modules.databases.mimic_iv.concepts import INFUSED, NEUROLOGY
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, block, by_admission, keep, scratch
from data_modules.databases.mimic_iv.further import FURTHER
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.dosing import by_weight
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always
from data_modules.features.store import BoolArray, FloatArray


def _person(context: BuildContext) -> ColumnBlock:
    columns = harmonised.person(pl.col("age"), pl.col("gender") == "F")
    return always(context.rows.sort("row_id").select(columns))


def _scratch(context: BuildContext, source: Measured) -> pl.LazyFrame:
    """The scratch file of a table's shared concepts; written on first use."""
    concepts = {LABS: harmonised.MIMIC_LABORATORY, CHARTED: harmonised.MIMIC_CHARTED}[source]
    path = context.scratch / f"harmonised_{source.table}.parquet"
    if not path.is_file():
        keep(context, source, concepts, path)
    return pl.scan_parquet(path)


def _hourly(context: BuildContext, source: Measured, concepts: Sequence[Concept], chosen: slice) -> ColumnBlock:
    """A block of hourly summaries of a slice of the shared concepts of a table."""
    events = series.within(_scratch(context, source), chosen)
    return block(context, events, source, concepts, hourly, f"harmonised {source.table}")


def _labs(panel: str, context: BuildContext) -> ColumnBlock:
    chosen = harmonised.of_panel(panel)
    return _hourly(context, LABS, harmonised.MIMIC_LABS[chosen], chosen)


def _oxygen(context: BuildContext) -> ColumnBlock:
    """Inspired oxygen, charted or recorded with a blood gas."""
    slices = {
        CHARTED: harmonised.of_concepts(harmonised.MIMIC_OXYGEN, harmonised.MIMIC_CHARTED),
        LABS: harmonised.of_concepts(harmonised.MIMIC_GAS_OXYGEN, harmonised.MIMIC_LABORATORY),
    }
    events = pl.concat([series.within(_scratch(context, source), chosen) for source, chosen in slices.items()])
    return block(context, events, CHARTED, harmonised.MIMIC_OXYGEN, hourly, "harmonised oxygen")


def _charted(concepts: Sequence[Concept], context: BuildContext) -> ColumnBlock:
    return _hourly(context, CHARTED, concepts, harmonised.of_concepts(concepts, harmonised.MIMIC_CHARTED))


def _neurology(context: BuildContext) -> ColumnBlock:
    """Total and parts of the coma scale, and RASS."""
    events = series.within(_scratch(context, CHARTED), harmonised.of_concepts(NEUROLOGY, harmonised.MIMIC_CHARTED))

    def settle(found: pl.DataFrame) -> pl.DataFrame:
        settled = series.last_revisions(found)
        concept = pl.col("concept")
        totals = coma_totals(settled).filter(concept == 0)
        parts = settled.filter(concept < GCS_PARTS).with_columns(concept + 1)
        # RASS follows the parts and, of MIMIC-IV alone, whether a tube prevents speech: its position is the same.
        return pl.concat([totals, parts, settled.filter(concept == harmonised.NEUROLOGY.index(RASS))])

    return block(context, events, CHARTED, harmonised.NEUROLOGY, hourly, "harmonised neurology", settle)


def _on_admission(context: BuildContext) -> pl.DataFrame:
    """`row_id`, `concept` of `MIMIC_BODY`, and its last value by the landmark."""
    chosen = harmonised.of_concepts(harmonised.MIMIC_BODY, harmonised.MIMIC_CHARTED)
    events = series.within(_scratch(context, CHARTED), chosen)
    known = by_admission(events, linking.windows(context.rows)).collect(engine="streaming")
    return series.latest(series.last_revisions(known))


def _body(context: BuildContext) -> ColumnBlock:
    """Height and weight on admission, the last values by the landmark."""

    def write(out: FloatArray) -> BoolArray:
        found = _on_admission(context)
        out[:] = np.nan
        out[found["row_id"].to_numpy(), found["concept"].to_numpy()] = found["value"].to_numpy()
        present: BoolArray = np.logical_or.reduce(np.isfinite(out), axis=1)
        return present

    return ColumnBlock([concept.name for concept in harmonised.MIMIC_BODY], write)


def _rates(name: str, context: BuildContext) -> ColumnBlock:
    """Rates of drugs by hour."""
    path = scratch(context, vasoactives.TABLE, vasoactives.COLUMNS, "starttime")
    drugs, prepare, written = RATES[name]

    def link(events: pl.LazyFrame, rows: pl.DataFrame) -> pl.LazyFrame:
        return vasoactives.intervals(events, rows, drugs, prepare)

    def write(out: FloatArray) -> BoolArray:
        present, special = series.write(
            pl.scan_parquet(path),
            linking.windows(context.rows),
            written,
            out,
            link,
            parts=CHARTED.parts,
            settle=lambda found: vasoactives.running(found, drugs),
            transform=lambda events: hourly_rates(events, None),
        )
        series.count(context, f"harmonised {name}", written, special)
        return present

    return ColumnBlock(series.column_names(written, CHARTED.parts), write)


def _infused(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Prepare rows of inputevents for `convert`, with doses by weight where the drug has them."""
    unit = pl.col("rateuom").str.strip_chars().str.to_lowercase()
    kept = [name for name in rows.collect_schema() if name not in {"itemid", "rate", "rateuom", "patientweight"}]
    named = rows.select(*kept, name="itemid", number="rate", unit=unit, weight="patientweight")
    return by_weight(named, INFUSED).with_columns(text=pl.lit(None, pl.String))


RATES: Mapping[str, tuple[Sequence[Concept], Callable[[pl.LazyFrame], pl.LazyFrame], Sequence[Concept]]] = {
    "vasoactives": (vasoactives.VASOACTIVES, vasoactives.recorded, vasoactives.WRITTEN),
    "infusion_rates": (INFUSED, _infused, INFUSED),
}
"""Modality -> its drugs, how their rows are prepared, and the concepts of its columns."""
OF_SOFA = (vasoactives.TABLE, fluids.OUTPUT)
"""Optional tables of the scores that SOFA reads."""


def _fluids(context: BuildContext) -> ColumnBlock:
    """Volumes of 24 h by the rules of eICU: no sum without a volume of its kind, and the weight on admission."""

    def write(out: FloatArray) -> BoolArray:
        found = cells(fluids.outputs(context), fluids.intake(context))
        weight = harmonised.BODY_NAMES.index("weight")
        weighed = _on_admission(context).filter(pl.col("concept") == weight).select("row_id", weight_kg="value")
        stayed = fluids.time_in_unit(context).select("row_id", minutes=60 * pl.col("hours_in_unit"))
        sums = volumes.plausible_sums(volumes.added(found)).sort("row_id")
        for part in (weighed, stayed):
            sums = sums.join(part, on="row_id", how="left", maintain_order="left")
        return volumes.filled(out, volumes.by_weight(sums))

    return ColumnBlock(list(volumes.NAMES), write)


def cells(out: pl.DataFrame, into: pl.DataFrame) -> pl.DataFrame:
    """Volumes of MIMIC-IV as cells of eICU.

    Args:
        out: see `fluids.outputs`.
        into: see `fluids.intake`.

    Returns:
        `row_id`, `hours` before the landmark, `name` and `volume` of `VOLUMES`; null = not plausible.

    >>> out = pl.DataFrame({"row_id": [0, 0], "itemid": [226559, 226588], "hours": [3.0, 8.0], "volume": [9e3, 60.0]})
    >>> cells(out, pl.DataFrame({"row_id": [1], "volume": [20.0]})).rows()
    [(0, 3.0, 'urine', None), (0, 8.0, 'output', 60.0), (1, 0.0, 'intake', 20.0)]
    """
    urine = pl.col("itemid").is_in(fluids.URINE)
    name = pl.when(urine).then(pl.lit("urine")).otherwise(pl.lit("output"))
    lost = out.select("row_id", "hours", "volume", name=name)
    given = into.select("row_id", "volume", hours=pl.lit(0.0), name=pl.lit("intake"))
    highest = {concept.name: concept.high for concept in VOLUMES}
    plausible = pl.col("volume") <= pl.col("name").replace_strict(highest, return_dtype=pl.Float64)
    both = pl.concat([lost, given], how="diagonal")
    return both.select("row_id", "hours", "name", pl.when(plausible).then("volume"))


def _scores(context: BuildContext) -> ColumnBlock:
    """SOFA and its organs; present where one of them is known."""
    whole = scores.scores(context)
    chosen = [whole.columns.index(name) for name in SOFA]

    def write(out: FloatArray) -> BoolArray:
        table = np.full((len(out), len(whole.columns)), np.nan, np.float32)
        whole.write(table)
        present: BoolArray = np.logical_or.reduce(np.isfinite(table[:, chosen[:-1]]), axis=1)
        out[:] = np.where(present[:, None], table[:, chosen], np.nan)
        return present

    return ColumnBlock(list(SOFA), write)


def _table(block: Callable[[BuildContext], ColumnBlock], *tables: str) -> ModalitySpec:
    return ModalitySpec(kind="table", tables=tables, block=block)


MODALITIES: Mapping[str, ModalitySpec] = {
    "harmonised_person": _table(_person),
    "harmonised_body": _table(_body, "chartevents"),
    "harmonised_demographics": ModalitySpec(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": _table(partial(_charted, harmonised.MIMIC_VITALS), "chartevents"),
    "harmonised_oxygen": _table(_oxygen, "chartevents", "labevents"),
    **{f"harmonised_{panel}": _table(partial(_labs, panel), "labevents") for panel in harmonised.PANELS},
    "harmonised_respiration": _table(partial(_charted, harmonised.MIMIC_RESPIRATION), "chartevents"),
    "harmonised_neurology": _table(_neurology, "chartevents"),
    "harmonised_nurse_vitals": _table(partial(_charted, harmonised.MIMIC_NURSE_VITALS), "chartevents"),
    **{f"harmonised_{name}": _table(partial(_rates, name), vasoactives.TABLE) for name in RATES},
    "harmonised_fluids": _table(_fluids, *FURTHER["fluids"].tables),
    "harmonised_scores": ModalitySpec(
        kind="table",
        tables=FURTHER["scores"].tables,
        optional={name: what for name, what in FURTHER["scores"].optional.items() if name in OF_SOFA},
        block=_scores,
        published=published,
    ),
}
