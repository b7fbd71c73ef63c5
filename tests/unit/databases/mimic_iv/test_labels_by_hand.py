"""Every label of the open demo, a second time: plain Python over the rows of the csv files."""

import csv
import gzip
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

pytestmark = pytest.mark.demo

AFTER_DISCHARGE = ["readmission_30d", "icu_90d", "mortality_180d"]
OBSERVATION = {"EU OBSERVATION", "AMBULATORY OBSERVATION", "DIRECT OBSERVATION"}
ELECTIVE = {"ELECTIVE", "SURGICAL SAME DAY ADMISSION"}
Key = tuple[int, int | None]


def read(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def when(text: str) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S") if text else None


class Hospital:
    """The demo as dictionaries."""

    def __init__(self, folder: Path) -> None:
        self.patients = {row["subject_id"]: row for row in read(folder / "hosp/patients.csv.gz")}
        self.admissions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in read(folder / "hosp/admissions.csv.gz"):
            times = {name: when(row[name]) for name in ("admittime", "dischtime", "deathtime")}
            self.admissions[row["subject_id"]].append({**row, **times})
        for rows in self.admissions.values():
            rows.sort(key=lambda row: (row["admittime"], int(row["hadm_id"])))
        self.stays: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in read(folder / "icu/icustays.csv.gz"):
            self.stays[row["subject_id"]].append(row | {"intime": when(row["intime"]), "outtime": when(row["outtime"])})
        for rows in self.stays.values():
            rows.sort(key=lambda row: (row["intime"], int(row["stay_id"])))

    def adult(self, row: dict[str, Any]) -> bool:
        patient = self.patients[row["subject_id"]]
        return int(patient["anchor_age"]) + row["admittime"].year - int(patient["anchor_year"]) >= 18

    def dod(self, subject: str) -> date | None:
        text = self.patients[subject]["dod"]
        return date.fromisoformat(text) if text else None


def picked(rows: list[dict[str, Any]], index: str) -> list[dict[str, Any]]:
    return {"first": rows[:1], "last": rows[-1:], "every": rows}[index]


def labels_at_discharge(
    hospital: Hospital, index: str, *, observation_stays: bool = True, elective: bool = True
) -> dict[Key, tuple[datetime, bool, bool, bool]]:
    """(admission, no stay) -> prediction time, readmission_30d, icu_90d, mortality_180d."""
    table: dict[Key, tuple[datetime, bool, bool, bool]] = {}
    for subject, everything in hospital.admissions.items():
        rows = [row for row in everything if observation_stays or row["admission_type"] not in OBSERVATION]
        for row in picked(rows, index):
            if row["hospital_expire_flag"] == "1" or not hospital.adult(row):
                continue
            end = row["dischtime"]
            later = [other for other in rows if other is not row and other["admittime"] > end]
            unplanned = bool(later) and (elective or later[0]["admission_type"] not in ELECTIVE)
            readmitted = unplanned and later[0]["admittime"] - end <= timedelta(days=30)
            ids = {other["hadm_id"] for other in rows if other is not row}
            intimes = [s["intime"] for s in hospital.stays[subject] if s["hadm_id"] in ids and s["intime"] > end]
            icu = any(intime - end <= timedelta(days=90) for intime in intimes)
            dod = hospital.dod(subject)
            died = dod is not None and 0 <= (dod - end.date()).days <= 180
            table[int(row["hadm_id"]), None] = (end, readmitted, icu, died)
    return table


def labels_in_the_unit(hospital: Hospital, index: str, *, in_unit: bool) -> dict[Key, tuple[datetime, bool]]:
    """(admission, stay) -> prediction time, in_hospital_mortality."""
    table = {}
    for subject, rows in hospital.admissions.items():
        admissions = {row["hadm_id"]: row for row in rows}
        firsts: dict[str, dict[str, Any]] = {}
        for icu in hospital.stays[subject]:
            firsts.setdefault(icu["hadm_id"], icu)
        chosen = list(firsts.values())[:1] if index == "first" else list(firsts.values())
        for icu in chosen:
            row = admissions[icu["hadm_id"]]
            landmark = icu["intime"] + timedelta(hours=24)
            gone = max(filter(None, (row["dischtime"], row["deathtime"])))
            dead = row["deathtime"] is not None and row["deathtime"] <= landmark
            out = in_unit and icu["outtime"] is not None and icu["outtime"] <= landmark
            if hospital.adult(row) and gone > landmark and not dead and not out:
                table[int(row["hadm_id"]), int(icu["stay_id"])] = (landmark, row["hospital_expire_flag"] == "1")
    return table


@pytest.fixture(scope="module")
def hospital(mimic_demo: Path) -> Hospital:
    return Hospital(mimic_demo)


def written(mimic_demo: Path, folder: Path, **settings: Any) -> dict[Key, tuple[Any, ...]]:
    """The same from the cohort.parquet that the build leaves."""
    config = MIMICCohortConfig(modalities=["demographics"], **settings)
    cohort = pl.read_parquet(
        build_cohort(database("mimic"), Release(MIMIC_IV, [mimic_demo]), config, folder) / "cohort.parquet"
    )
    columns = ["admission_id", "stay_id", "prediction_at", *(f"label/{task}" for task in config.tasks)]
    rows = cohort.select(columns).rows()
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


@pytest.mark.parametrize("index", ["first", "every"])
def test_outcomes_after_discharge_agree_with_a_hand_count_id_by_id(mimic_demo, hospital, tmp_path, index):
    built = written(mimic_demo, tmp_path, index=index, tasks=AFTER_DISCHARGE)
    assert built == labels_at_discharge(hospital, index)


def test_death_after_the_last_admission_agrees_with_a_hand_count_id_by_id(mimic_demo, hospital, tmp_path):
    built = written(mimic_demo, tmp_path, index="last", tasks=["mortality_180d"])
    by_hand = labels_at_discharge(hospital, "last")
    assert built == {key: (end, died) for key, (end, _, _, died) in by_hand.items()}


@pytest.mark.parametrize("index", ["first", "every"])
@pytest.mark.parametrize("in_unit", [False, True])
def test_hospital_deaths_after_a_day_in_the_unit_agree_with_a_hand_count(
    mimic_demo, hospital, tmp_path, index, in_unit
):
    settings = {"landmark": "icu_24h", "tasks": ["in_hospital_mortality"], "in_unit": in_unit}
    built = written(mimic_demo, tmp_path, index=index, **settings)
    assert built == labels_in_the_unit(hospital, index, in_unit=in_unit)
    assert built


@pytest.mark.parametrize(
    ("index", "switches", "rows", "positives"),
    [
        ("first", {}, 95, 15),
        ("every", {}, 260, 53),
        ("every", {"observation_stays": False}, None, 47),
        ("every", {"elective_readmissions": False}, 260, 49),
    ],
)
def test_readmissions_of_the_demo_number_what_is_known_of_it(
    mimic_demo, hospital, tmp_path, index, switches, rows, positives
):
    built = written(mimic_demo, tmp_path, index=index, tasks=AFTER_DISCHARGE, **switches)
    by_hand = {
        "observation_stays": switches.get("observation_stays", True),
        "elective": switches.get("elective_readmissions", True),
    }
    assert built == labels_at_discharge(hospital, index, **by_hand)
    assert sum(row[1] for row in built.values()) == positives
    assert rows in {None, len(built)}
