"""Rules that the demos do not exercise: the loops agree on written rows, and each rule changes cells of them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.validation import demos, eicu, eicu_events, mimic_iv, mimic_iv_events
from benchmarks.validation.compare import Part
from benchmarks.validation.mimic_iv_events import OURS
from tests.helpers import eicu as small_eicu
from tests.helpers.mimic_iv import Row, admission, moment, patient, stay, write_release


def lab(number: int, day: float, value: str, valuenum: float | None = None, **cells: Any) -> Row:
    """Creatinine of subject 1; its landmark is day 4."""
    usual = {"subject_id": 1, "hadm_id": 10, "itemid": 50912, "valueuom": "mg/dL", "specimen_id": number}
    return {"labevent_id": number, **usual, "charttime": moment(day), "value": value, "valuenum": valuenum, **cells}


def vital(day: float, itemid: int, valuenum: float | None, **cells: Any) -> Row:
    usual = {"subject_id": 1, "hadm_id": 10, "stay_id": 100, "charttime": moment(day), "itemid": itemid}
    return {**usual, "value": "", "valuenum": valuenum, **cells}


@pytest.fixture
def mimic_folder(tmp_path: Path) -> Path:
    """Labs and vitals with every kind of fault, and deaths that contradict admissions."""
    folder = tmp_path / "mimic"
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
    )
    return folder


def parts_of(mimic_folder: Path, scratch: Path) -> dict[tuple[str, str], Part]:
    return {(part.database, part.name): part for part in demos.mimic(mimic_folder, scratch)}


def disagreeing(parts: dict[tuple[str, str], Part]) -> dict[tuple[str, str], Any]:
    return {key: part.reasons for key, part in parts.items() if part.disagree}


def test_the_loops_agree_with_the_package_on_every_fault_of_mimic(mimic_folder, tmp_path) -> None:
    parts = parts_of(mimic_folder, tmp_path / "scratch")
    assert disagreeing(parts) == {}
    assert len(parts) == 16
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


@pytest.fixture
def eicu_folder(tmp_path: Path) -> Path:
    """Labs and vitals with every kind of fault."""
    folder, day = tmp_path / "eicu", 1440

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
    return folder


def stay_parts(folder: Path, scratch: Path) -> dict[tuple[str, str], Part]:
    return {(part.database, part.name): part for part in demos.unit_stays(folder, scratch)}


def test_the_loops_agree_with_the_package_on_every_fault_of_eicu(eicu_folder, tmp_path) -> None:
    parts = stay_parts(eicu_folder, tmp_path / "scratch")
    assert disagreeing(parts) == {}
    assert len(parts) == 6
    assert all(part.filled for part in parts.values())


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
        (eicu, "doubtful", lambda row, patients: False, "labels"),
    ],
)
def test_each_rule_of_eicu_changes_cells(eicu_folder, tmp_path, monkeypatch, module, name, instead, part) -> None:
    monkeypatch.setattr(module, name, instead)
    assert part in {key[1] for key in disagreeing(stay_parts(eicu_folder, tmp_path / "scratch"))}
