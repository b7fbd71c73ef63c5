"""Sets of concepts beyond `labs` and `vitals`; those of a table are read in one pass, when the first is asked for."""

from collections.abc import Mapping, Sequence

import polars as pl

from data_modules.databases.mimic_iv.concepts import NEUROLOGY, SPECIAL_LABS, URINALYSIS, VITALS
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, keep
from data_modules.databases.mimic_iv.respiration import RESPIRATION
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext

WEIGHT = tuple(concept for concept in VITALS if concept.name == "weight")
SETS: Mapping[Measured, Mapping[str, Sequence[Concept]]] = {
    LABS: {"special_labs": SPECIAL_LABS, "urinalysis": URINALYSIS},
    CHARTED: {"neurology": NEUROLOGY, "respiration": RESPIRATION, "weight": WEIGHT},
}
"""Table -> set -> concepts."""


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
