"""Named records of eICU: units, ranges, oxygen, and the hours of a summary."""

import math

import pytest

from data_modules.databases.eicu.concepts import APERIODIC, LABS, PERIODIC
from tests.helpers import records
from tests.helpers.eicu import DAY, features_of, stay, write_release

EVERY = (*LABS, *PERIODIC, *APERIODIC)
PLAIN = [concept for concept in EVERY if not concept.fraction and concept.above is None]
"""Concepts whose values are taken as they are."""


def converted(label, value, unit=None, text=None):
    return records.converted(EVERY, label, value, unit, text)


@pytest.fixture(scope="module")
def ends():
    return records.at_the_ends(EVERY, PLAIN)


@pytest.mark.parametrize("concept", PLAIN, ids=lambda concept: concept.name)
def test_both_ends_of_a_plausible_range_are_kept_and_nothing_beyond(ends, concept):
    kept = [[(concept.name, float(end), "usable")] for end in (concept.low, concept.high)]
    assert ends[concept.name] == [*kept, *[[(concept.name, None, "out of range")]] * 2]


@pytest.mark.parametrize(
    ("label", "value", "unit", "name", "expected"),
    [
        ("FiO2", 0.4, None, "fio2", 40.0),
        ("FiO2", 1.0, "%", "fio2", 100.0),
        ("FiO2", 0.2, "", "fio2", 20.0),
        ("FiO2", 21.0, "%", "fio2", 21.0),
        ("FiO2", 100.0, "%", "fio2", 100.0),
        ("creatinine", 88.4, "umol/L", "creatinine", 1.0),
        ("creatinine", 1.2, "mg/dL", "creatinine", 1.2),
        ("glucose", 10.0, " MMOL/L ", "glucose", 180.16),
        ("ionized calcium", 2.5, "mg/dL", "ionized_calcium", 2.5),
        ("ionized calcium", 4.008, "mmol/L", "ionized_calcium", 1.0),
        ("temperature", 37.0, None, "temperature", 37.0),
        ("temperature", 98.6, None, "temperature", 37.0),
    ],
)
def test_a_value_is_converted_to_the_unit_of_its_concept(label, value, unit, name, expected):
    assert converted(label, value, unit) == [(name, pytest.approx(expected, abs=1e-3), "usable")]


@pytest.mark.parametrize(
    ("label", "value", "unit", "problem"),
    [
        ("FiO2", 0.19, "%", "out of range"),
        ("FiO2", 1.01, "%", "out of range"),
        ("FiO2", 100.1, "%", "out of range"),
        ("ionized calcium", 0.1, "mmol/L", "out of range"),
        ("temperature", 121.0, None, "out of range"),
        ("sodium", None, "mmol/L", "unreadable"),
        ("sodium", 140.0, "drops", "unknown unit"),
        ("RBC", 4.2, "10", "unknown unit"),
    ],
)
def test_a_record_without_a_usable_value_is_kept_and_says_why(label, value, unit, problem):
    assert [found[1:] for found in converted(label, value, unit)] == [(None, problem)]


@pytest.mark.parametrize(
    ("label", "value", "unit"),
    [
        ("FiO2", 40.0, "lpm"),
        ("FiO2", 40.0, " L/min "),
        ("FiO2", 0.5, "mm Hg"),
        ("FiO2", 40.0, "LPM O2"),
        ("fio2", 40.0, "%"),
        ("cardiacoutput", 0.0, None),
    ],
)
def test_another_quantity_an_unknown_label_and_a_number_for_missing_are_no_record(label, value, unit):
    assert converted(label, value, unit) == []


def test_lags_and_slopes_of_a_summary_are_reported_in_hours(tmp_path):
    labs = [
        {
            "labid": number,
            "patientunitstayid": 1,
            "labname": "sodium",
            "labresult": value,
            "labresultoffset": DAY - before,
            "labresultrevisedoffset": DAY - before,
            "labmeasurenameinterface": "mmol/L",
        }
        for number, (before, value) in enumerate([(210, 135.0), (90, 141.0)])
    ]
    release = write_release(tmp_path / "release", [stay(1), stay(2)], lab=labs)
    found = features_of(release, "labs", tmp_path, index="every")
    assert found[2] is None
    summary = {name: found[1][f"sodium/{name}"] for name in ("count", "first", "last", "slope", "hours_since_last")}
    assert summary == {"count": 2, "first": 135, "last": 141, "slope": 3, "hours_since_last": 1.5}
    assert found[1]["potassium/count"] == found[1]["potassium/observed"] == 0
    assert math.isnan(found[1]["potassium/last"])
