"""Two copies of a release: every key is of one copy, rows stay linked, and the cohort has each row twice."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.cohort import bare, build
from benchmarks.databases import BENCHED
from benchmarks.scale import KEY_STEP, multiply, scale, tables_read
from data_modules.databases.eicu.tables import EICU
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate

SUBJECTS = 60
OWN = {
    "mimic": [("patients", "subject_id"), ("admissions", "hadm_id"), ("icustays", "stay_id")],
    "eicu": [("patient", column) for column in ("uniquepid", "patienthealthsystemstayid", "patientunitstayid")],
}
"""Dataset -> tables and their ids of patients, hospital stays and unit stays."""
LINKS = {
    "mimic": [
        ("admissions", "subject_id", "patients"),
        ("labevents", "hadm_id", "admissions"),
        ("prescriptions", "pharmacy_id", "pharmacy"),
    ],
    "eicu": [("lab", "patientunitstayid", "patient"), ("patient", "hospitalid", "hospital")],
}
"""Dataset -> table, its column, and the table whose column it is."""


@pytest.fixture(scope="module", params=sorted(BENCHED))
def doubled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A dataset, a simulated release of it, and twice that release."""
    folder = tmp_path_factory.mktemp("scale")
    schema = BENCHED[request.param].schema
    simulate(SimulateConfig(databases=[schema.name], subjects=SUBJECTS, charting=True), folder / "once")
    return request.param, folder / "once", scale(request.param, str(folder / "once"), 2 * SUBJECTS, folder)


def read(dataset, root, name):
    return pl.read_csv(Release.parse(BENCHED[dataset].schema, str(root)).files[name], infer_schema=False)


def cohort_of(folder):
    (file,) = folder.glob("cohorts/*/cohort.parquet")
    return pl.read_parquet(file)


def test_only_tables_that_the_cohort_reads_are_written(doubled) -> None:
    dataset, once, twice = doubled
    benched = BENCHED[dataset]
    chosen = tables_read(benched, Release.parse(benched.schema, str(once)), further=True)
    assert sorted(Release.parse(benched.schema, str(twice)).files) == chosen


def test_keys_of_patients_are_distinct_and_all_else_is_the_same(doubled) -> None:
    dataset, once, twice = doubled
    benched = BENCHED[dataset]
    for name in Release.parse(benched.schema, str(twice)).files:
        before, after = read(dataset, once, name), read(dataset, twice, name)
        keys = [column for column in before.columns if column in benched.keys]
        assert bool(keys) is (name != "hospital"), name
        copies = 2 if keys else 1
        assert after.height == copies * before.height
        assert after.drop(keys).equals(pl.concat([before.drop(keys)] * copies))
        for key in keys:
            assert after[key].n_unique() - (after[key].null_count() > 0) == 2 * before[key].drop_nulls().n_unique()


def test_no_copy_shares_a_patient_a_hospital_stay_or_a_unit_stay(doubled) -> None:
    dataset, once, twice = doubled
    for name, column in OWN[dataset]:
        before, after = (read(dataset, root, name)[column].n_unique() for root in (once, twice))
        assert after == 2 * before


def test_rows_stay_linked(doubled) -> None:
    dataset, once, twice = doubled
    for name, column, owner in LINKS[dataset]:
        before, after = (
            read(dataset, root, name).join(read(dataset, root, owner), on=column).height for root in (once, twice)
        )
        assert after == 2 * before > 0


@pytest.mark.parametrize("further", [False, True])
def test_the_cohort_of_two_copies_has_each_row_twice(doubled, further, tmp_path) -> None:
    dataset, once, twice = doubled
    for root, name in ((once, "once"), (twice, "twice")):
        build(dataset, str(root), tmp_path / name, further=further)
    before, after = cohort_of(tmp_path / "once"), cohort_of(tmp_path / "twice")
    assert after["subject_id"].n_unique() == 2 * before["subject_id"].n_unique()
    measured = [column for column in before.columns if column.startswith(("label/", "present/"))]
    assert after.select(measured).sum().equals(before.select(measured).sum() * 2)
    assert ("present/scores" in measured) is further


@pytest.mark.parametrize("further", [False, True])
def test_the_bare_scan_reads_every_table_of_the_build(doubled, further, monkeypatch) -> None:
    dataset, _, twice = doubled
    read_files = []
    scan = pl.scan_csv
    monkeypatch.setattr(pl, "scan_csv", lambda file, **settings: read_files.append(file) or scan(file, **settings))
    bare(dataset, str(twice), twice, further=further)
    release = Release.parse(BENCHED[dataset].schema, str(twice))
    names = tables_read(BENCHED[dataset], release, further=further)
    assert read_files == [release.files[name] for name in names]


def test_a_key_that_another_copy_could_have_is_refused(tmp_path) -> None:
    file = tmp_path / "lab.csv"
    pl.DataFrame({"labid": [KEY_STEP], "patientunitstayid": [1]}).write_csv(file)
    with pytest.raises(AssertionError, match="a key is larger"):
        multiply(file, EICU.tables["lab"], BENCHED["eicu"].keys, 2, tmp_path / "out.csv.gz")
