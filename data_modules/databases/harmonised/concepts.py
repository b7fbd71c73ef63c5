"""Concepts that MIMIC-IV and eICU share, so that a model of one can be evaluated on the other.

Names, units and pairs follow the harmonised dictionary of ricu (Bennett et al., GigaScience 2023), except for those
that it lacks (docs/transfer.md). The plausible range is the intersection of the ranges of both databases. Values are
limited to the 24 h before the landmark and averaged per hour, because monitors of eICU record every five minutes and
nurses of MIMIC-IV chart every hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu import demographics, nursing
from data_modules.databases.eicu import respiration as eicu_respiration
from data_modules.databases.mimic_iv import concepts as mimic_concepts
from data_modules.databases.mimic_iv import respiration as mimic_respiration
from data_modules.features.concepts import Concept

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
    "special_labs": ("lipase", "tsh"),
    "urinalysis": ("urine_specific_gravity", "urine_white_cells"),
}  # fmt: skip
"""Labs that are ordered together: each panel is a modality, whose presence is whether it was ordered."""
LAB_NAMES = tuple(name for panel in PANELS.values() for name in panel)
RESPIRATION_NAMES = (
    "oxygen_flow", "device_none", "device_nasal_cannula", "device_mask", "device_high_flow", "device_pressure_mask",
    "device_tracheostomy", "ventilated", "noninvasive_ventilation", "peep_set", "pressure_support", "peak_pressure",
    "plateau_pressure", "mean_airway_pressure", "tidal_volume_set", "tidal_volume", "tidal_volume_spontaneous",
    "respiratory_rate_set", "respiratory_rate_spontaneous", "minute_volume",
)  # fmt: skip
NURSE_VITAL_NAMES = ("temperature", "noninvasive_sbp", "noninvasive_dbp", "noninvasive_mbp", "pain_score")
VITAL_NAMES = ("heart_rate", "sbp", "dbp", "mbp", "respiratory_rate", "temperature", "spo2")


def _shared(names: Sequence[str], concepts: Sequence[Concept], others: Sequence[Concept]) -> tuple[Concept, ...]:
    """Named concepts of one database, in the intersection of the plausible ranges of both."""
    own = {concept.name: concept for concept in concepts}
    other = {concept.name: concept for concept in others}
    return tuple(
        replace(
            own[name],
            low=max(own[name].low, other[name].low),
            high=min(own[name].high, other[name].high),
            zero_is_missing=own[name].zero_is_missing or other[name].zero_is_missing,
        )
        for name in names
    )


_MIMIC_LABS = (
    *mimic_concepts.LABS, *mimic_concepts.MORE_LABS, *mimic_concepts.SPECIAL_LABS, *mimic_concepts.URINALYSIS,
)  # fmt: skip
_EICU_LABS = (*eicu_concepts.LABS, *eicu_concepts.MORE_LABS)
_OXYGEN = ("fio2",)
MIMIC_LABS: tuple[Concept, ...] = _shared(LAB_NAMES, _MIMIC_LABS, _EICU_LABS)
MIMIC_VITALS: tuple[Concept, ...] = _shared(VITAL_NAMES, mimic_concepts.VITALS, eicu_concepts.PERIODIC)
MIMIC_OXYGEN: tuple[Concept, ...] = _shared(_OXYGEN, mimic_concepts.VITALS, eicu_concepts.LABS)
MIMIC_GAS_OXYGEN: tuple[Concept, ...] = (replace(MIMIC_OXYGEN[0], names=(50816,)),)
"""Inspired oxygen recorded with a blood gas."""
MIMIC_BODY: tuple[Concept, ...] = tuple(
    # Only the weight on admission, as in eICU; item 224639 is the daily weight.
    replace(one, names=(226512,)) if one.name == "weight" else one
    for one in _shared(BODY_NAMES, mimic_concepts.VITALS, demographics.BODY)
)
MIMIC_RESPIRATION: tuple[Concept, ...] = _shared(
    RESPIRATION_NAMES, mimic_respiration.RESPIRATION, eicu_respiration.RESPIRATION
)
ITEMS = {"noninvasive_sbp": 220179, "noninvasive_dbp": 220180, "noninvasive_mbp": 220181, "pain_score": 223791}
"""Concept of `harmonised_nurse_vitals` -> its item of chartevents."""
_MIMIC_NURSE_VITALS = (
    *(one for one in mimic_concepts.VITALS if one.name == "temperature"),
    *(replace(one, names=(ITEMS[one.name],)) for one in nursing.NURSE_VITALS if one.name in ITEMS),
)
MIMIC_NURSE_VITALS: tuple[Concept, ...] = _shared(NURSE_VITAL_NAMES, _MIMIC_NURSE_VITALS, nursing.NURSE_VITALS)
MIMIC_CHARTED: tuple[Concept, ...] = (
    *MIMIC_VITALS, *MIMIC_OXYGEN, *MIMIC_BODY, *mimic_concepts.NEUROLOGY, *MIMIC_RESPIRATION, *MIMIC_NURSE_VITALS,
)  # fmt: skip
MIMIC_LABORATORY: tuple[Concept, ...] = (*MIMIC_LABS, *MIMIC_GAS_OXYGEN)
"""All concepts of labevents, as `MIMIC_CHARTED` has those of chartevents; each table is read once."""
EICU_LABS: tuple[Concept, ...] = tuple(
    replace(one, names=(*one.names, "bedside glucose")) if one.name == "glucose" else one
    for one in _shared(LAB_NAMES, _EICU_LABS, _MIMIC_LABS)
)
EICU_VITALS: tuple[Concept, ...] = _shared(VITAL_NAMES, eicu_concepts.PERIODIC, mimic_concepts.VITALS)
EICU_OXYGEN: tuple[Concept, ...] = _shared(_OXYGEN, eicu_concepts.LABS, mimic_concepts.VITALS)
EICU_LABORATORY: tuple[Concept, ...] = (*EICU_LABS, *EICU_OXYGEN)
EICU_RESPIRATION: tuple[Concept, ...] = _shared(
    RESPIRATION_NAMES, eicu_respiration.RESPIRATION, mimic_respiration.RESPIRATION
)
NEUROLOGY: tuple[Concept, ...] = nursing.NEUROLOGY
"""Total and parts of the coma scale, and RASS; of both databases."""
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
    listed, wanted = list(all_of_them), list(chosen)
    # The first concept alone may be listed twice: temperature is one of two modalities.
    start = next(place for place in range(len(listed)) if listed[place : place + len(wanted)] == wanted)
    return slice(start, start + len(wanted))


def person(age: pl.Expr, female: pl.Expr) -> list[pl.Expr]:
    """Return age in years, cut at 90, and female (1, 0 or null) under the shared names.

    >>> pl.DataFrame({"age": [93], "gender": ["F"]}).select(person(pl.col("age"), pl.col("gender") == "F")).rows()
    [(90.0, 1.0)]
    """
    values = (age.cast(pl.Float64).clip(upper_bound=MAX_AGE), female.cast(pl.Float64))
    return [value.alias(name) for name, value in zip(PERSON_NAMES, values, strict=True)]
