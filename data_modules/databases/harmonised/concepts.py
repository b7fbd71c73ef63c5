"""Concepts that MIMIC-IV and eICU share, so that a model of one can be evaluated on the other.

Names, units and pairs follow the harmonised dictionary of ricu (Bennett et al., GigaScience 2023), except for four labs
that it lacks (docs/transfer.md). The plausible range is the intersection of the ranges of both databases. Values are
limited to the 24 h before the landmark and averaged per hour, because monitors of eICU record every five minutes and
nurses of MIMIC-IV chart every hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu import demographics
from data_modules.databases.mimic_iv import concepts as mimic_concepts
from data_modules.features.concepts import Concept

WINDOW_HOURS = 24
MAX_AGE = 90.0
"""Years at which ages are cut: eICU records higher ages as `> 89`."""
DEMOGRAPHICS = ("harmonised_person", "harmonised_body")
"""Parts of `harmonised_demographics`, which is present in every row; height and weight are rarely missing."""
PERSON_NAMES = ("age", "female")
BODY_NAMES = ("height", "weight")
PANELS: Mapping[str, tuple[str, ...]] = {
    "chemistry": (
        "bicarbonate", "bun", "calcium", "chloride", "creatinine", "glucose", "magnesium", "phosphate",
        "potassium", "sodium",
    ),
    "blood_count": (
        "hematocrit", "hemoglobin", "mch", "mchc", "mcv", "platelets", "rbc", "rdw", "wbc", "neutrophils",
        "lymphocytes", "monocytes", "eosinophils", "basophils", "bands",
    ),
    "coagulation": ("inr", "pt", "ptt", "fibrinogen"),
    "liver": (
        "albumin", "total_protein", "alt", "alp", "ast", "bilirubin_total", "bilirubin_direct", "amylase", "ldh", "crp",
    ),
    "blood_gas": (
        "ph", "po2", "pco2", "base_excess", "lactate", "ionized_calcium", "oxygen_saturation", "methemoglobin",
    ),
    "cardiac": ("ck", "ck_mb", "troponin_t", "troponin_i"),
}  # fmt: skip
"""Labs that are ordered together: each panel is a modality, whose presence is whether it was ordered."""
LAB_NAMES = tuple(name for panel in PANELS.values() for name in panel)
VITAL_NAMES = ("heart_rate", "sbp", "dbp", "mbp", "respiratory_rate", "temperature", "spo2")


def _shared(names: Sequence[str], concepts: Sequence[Concept], others: Sequence[Concept]) -> tuple[Concept, ...]:
    """Named concepts of one database, in the intersection of the plausible ranges of both."""
    own = {concept.name: concept for concept in concepts}
    other = {concept.name: concept for concept in others}
    return tuple(
        replace(own[name], low=max(own[name].low, other[name].low), high=min(own[name].high, other[name].high))
        for name in names
    )


_MIMIC_LABS = (*mimic_concepts.LABS, *mimic_concepts.MORE_LABS)
_OXYGEN = ("fio2",)
MIMIC_LABS: tuple[Concept, ...] = _shared(LAB_NAMES, _MIMIC_LABS, eicu_concepts.LABS)
MIMIC_VITALS: tuple[Concept, ...] = _shared(VITAL_NAMES, mimic_concepts.VITALS, eicu_concepts.PERIODIC)
MIMIC_OXYGEN: tuple[Concept, ...] = _shared(_OXYGEN, mimic_concepts.VITALS, eicu_concepts.LABS)
MIMIC_GAS_OXYGEN: tuple[Concept, ...] = (replace(MIMIC_OXYGEN[0], names=(50816,)),)
"""Inspired oxygen recorded with a blood gas."""
MIMIC_BODY: tuple[Concept, ...] = tuple(
    # Only the weight on admission, as in eICU; item 224639 is the daily weight.
    replace(one, names=(226512,)) if one.name == "weight" else one
    for one in _shared(BODY_NAMES, mimic_concepts.VITALS, demographics.BODY)
)
MIMIC_CHARTED: tuple[Concept, ...] = (*MIMIC_VITALS, *MIMIC_OXYGEN, *MIMIC_BODY)
MIMIC_LABORATORY: tuple[Concept, ...] = (*MIMIC_LABS, *MIMIC_GAS_OXYGEN)
"""All concepts of labevents, as `MIMIC_CHARTED` has those of chartevents; each table is read once."""
EICU_LABS: tuple[Concept, ...] = tuple(
    replace(one, names=(*one.names, "bedside glucose")) if one.name == "glucose" else one
    for one in _shared(LAB_NAMES, eicu_concepts.LABS, _MIMIC_LABS)
)
EICU_VITALS: tuple[Concept, ...] = _shared(VITAL_NAMES, eicu_concepts.PERIODIC, mimic_concepts.VITALS)
EICU_OXYGEN: tuple[Concept, ...] = _shared(_OXYGEN, eicu_concepts.LABS, mimic_concepts.VITALS)
EICU_LABORATORY: tuple[Concept, ...] = (*EICU_LABS, *EICU_OXYGEN)
EICU_BODY: tuple[Concept, ...] = _shared(BODY_NAMES, demographics.BODY, mimic_concepts.VITALS)
CUFF = {
    "systemicsystolic": "noninvasivesystolic",
    "systemicdiastolic": "noninvasivediastolic",
    "systemicmean": "noninvasivemean",
}
"""Column of vitalPeriodic -> column of vitalAperiodic with the same pressure; MIMIC-IV's concepts join both."""


def of_panel(panel: str) -> slice:
    """Return the slice of a panel in the lists of labs.

    >>> [concept.name for concept in MIMIC_LABS[of_panel("cardiac")]]
    ['ck', 'ck_mb', 'troponin_t', 'troponin_i']
    """
    start = LAB_NAMES.index(PANELS[panel][0])
    return slice(start, start + len(PANELS[panel]))


def of_concepts(chosen: Sequence[Concept], all_of_them: Sequence[Concept]) -> slice:
    """Return the slice of consecutive concepts in a longer list.

    >>> of_concepts(MIMIC_BODY, MIMIC_CHARTED)
    slice(8, 10, None)
    """
    start = list(all_of_them).index(chosen[0])
    return slice(start, start + len(chosen))


def hourly(events: pl.DataFrame) -> pl.DataFrame:
    """Keep the last 24 h and round times up to whole hours, so that `series.summarise` averages the values of an hour.

    Args:
        events: input of `series.summarise`.

    Returns:
        The kept events.

    >>> hourly(pl.DataFrame({"hours": [-24.0, -23.9, -0.4, 0.0]}))["hours"].to_list()
    [-23.0, 0.0, 0.0]
    """
    # Cast to integer first: -0.0 and 0.0 would be two hours.
    recent = events.filter(pl.col("hours") > -WINDOW_HOURS)
    return recent.with_columns(pl.col("hours").ceil().cast(pl.Int32).cast(pl.Float64))


def person(age: pl.Expr, female: pl.Expr) -> list[pl.Expr]:
    """Return age in years, cut at 90, and female (1, 0 or null) under the shared names.

    >>> pl.DataFrame({"age": [93], "gender": ["F"]}).select(person(pl.col("age"), pl.col("gender") == "F")).rows()
    [(90.0, 1.0)]
    """
    values = (age.cast(pl.Float64).clip(upper_bound=MAX_AGE), female.cast(pl.Float64))
    return [value.alias(name) for name, value in zip(PERSON_NAMES, values, strict=True)]
