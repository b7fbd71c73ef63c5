"""Every label of the open demo, a second time: plain Python over the rows of patient.csv.gz."""

import csv
import gzip
from collections import defaultdict
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

pytestmark = pytest.mark.demo

STATES = {"Expired": True, "Alive": False, "": None}


@pytest.fixture(scope="module")
def patients(eicu_demo):
    with gzip.open(eicu_demo / "patient.csv.gz", "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def number(text):
    return int(text) if text else None


def age(row):
    return 90 if row["age"] == "> 89" else number(row["age"])


def following(patients):
    """unit stay -> the next one of its hospital stay; and the hospital stays, their unit stays in order."""
    admissions = defaultdict(list)
    for row in patients:
        admissions[row["patienthealthsystemstayid"]].append(row)
    for rows in admissions.values():
        rows.sort(key=lambda row: (-int(row["hospitaladmitoffset"]), int(row["unitvisitnumber"])))
    return {
        row["patientunitstayid"]: after for rows in admissions.values() for row, after in pairwise(rows)
    }, admissions


def first_stays(admissions):
    firsts: dict[str, Any] = {}
    for admission, rows in admissions.items():
        key = (int(rows[0]["hospitaldischargeyear"]), int(admission))
        person = rows[0]["uniquepid"]
        if person not in firsts or key < firsts[person][0]:
            firsts[person] = (key, rows[0]["patientunitstayid"])
    return {stay for _, stay in firsts.values()}


def comes_back(row, after, *, muse):
    if after is None:
        return False
    apart = -int(after["hospitaladmitoffset"]) + int(row["hospitaladmitoffset"])
    if muse:
        return apart <= 15 * 1440
    return apart > int(row["unitdischargeoffset"]) and after["unitstaytype"] != "stepdown/other"


def by_hand(patients, index, landmark, *, muse=False):
    """(hospital stay, unit stay) -> person, hospital, prediction time and labels."""
    after, admissions = following(patients)
    chosen = first_stays(admissions) if index == "first" else {row["patientunitstayid"] for row in patients}
    table = {}
    for row in patients:
        stay, leaves = row["patientunitstayid"], int(row["unitdischargeoffset"])
        in_hospital, in_unit = STATES[row["hospitaldischargestatus"]], STATES[row["unitdischargestatus"]]
        counts = leaves > 1440 if landmark == "unit_24h" else not in_unit
        if stay not in chosen or age(row) is None or age(row) < 18 or not counts:
            continue
        reported = (1440, in_hospital, in_unit)
        if landmark == "unit_discharge":
            reported = (leaves, comes_back(row, after.get(stay), muse=muse), in_hospital)
        key = int(row["patienthealthsystemstayid"]), int(stay)
        table[key] = (row["uniquepid"], int(row["hospitalid"]), *reported)
    return table


def built(eicu_demo, folder, **settings):
    """The same from the cohort.parquet that the build leaves."""
    config = EICUCohortConfig(modalities=["demographics"], **settings)
    cohort = pl.read_parquet(
        build_cohort(database("eicu"), Release(EICU, [eicu_demo]), config, folder) / "cohort.parquet"
    )
    labels = [f"label/{task}" for task in config.tasks]
    columns = ["admission_id", "stay_id", "subject_id", "hospital_id", "prediction_offset_minutes", *labels]
    rows = cohort.select(columns).rows()
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


@pytest.mark.parametrize("index", ["first", "every"])
@pytest.mark.parametrize("landmark", ["unit_24h", "unit_discharge"])
def test_labels_agree_with_a_hand_count_id_by_id(eicu_demo, patients, tmp_path, index, landmark):
    assert built(eicu_demo, tmp_path, index=index, landmark=landmark) == by_hand(patients, index, landmark)


def test_muse_s_readmissions_agree_with_a_hand_count_id_by_id(eicu_demo, patients, tmp_path):
    found = built(eicu_demo, tmp_path, index="every", landmark="unit_discharge", readmission="muse")
    assert found == by_hand(patients, "every", "unit_discharge", muse=True)
    assert sum(row[3] for row in found.values()) == 333


def test_the_demo_numbers_what_is_known_of_it(eicu_demo, patients, tmp_path):
    rows = built(eicu_demo, tmp_path, index="every", landmark="unit_24h").values()
    known = [row[3] for row in rows if row[3] is not None]
    assert (len(rows), len(known), sum(known)) == (1622, 1602, 140)
    again = [row[3] for row in built(eicu_demo, tmp_path, index="every", landmark="unit_discharge").values()]
    assert (len(again), sum(again)) == (2388, 97)
    assert [len({row[name] for row in patients}) for name in ("patientunitstayid", "uniquepid", "hospitalid")] == [
        2520,
        1841,
        186,
    ]
