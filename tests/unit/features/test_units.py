"""Units as hospitals write them, and their factors as they are published."""

import polars as pl
import pytest

from data_modules.databases.eicu.concepts import LABS as EICU_LABS
from data_modules.databases.mimic_iv.concepts import LABS as MIMIC_LABS
from data_modules.databases.mimic_iv.concepts import VITALS
from data_modules.features import units
from data_modules.features.concepts import convert
from tests.helpers.records import converted

LABS = {concept.name: concept for concept in (*EICU_LABS, *MIMIC_LABS)}

THOUSANDS = (
    "K/uL", "K/mcL", "k/mm3", "K/CMM", "k/mm cu", "K/cumm", "TH/uL", "th/cumm", "THS/uL", "THOU/UL", "thou/cumm",
    "Thous/mcL", "thousand/uL", "10(3)/mcL", "10(3)mcL", "10*3/uL", "10^3/uL", "10E3/mcL", "x10 (3)", "X 10 3",
    "x10 3/uL", "x10(3)/mcL", "x10E3/uL", "10*9/l", "10^9/L", "x10E9/L", "bil/L",
)  # fmt: skip
MILLIONS = (
    "m/uL", "M/CMM", "M/mm3", "m/mm cu", "MIL/uL", "MIL/CMM", "mil/mcL", "mill/uL", "mill/cumm", "mi/cumm",
    "million/uL", "10*6/uL", "10(6)/mcL", "10E6/mcL", "x10 (6)", "X 10 6", "x10 6/uL", "x10(6)/mcL", "10*12/l",
)  # fmt: skip
SINGLE = ("/uL", "/UL", "/cumm", "/cu mm", "cells/uL", "cells/mm3", "#/cumm")
SAME = {
    "wbc": THOUSANDS,
    "rbc": MILLIONS,
    "hemoglobin": ("g/dL", "G/DL", "gm/dL", "GM/DL", "g%"),
    "creatinine": ("mg/dL", "MG/DL", " mg/dl ", "mgm/dL", "mg/100mL", "mg%", "mg/dL."),
    "troponin_i": ("ng/mL", "NG/ML", "ug/L", "mcg/L", "\N{MICRO SIGN}g/L", "\N{GREEK SMALL LETTER MU}g/L"),
    "sodium": ("mEq/L", "meq/L", "MEQ/L", "mmol/L", "MMOL/L", "mm/l", "MM/L"),
    "ast": ("IU/L", "U/L", "u/l", "Units/L", "unit/L", "unit(s)/L"),
    "pco2": ("mmHg", "mm Hg", "mm(hg)", "mm/hg", "MMHG", "mmHG", "Torr"),
    "pt": ("s", "sec", "SEC", "Secs", "sec.", "seconds", "SECONDS", "second(s)"),
    "hematocrit": ("%", " %", "percent", "vol %"),
    "oxygen_saturation": ("% Sat.", "%"),
    "methemoglobin": ("% total Hgb", "% THB"),
    "rdw": ("%cv", "%"),
    "mcv": ("fL", "FL", "fl", "U3", "um3", "cu um", "cu.u"),
    "mch": ("pg", "PG", "uug", "pg/cell"),
    "inr": ("ratio", "Ratio", "INR"),
    "bnp": ("pg/mL", "PG/ML", "ng/L"),
}
"""Concept -> spellings of its own unit."""
FACTORS = {
    ("wbc", SINGLE): 1e-3,
    ("rbc", SINGLE): 1e-6,
    ("creatinine", ("umol/L", "mcmol/L", "\N{MICRO SIGN}mol/L")): 1 / 88.4,
    ("glucose", ("mmol/L",)): 18.016,
    ("glucose", ("g/L",)): 100,
    ("bilirubin_total", ("umol/L",)): 1 / 17.1,
    ("calcium", ("mmol/L",)): 4.008,
    ("calcium", ("mEq/L",)): 2.004,
    ("magnesium", ("mmol/L",)): 2.431,
    ("magnesium", ("mEq/L", "meq/l")): 1.215,
    ("bun", ("mmol/L",)): 2.801,
    ("phosphate", ("mmol/L",)): 3.097,
    ("lactate", ("mg/dL",)): 1 / 9.008,
    ("lactate", ("umol/mL",)): 1,
    ("ionized_calcium", ("mEq/L",)): 1 / 2,
    ("pco2", ("kPa", "KPA")): 7.50062,
    ("po2", ("kPa",)): 7.50062,
    ("po2", ("cmH2O", "cm H2O")): 0.735559,
    ("hemoglobin", ("g/L",)): 0.1,
    ("hemoglobin", ("mmol/L",)): 1.6114,
    ("albumin", ("g/L", "mg/mL")): 0.1,
    ("albumin", ("mg/dL",)): 1e-3,
    ("fibrinogen", ("g/L",)): 100,
    ("crp", ("mg/dL", "MG/DL")): 10,
    ("crp", ("ug/mL", "mcg/mL")): 1,
    ("crp", ("g/L",)): 1000,
    ("troponin_t", ("ng/L", "pg/mL")): 1e-3,
    ("troponin_i", ("ng/dL",)): 0.01,
    ("d_dimer", ("ug/mL FEU", "mg/L FEU", "mcg/mL")): 1000,
    ("d_dimer", ("ng/mL FEU",)): 1,
    ("d_dimer", ("ng/mL DDU",)): 2,
    ("nt_probnp", ("pmol/L",)): 8.457,
    ("hematocrit", ("L/L",)): 100,
    ("ast", ("ukat/L", "\N{MICRO SIGN}kat/L", "mckat/L")): 60,
    ("ast", ("nkat/L",)): 0.06,
}
"""Concept and spellings of another unit -> published factor to the unit of the concept."""
CASES = [(name, spellings, 1.0) for name, spellings in SAME.items()] + [
    (name, spellings, factor) for (name, spellings), factor in FACTORS.items()
]


@pytest.mark.parametrize(("name", "spellings", "factor"), CASES)
def test_a_spelling_has_its_factor(name, spellings, factor):
    concept = LABS[name]
    usual = (max(concept.low, 0.01) * concept.high) ** 0.5
    records = pl.LazyFrame({"unit": spellings}).with_columns(
        name=pl.lit(concept.names[0], pl.Int64 if isinstance(concept.names[0], int) else pl.String),
        number=usual / factor,
        text=pl.lit(None, pl.String),
        spelled="unit",
    )
    found = dict(convert(records, [concept]).select("spelled", "value").collect().rows())
    assert found == dict.fromkeys(spellings, pytest.approx(usual, rel=1e-3))


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("wbc", "m/uL"),
        ("wbc", "%"),
        ("wbc", "10"),
        ("rbc", "K/uL"),
        ("rbc", "/HPF"),
        ("neutrophils", "K/uL"),
        ("basophils", "ug/L"),
        ("creatinine", "mg/24HR"),
        ("creatinine", "mEq/L"),
        ("troponin_t", "nmol/L"),
        ("crp", "mmol/L"),
        ("pco2", "mmol/L"),
        ("pt", "%"),
        ("pt", "min"),
        ("ast", "mg/dL"),
        ("sodium", "mOsm/kg"),
        ("inr", "sec"),
        ("ph", "mmHg"),
    ],
)
def test_the_unit_of_another_quantity_is_unknown(name, unit):
    concept = LABS[name]
    assert converted([concept], concept.names[0], concept.high, unit) == [(name, None, "unknown unit")]


def test_a_normal_form_is_its_own():
    spelled = [unit for _, spellings, _ in CASES for unit in spellings] + [
        "BPM",
        "Deg C",
        "&#176;F",
        "°C",
        "mcIU/mL",
        "MICRO IU/ML",
        "Inch",
    ]
    once = pl.DataFrame({"unit": spelled}).select(units.normal("unit"))
    assert once.select(units.normal("unit")).equals(once)
    assert once["unit"].n_unique() < len(spelled) / 2


@pytest.mark.parametrize("unit", ["", " ", None, "."])
def test_a_unit_without_letters_is_none(unit):
    assert pl.DataFrame({"unit": [unit]}, schema={"unit": pl.String}).select(units.normal("unit")).item() is None


def test_the_unit_of_every_lab_is_known_by_its_own_name():
    concepts = [*EICU_LABS, *MIMIC_LABS, *VITALS]
    normal = pl.DataFrame({"unit": [concept.unit for concept in concepts]}).select(units.normal("unit"))["unit"]
    known = [concept.conversions.get(own) for concept, own in zip(concepts, normal, strict=True)]
    lacking = {concept.name for concept, one in zip(concepts, known, strict=True) if one != (1.0, 0.0)}
    assert lacking == {"gcs_eye", "gcs_verbal", "gcs_motor"}
