"""Sets of concepts of labs and charted values; those of a table that a cohort needs are read in one pass.

A concept of several sets is converted and kept once.
"""

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
    LABS: {"labs": LAB_CONCEPTS, "special_labs": SPECIAL_LABS, "urinalysis": URINALYSIS, "scores": SCORED_LABS},
    CHARTED: {
        "vitals": VITALS,
        "neurology": NEUROLOGY,
        "respiration": RESPIRATION,
        "weight": WEIGHT,
        "scores": SCORED_VITALS,
    },
}
"""Table -> set -> concepts."""
READ_BY = {"weight": ("fluids",), "scores": ("scores", "harmonised_scores")}
"""Set -> the modalities that read it; others are read by the modality of their name."""


def events(context: BuildContext, source: Measured, name: str) -> pl.LazyFrame:
    """The events of a set, with `concept` relative to it; those of all sets that the cohort needs are kept at once."""
    asked = [one for one in SETS[source] if set(READ_BY.get(one, (one,))) & set(context.modalities)]
    together = asked if name in asked else [name]
    concepts = distinct([concept for one in together for concept in SETS[source][one]])
    path = context.scratch / f"{source.table}_{'_'.join(together)}.parquet"
    if not path.is_file():
        keep(context, source, concepts, path)
    anonymous = [replace(concept, name="") for concept in concepts]
    places = [anonymous.index(replace(concept, name="")) for concept in SETS[source][name]]
    return series.picked(pl.scan_parquet(path), places)


def distinct(concepts: Sequence[Concept]) -> list[Concept]:
    """Return concepts without those that differ from an earlier one in nothing but the name.

    >>> fio2 = Concept(name="fio2", unit="%", low=20, high=100, names=(50816,), fraction=True)
    >>> [one.name for one in distinct([fio2, replace(fio2, name="fio2_gas"), replace(fio2, low=0)])]
    ['fio2', 'fio2']
    """
    found: list[Concept] = []
    unnamed: list[Concept] = []
    for concept in concepts:
        bare = replace(concept, name="")
        if bare not in unnamed:
            unnamed.append(bare)
            found.append(concept)
    return found
