"""What counts as known at the landmark, event by event, at its boundaries."""

import math

import pytest

from tests.helpers.eicu import DAY, features_of, stay, write_release

EVERY = {"index": "every", "landmark": "unit_24h"}
STAYS = [stay(1), stay(2)]


def lab(at, value, revised="", name="creatinine", unit="mg/dL", stay_id=1):
    return {
        "patientunitstayid": stay_id,
        "labresultoffset": at,
        "labresultrevisedoffset": revised,
        "labname": name,
        "labresult": value,
        "labmeasurenameinterface": unit,
    }


def labs_of(tmp_path, *rows):
    release = write_release(tmp_path, STAYS, lab=[*rows, lab(10, 1.0, stay_id=2)])
    return features_of(release, "labs", tmp_path, **EVERY)[1]


@pytest.mark.parametrize(
    ("at", "revised", "known"),
    [
        (DAY, "", True),
        (DAY + 1, "", False),
        (60, DAY, True),
        (DAY + 1, DAY, False),
        (90, 60, True),
        (-600, -590, True),
    ],
)
def test_a_lab_counts_if_it_was_taken_and_revised_by_the_landmark(tmp_path, at, revised, known):
    assert (labs_of(tmp_path, lab(at, 1.5, revised)) is not None) == known


def test_a_lab_that_is_drawn_but_not_yet_revised_is_ordered_and_not_observed(tmp_path):
    found = labs_of(tmp_path, lab(60, 1.5, DAY + 1))
    assert [found[f"creatinine/{part}"] for part in ("ordered", "observed", "count")] == [1, 0, 0]
    assert math.isnan(found["creatinine/last"])


def test_of_several_revisions_the_last_that_was_known_holds(tmp_path):
    found = labs_of(tmp_path, lab(60, 1.0, 90), lab(60, 2.0, 95), lab(60, 3.0, DAY + 1))
    assert (found["creatinine/count"], found["creatinine/last"]) == (1, 2.0)


def test_results_that_contradict_each_other_are_dropped_and_equal_ones_are_one(tmp_path):
    found = labs_of(tmp_path, lab(60, 1.0, 90), lab(60, 9.0, 90), lab(70, 2.0, 90), lab(70, 2.0, 90), lab(80, 4.0, 90))
    assert (found["creatinine/count"], found["creatinine/first"], found["creatinine/last"]) == (2, 2.0, 4.0)


def test_a_contradiction_leaves_the_revision_before_it(tmp_path):
    found = labs_of(tmp_path, lab(60, 1.0, 90), lab(60, 2.0, 95), lab(60, 3.0, 95))
    assert found["creatinine/last"] == 1.0


@pytest.mark.parametrize(
    ("name", "value", "unit", "column", "expected"),
    [
        ("creatinine", 28.28, "mg/dL", "creatinine", 28.28),
        ("creatinine", 28.29, "mg/dL", "creatinine", math.nan),
        ("ionized calcium", 1.2, "mg/dL", "ionized_calcium", 1.2),
        ("ionized calcium", 4.8, "mmol/L", "ionized_calcium", 4.8 / 4.008),
        ("magnesium", 1.4, "meq/L", "magnesium", 1.4 * 1.215),
        ("magnesium", 1.4, " MG/DL", "magnesium", 1.4),
        ("CRP", 12, "mg/dL", "crp", 120),
        ("creatinine", 884, "umol/L", "creatinine", 10),
        ("creatinine", 20, "\u00b5mol/L", "creatinine", 20 / 88.4),
        ("total bilirubin", 17.1, "mcmol/L", "bilirubin_total", 1),
        ("bedside glucose", 10, "mmol/L", "glucose_bedside", 180.16),
        ("Hgb", 100, "g/L", "hemoglobin", 10),
        ("platelets x 1000", 200, "THS/uL", "platelets", 200),
        ("CRP", 12, "MG/L", "crp", 12),
        ("FiO2", 0.4, "", "fio2", 40),
        ("FiO2", 40, "%", "fio2", 40),
        ("FiO2", 10000, "%", "fio2", math.nan),
        ("FiO2", 1, "LPM", "fio2", None),
        ("FiO2", 1, "L/min", "fio2", None),
        ("FiO2", 40, "mm(Hg)", "fio2", None),
        ("Creatinine", 1.0, "mg/dL", "creatinine", None),
    ],
)
def test_units_and_ranges_of_labs(tmp_path, name, value, unit, column, expected):
    found = labs_of(tmp_path, lab(60, value, "", name, unit))
    if expected is None:
        assert found is None
    else:
        assert found[f"{column}/last"] == pytest.approx(expected, rel=5e-4, nan_ok=True)


@pytest.mark.parametrize(("recorded", "expected"), [(37.5, 37.5), (98.6, 37.0), (15, None), (69, None)])
def test_a_temperature_above_seventy_is_fahrenheit(tmp_path, recorded, expected):
    rows = [{"patientunitstayid": 1, "observationoffset": 5, "temperature": recorded, "heartrate": 80}]
    found = features_of(write_release(tmp_path, STAYS, vitalPeriodic=rows), "vitals_periodic", tmp_path, **EVERY)
    value = found[1]["temperature/last"]
    assert math.isnan(value) if expected is None else value == pytest.approx(expected, rel=1e-4)
    assert found[2] is None


ORDERS = ("drugorderoffset", "drugstartoffset")


@pytest.mark.parametrize(
    ("ordered", "started", "cancelled", "known"),
    [
        (DAY, DAY, "No", True),
        (DAY + 1, 10, "No", False),
        (10, DAY + 1, "No", False),
        (10, 10, "Yes", True),
        (-500, -300, "No", True),
    ],
)
def test_an_order_counts_if_it_was_written_and_begun_even_if_it_is_cancelled_some_day(
    tmp_path, ordered, started, cancelled, known
):
    order = {
        "patientunitstayid": 1,
        "drugorderoffset": ordered,
        "drugstartoffset": started,
        "drugname": " Heparin 5000 ",
    }
    release = write_release(tmp_path, STAYS, medication=[{**order, "drugordercancelled": cancelled}])
    found = features_of(release, "medications", tmp_path, **EVERY)
    assert (found[1] is not None) == known
    if known:
        assert found[1]["drug/heparin 5000"] == 1


def test_a_drug_without_a_name_goes_by_its_number_and_unites_spellings(tmp_path):
    order = {"patientunitstayid": 1, "drugorderoffset": 1, "drugstartoffset": 1, "drugordercancelled": "No"}
    rows = [
        {**order, "drughiclseqno": 2810},
        {**order, "drughiclseqno": 2810, "drugname": "HEPARIN"},
        {**order, "drugname": "Senna"},
    ]
    found = features_of(write_release(tmp_path, STAYS, medication=rows), "medications", tmp_path, **EVERY)[1]
    assert found == {"drug/hicl/2810": 1, "drug/senna": 1, "drug/distinct": 2}


HISTORY = "notes/Progress Notes/Past History/Past History Obtain Options/No Health Problems"


@pytest.mark.parametrize(
    ("at", "entered", "known"), [(5, DAY, True), (5, DAY + 1, False), (DAY + 1, 5, False), (5, "", True)]
)
def test_no_health_problems_is_a_history_once_it_was_entered_and_no_row_is_none(tmp_path, at, entered, known):
    row = {
        "patientunitstayid": 1,
        "pasthistoryoffset": at,
        "pasthistoryenteredoffset": entered,
        "pasthistorypath": HISTORY,
    }
    found = features_of(write_release(tmp_path, STAYS, pastHistory=[row]), "history", tmp_path, **EVERY)
    assert (found[1] is not None) == known
    assert found[2] is None


def test_events_of_another_stay_of_the_same_subject_are_not_this_stay_s(tmp_path):
    stays = [stay(1, person="a", admission=9), stay(2, person="a", admission=9, begins=3 * DAY, unitvisitnumber=2)]
    release = write_release(tmp_path, stays, lab=[lab(10, 1.0, stay_id=1)])
    found = features_of(release, "labs", tmp_path, **EVERY)
    assert found[1] is not None
    assert found[2] is None


@pytest.mark.parametrize(
    ("cells", "column", "expected"),
    [
        ({"admissionheight": "170.2"}, "height_cm", 170.2),
        ({"admissionheight": "600"}, "height_cm", math.nan),
        ({"admissionweight": "0.5"}, "weight_kg", math.nan),
        ({"hospitaladmitoffset": "-90"}, "hours_in_hospital_before", 1.5),
        ({"hospitaladmitoffset": "8696"}, "hours_in_hospital_before", math.nan),
        ({"gender": ""}, "gender/Male", math.nan),
        ({"gender": "Male"}, "gender/Male", 1),
        ({"gender": "Unknown"}, "gender/Male", math.nan),
        ({"gender": "UNKNOWN "}, "gender/Female", math.nan),
        ({"gender": "Other"}, "gender/Female", 0),
        ({"age": "> 89"}, "age", 90),
    ],
)
def test_demographics_at_their_limits(tmp_path, cells, column, expected):
    release = write_release(tmp_path, [stay(1, **cells), stay(2)])
    found = features_of(release, "demographics", tmp_path, **EVERY)[1]
    assert found[column] == pytest.approx(expected, rel=1e-5, nan_ok=True)
