"""The harmonised modalities, derived from MIMIC-IV."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.mimic_iv import linking
from data_modules.databases.mimic_iv.events import keep
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always
from data_modules.features.store import BoolArray, FloatArray


def _person(context: BuildContext) -> ColumnBlock:
    columns = harmonised.person(pl.col("age"), pl.col("gender") == "F")
    return always(context.rows.sort("row_id").select(columns))


def _scratch(context: BuildContext, table: str) -> Path:
    """The scratch file of a table's shared concepts; written on first use."""
    concepts, specimen = {
        "labevents": (harmonised.MIMIC_LABORATORY, "specimen_id"),
        "chartevents": (harmonised.MIMIC_CHARTED, None),
    }[table]
    path = context.scratch / f"harmonised_{table}.parquet"
    if not path.is_file():
        keep(context, table, concepts, specimen, path)
    return path


def _hourly(context: BuildContext, path: Path, concepts: Sequence[Concept], chosen: slice) -> ColumnBlock:
    """A block of hourly summaries of a slice of the concepts of a scratch file."""

    def known(events: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        return harmonised.hourly(linking.by_admission(harmonised.within(events, chosen), windows))

    def write(out: FloatArray) -> BoolArray:
        return series.write(path, linking.windows(context.rows), len(concepts), out, known)

    return ColumnBlock(series.column_names(concepts), write)


def _labs(panel: str, context: BuildContext) -> ColumnBlock:
    chosen = harmonised.of_panel(panel)
    return _hourly(context, _scratch(context, "labevents"), harmonised.MIMIC_LABS[chosen], chosen)


def _vitals(context: BuildContext) -> ColumnBlock:
    vitals = harmonised.MIMIC_VITALS
    chosen = harmonised.of_concepts(vitals, harmonised.MIMIC_CHARTED)
    return _hourly(context, _scratch(context, "chartevents"), vitals, chosen)


def _oxygen(context: BuildContext) -> ColumnBlock:
    """Inspired oxygen, charted or recorded with a blood gas."""
    slices = {
        "chartevents": harmonised.of_concepts(harmonised.MIMIC_OXYGEN, harmonised.MIMIC_CHARTED),
        "labevents": harmonised.of_concepts(harmonised.MIMIC_GAS_OXYGEN, harmonised.MIMIC_LABORATORY),
    }
    events = [harmonised.within(pl.scan_parquet(_scratch(context, table)), chosen) for table, chosen in slices.items()]
    path = context.scratch / "harmonised_oxygen.parquet"
    pl.concat(events).sink_parquet(path, compression="lz4")
    return _hourly(context, path, harmonised.MIMIC_OXYGEN, slice(0, 1))


def _body(context: BuildContext) -> ColumnBlock:
    """Height and weight on admission, the last values by the landmark."""
    path = _scratch(context, "chartevents")
    chosen = harmonised.of_concepts(harmonised.MIMIC_BODY, harmonised.MIMIC_CHARTED)

    def write(out: FloatArray) -> BoolArray:
        events = harmonised.within(pl.scan_parquet(path), chosen)
        found = harmonised.latest(linking.by_admission(events, linking.windows(context.rows))).collect()
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
