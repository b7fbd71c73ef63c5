"""The harmonised modalities, derived from MIMIC-IV."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.mimic_iv import linking
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, block, by_admission, keep
from data_modules.features import series
from data_modules.features.concepts import Concept
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
    return block(context, events, source, concepts, harmonised.hourly, f"harmonised {source.table}")


def _labs(panel: str, context: BuildContext) -> ColumnBlock:
    chosen = harmonised.of_panel(panel)
    return _hourly(context, LABS, harmonised.MIMIC_LABS[chosen], chosen)


def _vitals(context: BuildContext) -> ColumnBlock:
    vitals = harmonised.MIMIC_VITALS
    return _hourly(context, CHARTED, vitals, harmonised.of_concepts(vitals, harmonised.MIMIC_CHARTED))


def _oxygen(context: BuildContext) -> ColumnBlock:
    """Inspired oxygen, charted or recorded with a blood gas."""
    slices = {
        CHARTED: harmonised.of_concepts(harmonised.MIMIC_OXYGEN, harmonised.MIMIC_CHARTED),
        LABS: harmonised.of_concepts(harmonised.MIMIC_GAS_OXYGEN, harmonised.MIMIC_LABORATORY),
    }
    events = pl.concat([series.within(_scratch(context, source), chosen) for source, chosen in slices.items()])
    return block(context, events, CHARTED, harmonised.MIMIC_OXYGEN, harmonised.hourly, "harmonised oxygen")


def _body(context: BuildContext) -> ColumnBlock:
    """Height and weight on admission, the last values by the landmark."""
    chosen = harmonised.of_concepts(harmonised.MIMIC_BODY, harmonised.MIMIC_CHARTED)
    events = series.within(_scratch(context, CHARTED), chosen)

    def write(out: FloatArray) -> BoolArray:
        known = by_admission(events, linking.windows(context.rows)).collect(engine="streaming")
        found = series.latest(series.last_revisions(known))
        out[:] = np.nan
        out[found["row_id"].to_numpy(), found["concept"].to_numpy()] = found["value"].to_numpy()
        present: BoolArray = np.logical_or.reduce(np.isfinite(out), axis=1)
        return present

    return ColumnBlock([concept.name for concept in harmonised.MIMIC_BODY], write)


MODALITIES: Mapping[str, ModalitySpec] = {
    "harmonised_person": ModalitySpec(kind="table", block=_person),
    "harmonised_body": ModalitySpec(kind="table", tables=("chartevents",), block=_body),
    "harmonised_demographics": ModalitySpec(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": ModalitySpec(kind="table", tables=("chartevents",), block=_vitals),
    "harmonised_oxygen": ModalitySpec(kind="table", tables=("chartevents", "labevents"), block=_oxygen),
    **{
        f"harmonised_{panel}": ModalitySpec(kind="table", tables=("labevents",), block=partial(_labs, panel))
        for panel in harmonised.PANELS
    },
}
