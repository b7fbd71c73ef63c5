"""MIMIC-IV-ED and MIMIC-IV-ECG on rows written by hand; no row of either release was read."""

import math

import polars as pl
import pytest

from data_modules.databases.registry import database
from tests.helpers.mimic_iv import admission, cells_in_the_unit, context_of, moment, patient, stay, write_release

LANDMARK = moment(2)
ARRIVAL = moment(0, hours=-5)


def arrival(**cells):
    usual = {"subject_id": 1, "hadm_id": 1, "stay_id": 70, "intime": ARRIVAL, "outtime": moment(0)}
    return {**usual, **cells}


def triage(**cells):
    usual = {"subject_id": 1, "stay_id": 70, "temperature": 98.6, "heartrate": 90, "resprate": 18, "o2sat": 97}
    return {**usual, "sbp": 130, "dbp": 70, "pain": "4", "acuity": 2, "chiefcomplaint": "Chest pain, Dyspnea", **cells}


def sign(**cells):
    return {"subject_id": 1, "stay_id": 70, "charttime": moment(0, hours=-4), **cells}


def ecg(**cells):
    points = {"rr_interval": 800, "p_onset": 40, "p_end": 140, "qrs_onset": 190, "qrs_end": 280, "t_end": 580}
    axes = {"p_axis": 60, "qrs_axis": -30, "t_axis": 45}
    usual = {"subject_id": 1, "study_id": 5, "ecg_time": moment(1, hours=3), **points, **axes}
    return {**usual, "report_0": "Sinus rhythm", "report_1": "  ", "report_2": "Normal ECG ", **cells}


def last(found):
    values = {name.removesuffix("/last"): value for name, value in (found or {}).items() if name.endswith("/last")}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def texts(folder, modality, **tables):
    """Hours and texts of the admission of subject 1."""
    release = write_release(
        folder / "raw",
        patients=[patient(1)],
        admissions=[admission(1, 1, moment(0), moment(9), edregtime=ARRIVAL)],
        icustays=[stay(1, 1, moment(1), moment(8))],
        **tables,
    )
    context = context_of(release, folder, landmark="icu_24h", index="every")
    write = database("mimic").modalities[modality].files
    assert write is not None
    rows = write(context, folder / modality)
    found = pl.read_parquet(folder / modality / "documents.parquet")
    assert sorted(found["row_id"].unique()) == rows.to_list()
    hadm = dict(zip(context.rows["row_id"], context.rows["hadm_id"], strict=True))
    return [(row["hours"], row["text"]) for row in found.iter_rows(named=True) if hadm[row["row_id"]] == 1]


def test_triage_is_read_by_column_and_fahrenheit_becomes_celsius(tmp_path):
    found = cells_in_the_unit(tmp_path, "ed_triage", edstays=[arrival()], triage=[triage()])
    assert last(found) == pytest.approx(
        {"heart_rate": 90, "respiratory_rate": 18, "spo2": 97, "sbp": 130, "dbp": 70, "temperature": 37, "pain": 4,
         "acuity": 2}
    )  # fmt: skip
    assert found["acuity/hours_since_last"] == 53


def test_vital_signs_of_the_emergency_department_are_series(tmp_path):
    rows = [sign(heartrate=100, temperature=100.4), sign(heartrate=80, charttime=moment(0, hours=-2), pain="unable")]
    found = cells_in_the_unit(tmp_path, "ed_vitals", edstays=[arrival()], ed_vitalsign=rows)
    assert [found[f"heart_rate/{part}"] for part in ("count", "first", "last", "slope")] == [2, 100, 80, -10]
    assert last(found) == pytest.approx({"heart_rate": 80, "temperature": 38})
    assert [found[f"pain/{part}"] for part in ("observed", "count")] == [1, 0]
    assert found["sbp/observed"] == 0


def test_a_stay_without_an_admission_belongs_to_that_of_its_hours(tmp_path):
    admissions = [admission(1, 1, moment(0), moment(9), edregtime=ARRIVAL)]
    hours = {"inside": ARRIVAL, "before": moment(0, hours=-6)}
    found = {
        name: cells_in_the_unit(
            tmp_path / name,
            "ed_triage",
            admissions=admissions,
            edstays=[arrival(hadm_id="", intime=at)],
            triage=[triage()],
        )
        for name, at in hours.items()
    }
    assert found["inside"] is not None
    assert found["before"] is None


@pytest.mark.parametrize("cells", [{"hadm_id": 2}, {"intime": moment(2, seconds=1)}, {"subject_id": 900}])
def test_a_stay_of_another_admission_or_subject_or_after_the_landmark_is_none(tmp_path, cells):
    assert cells_in_the_unit(tmp_path, "ed_triage", edstays=[arrival(**cells)], triage=[triage()]) is None


def test_a_vital_sign_after_the_landmark_is_none(tmp_path):
    late = sign(heartrate=80, charttime=moment(2, seconds=1))
    assert cells_in_the_unit(tmp_path, "ed_vitals", edstays=[arrival()], ed_vitalsign=[late]) is None


def test_a_chief_complaint_is_a_text_of_the_arrival(tmp_path):
    other = [arrival(stay_id=71, intime=moment(3))]
    rows = [triage(), triage(stay_id=71, chiefcomplaint="Later")]
    assert texts(tmp_path, "chief_complaint", edstays=[arrival(), *other], triage=rows) == [
        (-53, "Chest pain, Dyspnea")
    ]


def test_an_empty_chief_complaint_is_no_document(tmp_path):
    rows = [triage(chiefcomplaint=" ")]
    assert texts(tmp_path, "chief_complaint", edstays=[arrival()], triage=rows) == []


def test_intervals_of_an_ecg_are_those_between_its_points(tmp_path):
    found = cells_in_the_unit(tmp_path, "ecg", ecg_measurements=[ecg()])
    assert last(found) == {
        "rr_interval": 800, "p_duration": 100, "pr_interval": 150, "qrs_duration": 90, "qt_interval": 390,
        "p_axis": 60, "qrs_axis": -30, "t_axis": 45,
    }  # fmt: skip
    assert found["rr_interval/hours_since_last"] == 21


def test_a_point_that_the_machine_did_not_find_leaves_no_interval(tmp_path):
    found = cells_in_the_unit(tmp_path, "ecg", ecg_measurements=[ecg(p_onset=29999, p_end=29999, p_axis=29999)])
    assert set(last(found)) == {"rr_interval", "qrs_duration", "qt_interval", "qrs_axis", "t_axis"}
    assert found["pr_interval/observed"] == 0


def test_a_misplaced_point_is_observed_without_a_value(tmp_path):
    found = cells_in_the_unit(tmp_path, "ecg", ecg_measurements=[ecg(t_end=9000)])
    assert [found[f"qt_interval/{part}"] for part in ("observed", "count")] == [1, 0]


@pytest.mark.parametrize("at", [moment(2, seconds=1), moment(-3), moment(10)])
def test_an_ecg_after_the_landmark_or_outside_of_the_admission_is_none(tmp_path, at):
    assert cells_in_the_unit(tmp_path, "ecg", ecg_measurements=[ecg(ecg_time=at)]) is None


def test_the_report_of_an_ecg_is_one_text_of_its_lines(tmp_path):
    rows = [ecg(), ecg(study_id=6, ecg_time=moment(3)), ecg(study_id=7, report_0="", report_2="")]
    assert texts(tmp_path, "ecg_report", ecg_measurements=rows) == [(-21, "Sinus rhythm\nNormal ECG")]
