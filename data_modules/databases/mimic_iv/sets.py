"""Sets of concepts beyond `labs` and `vitals`; those of a table are read in one pass, when the first is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from data_modules.databases.mimic_iv.coma import GCS_PARTS
from data_modules.databases.mimic_iv.concepts import LABS as LAB_CONCEPTS
from data_modules.databases.mimic_iv.concepts import NEUROLOGY, SPECIAL_LABS, URINALYSIS, VITALS
from data_modules.databases.mimic_iv.events import CHARTED, LABS, Measured, keep
from data_modules.databases.mimic_iv.respiration import INVASIVE, NONINVASIVE, RESPIRATION
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext


def _named(concepts: Sequence[Concept], *names: str) -> tuple[Concept, ...]:
    by_name = {concept.name: concept for concept in concepts}
    return tuple(by_name[name] for name in names)


WEIGHT = _named(VITALS, "weight")
ARTERIAL = Concept(name="arterial", unit="1", low=0, high=1, names=(52033,), states=("art.",))
"""Whether the specimen of a blood gas is arterial."""
SCORED_LABS = (
    *_named(
        LAB_CONCEPTS, "bicarbonate", "bilirubin_total", "bun", "creatinine", "platelets", "potassium", "sodium", "wbc",
        "po2",
    ),
    *(replace(concept, name="fio2_gas") for concept in _named(LAB_CONCEPTS, "fio2")),
    ARTERIAL,
)  # fmt: skip
SCORED_VITALS = (
    *NEUROLOGY[:GCS_PARTS],
    *_named(VITALS, "heart_rate", "sbp", "mbp", "respiratory_rate", "temperature", "fio2"),
    INVASIVE,
    NONINVASIVE,
)
"""What the scores read."""
SETS: Mapping[Measured, Mapping[str, Sequence[Concept]]] = {
    LABS: {"special_labs": SPECIAL_LABS, "urinalysis": URINALYSIS, "scores": SCORED_LABS},
    CHARTED: {"neurology": NEUROLOGY, "respiration": RESPIRATION, "weight": WEIGHT, "scores": SCORED_VITALS},
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
