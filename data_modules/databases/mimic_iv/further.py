"""Measurements beyond `labs` and `vitals`, each set a modality of its own, which the default modalities do not have.

The sets of a table are read in one pass, when the first of them is written.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from data_modules.databases.mimic_iv.concepts import SPECIAL_LABS, URINALYSIS
from data_modules.databases.mimic_iv.events import LABS, Measured, block, keep
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec

SETS: Mapping[Measured, Mapping[str, Sequence[Concept]]] = {
    LABS: {"special_labs": SPECIAL_LABS, "urinalysis": URINALYSIS},
}
"""Table -> set -> concepts; most sets are modalities."""


def events(context: BuildContext, source: Measured, name: str) -> pl.LazyFrame:
    """The events of a set, with `concept` relative to it; those of all sets of the table are kept on first use."""
    sets = SETS[source]
    concepts = [concept for some in sets.values() for concept in some]
    path = context.scratch / f"further_{source.table}.parquet"
    if not path.is_file():
        keep(context, source, concepts, path)
    names = list(sets)
    start = sum(len(sets[earlier]) for earlier in names[: names.index(name)])
    return series.within(pl.scan_parquet(path), slice(start, start + len(sets[name])))


def _block(source: Measured, name: str, context: BuildContext) -> ColumnBlock:
    return block(context, events(context, source, name), source, SETS[source][name], counted_as=name)


def _measured(source: Measured, name: str) -> ModalitySpec:
    return ModalitySpec(kind="table", tables=(source.table,), block=partial(_block, source, name))


FURTHER: Mapping[str, ModalitySpec] = {name: _measured(LABS, name) for name in ("special_labs", "urinalysis")}
