"""No feature reads what shows the outcome, and what became known after the landmark changes not one bit."""

import re
from functools import cache
from typing import Any

import polars as pl
import pytest

from data_modules.cohorts import pretraining
from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import SplitConfig
from data_modules.databases.eicu import apache
from data_modules.databases.eicu import cohort as cohorts
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.events import PHYSIOLOGY, READ
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from tests.helpers.eicu import features_of, sources_of, stay, table_of, write_release

LEAKS = re.compile(
    r"discharge|^actual|^unabridged|^predicted|predictediculos|predictedhospitallos|diedinhospital|apacheadmissiondx|cancelled"
)
LEAKING_TABLES = {name for name in EICU.tables if name.startswith("carePlan")} | {"apachePatientResult"}
NOT_IN_DEMO = {"nurseCharting"}
"""Tables of which the open demo here has no copy; test_nursing.py holds what is known of them at the landmark."""
TABLES = [
    name
    for name, entry in database("eicu").modalities.items()
    if entry.block is not None and not NOT_IN_DEMO & set(entry.tables)
]
NOT_REBUILT = {"harmonised_special_labs", "harmonised_urinalysis"}
"""Modalities of labs that the rebuilt table of the demo lacks."""
EVENTS = [
    name for name in TABLES if not re.search(r"demographics|person|body|^apache", name) and name not in NOT_REBUILT
]


def leaking(table, columns):
    return [column for column in columns if LEAKS.search(column)] if table not in LEAKING_TABLES else list(columns)


def test_the_scan_knows_a_leak_when_it_sees_one():
    assert leaking("apachePredVar", ["diedinhospital", "dischargelocation", "readmit"]) == [
        "diedinhospital",
        "dischargelocation",
    ]
    assert leaking("diagnosis", ["activeupondischarge", "diagnosisstring"]) == ["activeupondischarge"]
    assert leaking("medication", ["drugordercancelled", "drugname"]) == ["drugordercancelled"]
    assert leaking("patient", ["unitdischargestatus", "dischargeweight", "age"]) == [
        "unitdischargestatus",
        "dischargeweight",
    ]
    assert leaking("apachePatientResult", ["acutephysiologyscore"]) == ["acutephysiologyscore"]


@pytest.mark.parametrize("table", READ)
def test_no_declared_column_is_a_leak(table):
    assert leaking(table, READ[table]) == []
    assert set(READ[table]) <= set(EICU.tables[table].columns)


@pytest.mark.demo
def test_features_scan_what_they_declare_and_nothing_else(demo, tmp_path, monkeypatch):
    scanned = []
    usual = Release.scan
    monkeypatch.setattr(
        Release,
        "scan",
        lambda self, name, columns: scanned.append((name, tuple(columns))) or usual(self, name, columns),
    )
    whole = [name for name, entry in database("eicu").modalities.items() if not entry.parts]
    folder = build_cohort(database("eicu"), demo, EICUCohortConfig(index="every", modalities=whole), tmp_path)
    assert scanned.count(("patient", cohorts.COLUMNS)) == 1
    scanned.remove(("patient", cohorts.COLUMNS))
    # What APACHE predicted is kept apart; tests/unit/databases/eicu/test_scores.py holds that no input knows of it.
    assert [name for name, _ in scanned].count(apache.TABLE) == 1
    scanned = [entry for entry in scanned if entry[0] != apache.TABLE]
    assert set(scanned) == {(table, READ[table]) for table in READ if table not in NOT_IN_DEMO}
    columns = [
        name for file in folder.glob("modalities/*/columns.json") for name in re.findall(r'"(.*)"', file.read_text())
    ]
    assert len(columns) > 1000
    assert not [name for name in columns if re.search(r"expired|^dead|died|predicted", name)]


def test_apache_is_absent_before_a_day_is_over(tmp_path):
    values = dict.fromkeys(PHYSIOLOGY, 3)
    rows = [{"apacheapsvarid": number, "patientunitstayid": number, **values} for number in (1, 2)]
    release = write_release(tmp_path, [stay(1, lasts=1439), stay(2, lasts=1440)], apacheApsVar=rows)
    found = features_of(release, "apache_physiology", tmp_path, index="every", landmark="unit_discharge")
    assert found[1] is None
    assert found[2]["apacheApsVar/wbc"] == 3


def mutilate(release, rows, folder, *, earlier=0):
    """Copy the tables of some stays without what came later than `earlier` minutes before their landmark."""
    folder.mkdir()
    known = rows.select(
        patientunitstayid=pl.col("stay_id").cast(pl.String), cut=pl.col("prediction_offset_minutes") - earlier
    )
    deleted = {}
    for name, table in EICU.tables.items():
        if not release.has(name) or name in LEAKING_TABLES:
            continue
        raw = pl.read_csv(release.files[name], infer_schema=False)
        if "patientunitstayid" in raw.columns:
            raw = raw.join(known, on="patientunitstayid")
            kept = raw
            for column in {table.event_at, table.available_at} - {None}:
                kept = kept.filter((pl.col(column).cast(pl.Int64) <= pl.col("cut")).fill_null(value=True))
            if name.startswith("apache"):
                kept = kept.filter(pl.col("cut") >= 1440 - earlier)
            deleted[name] = raw.height - kept.height
            late = [
                pl.when(pl.col(column).cast(pl.Int64) <= pl.col("cut")).then(pl.col(column)).alias(column)
                for column in kept.columns
                if column.endswith("offset") and column not in {table.event_at, table.available_at}
            ]
            gone = [pl.lit(None, pl.String).alias(column) for column in leaking(name, kept.columns)]
            raw = kept.with_columns(late).with_columns(gone).drop("cut")
        raw.write_csv(folder / f"{name}.csv")
    return Release(EICU, [folder]), deleted


def everything(release, rows, folder, vocabularies):
    """Modality -> what each row gets of it, bit by bit; and the vocabularies."""
    sources = sources_of(release, rows, folder / "scratch", vocabularies)
    written: dict[str, Any] = {}
    used: dict[str, list[str]] = {}
    for name in TABLES:
        table, present = table_of(sources, name, folder / name)
        written[name] = (table.columns, table.to_numpy().tobytes(), present)
        prefix, _, last = table.columns[-1].rpartition("/")
        if last == "distinct":
            used[prefix] = [column.removeprefix(f"{prefix}/") for column in table.columns[:-1]]
    in_files = database("eicu").modalities["text"].files(sources, folder / "text")
    documents = pl.read_parquet(folder / "text" / "documents.parquet").sort("row_id")
    written["text"] = (documents.rows(), in_files.to_list())
    return written, used


@pytest.fixture(scope="module")
def undisturbed(demo, tmp_path_factory):
    """Landmark -> 500 stays of the demo, everything that they get, and the vocabularies.

    Those of the cohort and those that only pre-training reads are drawn at random; `make validation` derives every
    stay, from what became known by its landmark.
    """

    @cache
    def found(landmark):
        built = build_rows(demo, EICUCohortConfig(index="first", landmark=landmark, pretraining_rows=True))
        extra = pretraining.select(built, SplitConfig(train=1, calibration=0, val=0, test=0)).rows
        rows = pl.concat([built.rows.sample(350, seed=0), extra.sample(150, seed=0)], how="diagonal")
        rows = rows.drop("row_id").with_row_index("row_id")
        return rows, *everything(demo, rows, tmp_path_factory.mktemp(landmark) / "whole", {})

    return found


@pytest.mark.demo
@pytest.mark.parametrize("landmark", ["unit_24h", "unit_discharge"])
def test_rows_of_the_demo_are_bit_identical_without_their_future(demo, undisturbed, tmp_path, landmark):
    rows, whole, vocabularies = undisturbed(landmark)
    left, deleted = mutilate(demo, rows, tmp_path / "release")
    again, _ = everything(left, rows, tmp_path / "left", vocabularies)
    for name, content in whole.items():
        assert again[name] == content, name
    if landmark == "unit_24h":
        assert min(deleted[name] for name in ("lab", "medication", "treatment", "diagnosis", "vitalAperiodic")) > 1_500


@pytest.mark.demo
def test_deleting_twelve_hours_more_is_noticed_in_every_table_of_events(demo, undisturbed, tmp_path):
    rows, whole, vocabularies = undisturbed("unit_24h")
    left, _ = mutilate(demo, rows, tmp_path / "release", earlier=720)
    again, _ = everything(left, rows, tmp_path / "left", vocabularies)
    for name in (*EVENTS, "text"):
        assert again[name] != whole[name], name
