"""SAPS II, OASIS and Charlson's index at every step of the published tables."""

from dataclasses import fields
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.features import charlson
from data_modules.features.oasis import OasisValues, oasis_points
from data_modules.features.saps import SapsValues, saps_points

MEDICAL, NOT_ELECTIVE = 6, 6
"""Points of a medical admission in SAPS II, and of one that is not for elective surgery in OASIS."""
SAPS_STEPS: list[tuple[tuple[str, ...], dict[float, int]]] = [
    (("age",), {39: 0, 40: 7, 59: 7, 60: 12, 69: 12, 70: 15, 74: 15, 75: 16, 79: 16, 80: 18}),
    (("heart_rate_min", "heart_rate_max"), {39: 11, 40: 2, 69: 2, 70: 0, 119: 0, 120: 4, 159: 4, 160: 7}),
    (("sbp_min", "sbp_max"), {69: 13, 70: 5, 99: 5, 100: 0, 199: 0, 200: 2}),
    (("temperature_max",), {38.9: 0, 39: 3}),
    (("pf_supported",), {99: 11, 100: 9, 199: 9, 200: 6, 500: 6}),
    (("urine",), {499: 11, 500: 4, 999: 4, 1000: 0}),
    (("bun_max",), {27: 0, 28: 6, 83: 6, 84: 10}),
    (("wbc_min", "wbc_max"), {0.9: 12, 1: 0, 19.9: 0, 20: 3}),
    (("potassium_min", "potassium_max"), {2.9: 3, 3: 0, 4.9: 0, 5: 3}),
    (("sodium_min", "sodium_max"), {124: 5, 125: 0, 144: 0, 145: 1}),
    (("bicarbonate_min",), {14: 6, 15: 3, 19: 3, 20: 0}),
    (("bilirubin_max",), {3.9: 0, 4: 4, 5.9: 4, 6: 9}),
    (("gcs_min",), {5: 26, 6: 13, 8: 13, 9: 7, 10: 7, 11: 5, 13: 5, 14: 0, 15: 0}),
]
OASIS_STEPS: list[tuple[tuple[str, ...], dict[float, int]]] = [
    (("hours_before_unit",), {0.1: 5, 0.2: 3, 4.9: 3, 4.95: 0, 24: 0, 24.1: 2, 311.8: 2, 312: 1}),
    (("age",), {23: 0, 24: 3, 53: 3, 54: 6, 77: 6, 78: 9, 89: 9, 90: 7}),
    (("gcs_min",), {3: 10, 7: 10, 8: 4, 13: 4, 14: 3, 15: 0}),
    (("heart_rate_min", "heart_rate_max"), {32: 4, 33: 0, 88: 0, 89: 1, 106: 1, 107: 3, 125: 3, 126: 6}),
    (("mbp_min", "mbp_max"), {20: 4, 21: 3, 50.9: 3, 51: 2, 61.3: 2, 61.4: 0, 143: 0, 144: 3}),
    (
        ("respiratory_rate_min", "respiratory_rate_max"),
        {5: 10, 6: 1, 12: 1, 13: 0, 22: 0, 23: 1, 30: 1, 31: 6, 44: 6, 45: 9},
    ),
    (
        ("temperature_min", "temperature_max"),
        {33.2: 3, 33.3: 4, 35.9: 4, 36: 2, 36.3: 2, 36.4: 0, 36.8: 0, 36.9: 2, 39.8: 2, 39.9: 6},
    ),
    (("urine",), {671: 10, 672: 5, 1426: 5, 1427: 1, 2544: 1, 2545: 0, 6896: 0, 6897: 8}),
]


def of(kind: type[Any], rows: int = 1, **given: Any) -> Any:
    """Values of rows, all others unknown or False."""
    flags = {"metastatic", "hematologic", "aids", "scheduled_surgery", "unscheduled_surgery", "ventilated"}
    usual = {
        field.name: np.full(rows, False) if field.name in {*flags, "elective_surgery"} else np.full(rows, np.nan)
        for field in fields(kind)
    }
    return kind(**{**usual, **{name: np.asarray(value) for name, value in given.items()}})


@pytest.mark.parametrize(("names", "steps"), SAPS_STEPS, ids=[names[0] for names, _ in SAPS_STEPS])
def test_every_step_of_saps_gives_its_points(names: tuple[str, ...], steps: dict[float, int]) -> None:
    for name in names:
        found = saps_points(of(SapsValues, len(steps), **{name: [float(value) for value in steps]}))
        assert (found - MEDICAL).tolist() == list(steps.values()), name


@pytest.mark.parametrize(("names", "steps"), OASIS_STEPS, ids=[names[0] for names, _ in OASIS_STEPS])
def test_every_step_of_oasis_gives_its_points(names: tuple[str, ...], steps: dict[float, int]) -> None:
    for name in names:
        found = oasis_points(of(OasisValues, len(steps), **{name: [float(value) for value in steps]}))
        assert (found - NOT_ELECTIVE).tolist() == list(steps.values()), name


def test_of_a_lowest_and_a_highest_value_the_worse_counts() -> None:
    both: dict[str, Any] = {"heart_rate_min": [60.0], "heart_rate_max": [130.0]}
    assert saps_points(of(SapsValues, **both)).tolist() == [MEDICAL + 4]
    assert oasis_points(of(OasisValues, **both)).tolist() == [NOT_ELECTIVE + 6]


@pytest.mark.parametrize(
    ("flags", "points"),
    [
        ({}, 6), ({"scheduled_surgery": [True]}, 0), ({"unscheduled_surgery": [True]}, 8),
        ({"metastatic": [True]}, 15), ({"metastatic": [True], "hematologic": [True]}, 16),
        ({"metastatic": [True], "aids": [True]}, 23),
    ],
)  # fmt: skip
def test_the_kind_of_admission_and_the_worst_chronic_disease_have_points_in_saps(flags: Any, points: int) -> None:
    assert saps_points(of(SapsValues, **flags)).tolist() == [points]


def test_ventilation_and_elective_surgery_have_points_in_oasis() -> None:
    assert oasis_points(of(OasisValues, ventilated=[True])).tolist() == [15]
    assert oasis_points(of(OasisValues, elective_surgery=[True])).tolist() == [0]


CODES = {
    "myocardial_infarction": ("41071", "I214"),
    "heart_failure": ("4280", "I5023"),
    "peripheral_vascular": ("4439", "I739"),
    "cerebrovascular": ("43491", "I639"),
    "dementia": ("3312", "G309"),
    "chronic_pulmonary": ("496", "J449"),
    "rheumatic": ("7140", "M069"),
    "peptic_ulcer": ("53140", "K254"),
    "mild_liver": ("5712", "K7030"),
    "diabetes": ("25000", "E119"),
    "diabetes_complicated": ("25060", "E1140"),
    "paralysis": ("3429", "G8194"),
    "renal": ("5856", "N186"),
    "cancer": ("1629", "C3490"),
    "severe_liver": ("5723", "K766"),
    "metastatic_cancer": ("1970", "C7800"),
    "aids": ("042", "B20"),
}


@pytest.mark.parametrize(("name", "codes"), CODES.items())
def test_a_disease_is_found_by_its_codes_of_both_versions_and_no_other_is(name: str, codes: tuple[str, str]) -> None:
    frame = pl.DataFrame({"icd_code": codes, "icd_version": [9, 10]})
    found = {
        other: frame.select(charlson.has(disease)).to_series().all() for other, disease in charlson.DISEASES.items()
    }
    assert [other for other, there in found.items() if there] == [name]


@pytest.mark.parametrize(("code", "version"), [("I21", 9), ("1739", 9), ("C449", 10), ("401", 9), ("Z20", 10)])
def test_a_code_of_another_version_or_disease_is_none(code: str, version: int) -> None:
    frame = pl.DataFrame({"icd_code": [code], "icd_version": [version]})
    assert not any(frame.select(charlson.has(disease)).item() for disease in charlson.DISEASES.values())


@pytest.mark.parametrize(
    ("diseases", "index"),
    [
        (set(charlson.DISEASES) - {"severe_liver", "diabetes_complicated", "metastatic_cancer"}, 22),
        (set(charlson.DISEASES), 29),
        ({"mild_liver", "severe_liver"}, 3), ({"diabetes", "diabetes_complicated"}, 2),
        ({"cancer", "metastatic_cancer"}, 6), ({"aids"}, 6), ({"renal", "paralysis"}, 4), (set(), 0),
    ],
)  # fmt: skip
def test_the_index_adds_weights_and_a_severe_form_replaces_the_mild_one(diseases: set[str], index: int) -> None:
    flags = {name: np.array([name in diseases]) for name in charlson.DISEASES}
    assert charlson.charlson_points(flags).tolist() == [index]
