"""Rules that the demos do not exercise: the loops agree on written rows, and each rule changes cells of them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.validation import (
    demos,
    eicu,
    eicu_events,
    eicu_nursing,
    harmonised,
    mimic_iv,
    mimic_iv_arrivals,
    mimic_iv_events,
    plain,
)
from benchmarks.validation.compare import Part
from benchmarks.validation.mimic_iv_events import OURS
from tests.helpers import eicu as small_eicu
from tests.helpers.mimic_iv import Row, admission, moment, patient, stay, write_release
from tests.helpers.written_once import written_once


def lab(number: int, day: float, value: str, valuenum: float | None = None, **cells: Any) -> Row:
    """Creatinine of subject 1; its landmark is day 4."""
    usual = {"subject_id": 1, "hadm_id": 10, "itemid": 50912, "valueuom": "mg/dL", "specimen_id": number}
    return {"labevent_id": number, **usual, "charttime": moment(day), "value": value, "valuenum": valuenum, **cells}


def vital(day: float, itemid: int, valuenum: float | None, **cells: Any) -> Row:
    usual = {"subject_id": 1, "hadm_id": 10, "stay_id": 100, "charttime": moment(day), "itemid": itemid}
    return {**usual, "value": "", "valuenum": valuenum, **cells}


@pytest.fixture(scope="module", autouse=True)
def once() -> Any:
    """The rules that these tests change are those of the loops: the package writes its cells once."""
    with written_once():
        yield


@pytest.fixture(scope="module")
def mimic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labs and vitals with every kind of fault, and deaths that contradict admissions."""
    folder = tmp_path_factory.mktemp("mimic")
    (folder / "reconstructed_from_meds").mkdir(parents=True)
    write_release(
        folder,
        patients=[
            patient(1),
            patient(2, dod="2150-01-05"),  # admitted again a month later
            patient(3, dod="2150-01-20"),  # an organ donor
            patient(4, dod="2150-01-03"),  # dated before the discharge of a survivor
            patient(5),  # died on the first day in the unit
        ],
        admissions=[
            admission(1, 10, moment(2), moment(8), edregtime=moment(1.9)),
            admission(1, 11, moment(8.5), moment(9), edregtime=moment(7.9)),
            admission(2, 20, moment(1), moment(3)),
            admission(2, 21, moment(40), moment(44)),
            admission(3, 30, moment(1), moment(10), deathtime=moment(9), hospital_expire_flag=1),
            admission(3, 31, moment(9.5), moment(10)),
            admission(4, 40, moment(1), moment(9)),
            admission(5, 50, moment(1), moment(9), deathtime=moment(1.5), hospital_expire_flag=1),
        ],
        icustays=[
            stay(1, 10, moment(3), moment(6)),
            stay(2, 20, moment(1), moment(3)),
            stay(3, 30, moment(1), moment(8)),
            stay(4, 40, moment(2), moment(8)),
            stay(5, 50, moment(1), moment(8)),
        ],
        labevents=[
            lab(1, 0.8, "1.0", 1.0),  # more than 24 h before the arrival
            lab(2, 1.2, "1.1", 1.1),
            lab(3, 2.1, "1.2", 1.2, storetime=moment(2.2)),
            lab(4, 2.1, "1.3", 1.3, specimen_id=3, storetime=moment(2.3)),
            lab(5, 2.1, "1.7", 1.7, specimen_id=3, storetime=moment(2.25)),
            lab(6, 2.1, "9.9", 9.9, specimen_id=3, storetime=moment(4.1)),  # revised after the landmark
            lab(7, 2.4, "<0.2"),
            lab(8, 2.5, "500", 500.0),
            lab(9, 2.6, "5", 5.0, valueuom="furlong"),
            lab(10, 2.7, "___"),
            lab(11, 2.8, "Not Done", itemid=51006),
            lab(12, 2.9, "", comments="GREATER THAN 20 IS REPORTED."),
            lab(13, 3.0, "88.4", 88.4, hadm_id=None),
            lab(14, 7.95, "1.4", 1.4, hadm_id=None),  # in the emergency department, and still an inpatient
            lab(15, 3.9, "2.0", 2.0, storetime=moment(4.2)),
            lab(16, 3.95, "2.1", 2.1, storetime=moment(4)),
        ],
        chartevents=[
            vital(3.1, 220045, 80.0, storetime=moment(3.2)),
            vital(3.1, 220045, 90.0, storetime=moment(3.3)),
            vital(3.1, 220045, 85.0, storetime=moment(3.25)),
            vital(3.2, 220045, 500.0),
            vital(3.3, 223761, 212.0 - 112.0),
            vital(3.3, 223762, 38.0, valueuom="°C"),
            vital(3.4, 223900, 1.0, value="No Response-ETT"),
            vital(3.5, 223900, 4.0, value="Confused"),
            vital(3.6, 223835, 0.5),
            vital(3.9, 220045, 70.0, storetime=moment(4.1)),
        ],
        **arrivals(),
    )
    return folder


TRIAGE = {
    "subject_id": 1, "temperature": 98.6, "heartrate": 90, "resprate": 18, "o2sat": 97, "sbp": 130, "dbp": 70,
    "pain": "4", "acuity": 2, "chiefcomplaint": "Chest pain, Dyspnea",
}  # fmt: skip


def ecg(number: int, day: float, **cells: Any) -> Row:
    points = {"rr_interval": 800, "p_onset": 40, "p_end": 140, "qrs_onset": 190, "qrs_end": 280, "t_end": 580}
    usual = {"subject_id": 1, "study_id": number, "ecg_time": moment(day), **points, "p_axis": 60, "t_axis": 29999}
    return {**usual, "report_0": "Sinus rhythm", **cells}


def arrivals() -> dict[str, list[Row]]:
    """Tables of the emergency department and of electrocardiograms."""
    return {
        "edstays": [
            {"subject_id": 1, "hadm_id": 10, "stay_id": 70, "intime": moment(1.9), "outtime": moment(2)},
            {"subject_id": 1, "hadm_id": None, "stay_id": 71, "intime": moment(1.95), "outtime": moment(2)},
            {"subject_id": 1, "hadm_id": 10, "stay_id": 72, "intime": moment(0.5), "outtime": moment(0.6)},
            {"subject_id": 2, "hadm_id": 20, "stay_id": 73, "intime": moment(1), "outtime": moment(1.1)},
            {"subject_id": 4, "hadm_id": None, "stay_id": 74, "intime": moment(20), "outtime": moment(21)},
        ],
        "triage": [
            {**TRIAGE, "stay_id": 70},
            {**TRIAGE, "stay_id": 71, "pain": "unable", "acuity": None, "chiefcomplaint": " "},
            {**TRIAGE, "stay_id": 72, "heartrate": 400},
            {**TRIAGE, "subject_id": 2, "stay_id": 73, "chiefcomplaint": ""},
            {**TRIAGE, "subject_id": 4, "stay_id": 74},
        ],
        "ed_vitalsign": [
            {
                "subject_id": 1,
                "stay_id": 70,
                "charttime": moment(1.92),
                "heartrate": 88,
                "temperature": 99.5,
                "pain": "3",
            },
            {"subject_id": 1, "stay_id": 70, "charttime": moment(1.92), "heartrate": 90, "pain": "critical"},
            {"subject_id": 1, "stay_id": 70, "charttime": moment(1.94), "heartrate": 82, "o2sat": 101},
            {"subject_id": 1, "stay_id": 71, "charttime": moment(4.1), "heartrate": 60},
        ],
        "ecg_measurements": [
            ecg(1, 1.97),
            ecg(2, 3, p_onset=29999, report_1="  ", report_2="Normal ECG "),
            ecg(3, 3.5, rr_interval=9000, report_0=""),
            ecg(4, 4.2),
            ecg(5, 0.2),
        ],
    }


def parts_of(mimic_folder: Path, scratch: Path) -> dict[tuple[str, str], Part]:
    return {(part.database, part.name): part for part in demos.mimic(mimic_folder, scratch)}


def disagreeing(parts: dict[tuple[str, str], Part]) -> dict[tuple[str, str], Any]:
    return {key: part.reasons for key, part in parts.items() if part.disagree}


def test_the_loops_agree_with_the_package_on_every_fault_of_mimic(mimic_folder, tmp_path) -> None:
    parts = parts_of(mimic_folder, tmp_path / "scratch")
    assert disagreeing(parts) == {}
    assert len(parts) == 26
    assert all(part.filled for part in parts.values())


ADD_DEATH = mimic_iv._add_death


def _undoubted(rows, dod) -> None:
    ADD_DEATH(rows, dod)
    for row in rows:
        row["doubtful"] = False


@pytest.mark.parametrize(
    ("module", "name", "instead", "part"),
    [
        (mimic_iv_events, "EARLY", timedelta(days=99), "labs"),
        (mimic_iv_events, "limit", lambda text: None, "labs"),
        (mimic_iv_events, "not_done", lambda text: False, "labs"),
        (mimic_iv_events, "DEFAULT_UNIT", {}, "vitals"),
        (demos, "last_revisions", list, "labs"),
        (demos, "last_revisions", list, "vitals"),
        (mimic_iv_arrivals, "belongs", lambda event, row: True, "ed_triage"),
        (mimic_iv_arrivals, "belongs", lambda event, row: True, "ecg"),
        (mimic_iv_arrivals, "last_revisions", list, "ed_vitals"),
        (mimic_iv_arrivals, "NOWHERE", -1, "ecg"),
        (mimic_iv_arrivals, "value_of", lambda concept, text: plain.plain(text), "ed_triage"),
        (mimic_iv_arrivals, "report", lambda event: event["report_0"], "ecg_report"),
        (mimic_iv_arrivals, "complaint", lambda event: "pain", "chief_complaint"),
        (mimic_iv, "_after_death", lambda row: False, "labels"),
        (mimic_iv, "_alive_at", lambda row, time: True, "labels"),
        (mimic_iv, "_add_death", _undoubted, "labels"),
    ],
)
def test_each_rule_of_mimic_changes_cells(mimic_folder, tmp_path, monkeypatch, module, name, instead, part) -> None:
    monkeypatch.setattr(module, name, instead)
    assert part in {key[1] for key in disagreeing(parts_of(mimic_folder, tmp_path / "scratch"))}


@pytest.mark.parametrize("rule", ["stored", "texts", "ranges"])
def test_each_switch_of_the_rules_changes_cells(mimic_folder, tmp_path, monkeypatch, rule) -> None:
    usual = mimic_iv_events.acts_of
    changed: dict[str, Any] = {rule: False}
    off = replace(OURS, **changed)
    monkeypatch.setattr(mimic_iv_events, "acts_of", lambda *words, **more: usual(*words, **more, rules=off))
    assert "labs" in {key[1] for key in disagreeing(parts_of(mimic_folder, tmp_path / "scratch"))}


@pytest.fixture(scope="module")
def eicu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labs and vitals with every kind of fault."""
    folder, day = tmp_path_factory.mktemp("eicu"), 1440

    def drawn(at: int, name: str, result: float | str, **cells: Any) -> Row:
        units = {"labmeasurenameinterface": "mg/dL", "labmeasurenamesystem": "mg/dL"}
        return {"patientunitstayid": 1, "labresultoffset": at, "labname": name, "labresult": result, **units, **cells}

    labs = [
        drawn(-8 * day, "creatinine", 1.0),
        drawn(-day, "creatinine", 1.1),
        drawn(10, "creatinine", 1.2, labresultrevisedoffset=20),
        drawn(10, "creatinine", 1.5, labresultrevisedoffset=30),
        drawn(10, "creatinine", 1.3, labresultrevisedoffset=25),
        drawn(10, "creatinine", 9.0, labresultrevisedoffset=1500),
        drawn(40, "creatinine", 2.0),
        drawn(40, "creatinine", 3.0),
        drawn(50, "creatinine", "", labresulttext="<0.2"),
        drawn(60, "BUN", "", labresulttext="not done"),
        drawn(70, "creatinine", 500.0),
        drawn(80, "FiO2", 2.0, labmeasurenameinterface="lpm", patientunitstayid=2),
        drawn(90, "FiO2", 0.4, labmeasurenameinterface="%"),
        drawn(90, "Base Deficit", 4.0, labmeasurenameinterface="mEq/L"),
        drawn(90, "Base Excess", 2.0, labmeasurenameinterface="mEq/L"),
        drawn(95, "ionized calcium", 4.4),
        drawn(96, "CRP", 1.0, labresulttext="10", labmeasurenameinterface="mg/L"),
    ]
    write, unit_stay = small_eicu.write_table, small_eicu.stay
    for sub in demos.LAB_FOLDERS:
        write(folder / sub, "lab", labs)
    write(
        folder,
        "patient",
        [
            unit_stay(1, begins=60),
            unit_stay(2, person="p", hospitaldischargestatus="Expired"),
            unit_stay(3, person="p", hospitaldischargeyear=2015),
        ],
    )
    write(folder, "hospital", [small_eicu.hospital()])
    monitor = {"patientunitstayid": 1}
    write(
        folder,
        "vitalPeriodic",
        [
            {**monitor, "observationoffset": -8 * day, "heartrate": 70},
            {**monitor, "observationoffset": 5, "heartrate": 80, "temperature": 98.6},
            {**monitor, "observationoffset": 5, "heartrate": 90, "temperature": 37.0},
            {**monitor, "observationoffset": 9, "heartrate": 400},
        ],
    )
    aperiodic = {**monitor, "observationoffset": 5, "cardiacoutput": 0, "noninvasivesystolic": 120}
    write(folder, "vitalAperiodic", [aperiodic, {**monitor, "observationoffset": 2000, "noninvasivesystolic": 90}])
    write(
        folder,
        "nurseCharting",
        [
            nursed(10, "Eyes", "3"),
            nursed(10, "Verbal", "4"),
            nursed(10, "Motor", "6"),
            nursed(20, "GCS Total", "15"),
            nursed(20, "Eyes", "1"),
            nursed(20, "Verbal", "1"),
            nursed(20, "Motor", "1"),
            nursed(30, "GCS Total", "9"),
            nursed(30, "GCS Total", "8"),
            nursed(40, "GCS Total", "Unable to score"),
            nursed(50, "GCS Total", "99"),
            nursed(60, "GCS Total", "7", entered=1500),
            nursed(70, "GCS Total", "6", entered=80),
            nursed(70, "GCS Total", "5", entered=90),
            nursed(-8 * day, "GCS Total", "4"),
            nursed(10, "Sedation Score", "-3", label=SEDATION),
            nursed(10, "Sedation Scale", "RASS", label=SEDATION),
            nursed(20, "Sedation Score", "4", label=SEDATION),
            nursed(20, "Sedation Scale", "SAS", label=SEDATION),
            nursed(30, "Sedation Score", "3", label=SEDATION),
            nursed(40, "Value", "+1", label="RASS"),
            nursed(10, "Temperature (C)", "37.5", label="Temperature"),
            nursed(10, "Temperature (F)", "98.6", label="Temperature"),
            nursed(20, "Temperature (F)", "37", label="Temperature"),
            nursed(30, "Temperature Location", "38", label="Temperature"),
            nursed(10, "Pain Score", "0", label="Pain Score/Goal"),
            nursed(20, "Pain Score", "11", label="Pain Score/Goal"),
            nursed(10, "Non-Invasive BP Mean", "77", label="Non-Invasive BP"),
            nursed(10, "Non-Invasive BP Mean", "60", label="Invasive BP"),
        ],
    )
    return folder


SEDATION = "Sedation Scale/Score/Goal"


def nursed(at: int, name: str, value: str, label: str = "Glasgow coma score", entered: int | None = None) -> Row:
    """A row of nurseCharting of stay 1."""
    times = {"nursingchartoffset": at, "nursingchartentryoffset": at if entered is None else entered}
    labels = {"nursingchartcelltypevallabel": label, "nursingchartcelltypevalname": name}
    return {"patientunitstayid": 1, "nursingchartcelltypecat": "x", **times, **labels, "nursingchartvalue": value}


def stay_parts(folder: Path, scratch: Path) -> dict[tuple[str, str], Part]:
    return {(part.database, part.name): part for part in demos.unit_stays(folder, scratch)}


def test_the_loops_agree_with_the_package_on_every_fault_of_eicu(eicu_folder, tmp_path) -> None:
    parts = stay_parts(eicu_folder, tmp_path / "scratch")
    assert disagreeing(parts) == {}
    assert len(parts) == 21
    assert all(part.filled for part in parts.values() if not part.name.startswith("harmonised_"))


@pytest.mark.parametrize(
    ("module", "name", "instead", "part"),
    [
        (eicu_events, "uncontradicted", list, "labs, subset_100_patients"),
        (eicu_events, "limit", lambda text: None, "labs, subset_100_patients"),
        (eicu_events, "not_done", lambda text: False, "labs, subset_100_patients"),
        (eicu_events, "OF_OXYGEN_FLOW", set(), "labs, subset_100_patients"),
        (eicu_events, "earliest", lambda patient: -99_999, "labs, subset_100_patients"),
        (eicu_events, "earliest", lambda patient: -99_999, "vitals_periodic"),
        (demos, "last_revisions", list, "labs, subset_100_patients"),
        (eicu_nursing, "uncontradicted", list, "neurology"),
        (eicu_nursing, "last_revisions", list, "neurology"),
        (eicu_nursing, "earliest", lambda patient: -99_999, "neurology"),
        (eicu_nursing, "DAY", 99_999, "neurology"),
        (eicu_nursing, "RICHMOND", "sas", "neurology"),
        (eicu_nursing, "with_sums", dict, "neurology"),
        (eicu_nursing, "value_of", lambda label, text, concept: plain.plain(text), "nurse_vitals"),
        (harmonised, "HOURS", 12, "harmonised_vitals"),
        (harmonised, "HOURS", 12, "harmonised_nurse_vitals"),
        (eicu, "doubtful", lambda row, patients: False, "labels"),
    ],
)
def test_each_rule_of_eicu_changes_cells(eicu_folder, tmp_path, monkeypatch, module, name, instead, part) -> None:
    monkeypatch.setattr(module, name, instead)
    assert part in {key[1] for key in disagreeing(stay_parts(eicu_folder, tmp_path / "scratch"))}
