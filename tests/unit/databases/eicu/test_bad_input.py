"""What eICU files hold in the wild: one clear error, or a rule that was decided on."""

import gzip
from typing import Any

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.events import PHYSIOLOGY
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release
from data_modules.stage import read_json
from tests.helpers.eicu import cohort_rows, features_of, hospital, stay, write_release, write_table

EVERY: dict[str, Any] = {"index": "every", "landmark": "unit_24h"}


@pytest.mark.parametrize("age", ["eighty", "> 90", "60.5", "-77"])
def test_an_age_that_is_none_is_counted_and_never_shown(tmp_path, age):
    release = write_release(tmp_path, [stay(1, age=age), stay(2)])
    with pytest.raises(
        SourceError, match=r"patient\.csv: column 'age' holds 1 of 2 values that are not a whole"
    ) as reported:
        cohort_rows(release)
    assert age not in str(reported.value)


@pytest.mark.parametrize("column", ["unitdischargestatus", "hospitaldischargestatus"])
def test_a_state_that_is_neither_alive_nor_expired_is_refused(tmp_path, column):
    changed: dict[str, Any] = {column: "Home"}
    release = write_release(tmp_path, [stay(1, **changed), stay(2)])
    with pytest.raises(SourceError, match=f"column '{column}' holds 1 of 2 values that are not Alive or Expired"):
        cohort_rows(release)


@pytest.mark.parametrize(("table", "key"), [("patient", "patientunitstayid"), ("hospital", "hospitalid")])
def test_a_key_that_repeats_is_refused(tmp_path, table, key):
    rows = {"patient": [stay(1), stay(1), stay(2)], "hospital": [hospital(), hospital()]}
    release = write_release(tmp_path, [stay(1), stay(2)])
    write_table(tmp_path, table, rows[table])
    with pytest.raises(SourceError, match=f"key '{key}' repeats in 1 of"):
        build_cohort(
            database("eicu"), release, EICUCohortConfig(**EVERY, modalities=["demographics"]), tmp_path / "data"
        )


def test_quoted_empty_cells_are_null(tmp_path):
    release = write_release(tmp_path, [stay(1), stay(2, gender="", hospitaldischargestatus="", age="")])
    file = tmp_path / "patient.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([header, *(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines), ""]))
    (row,) = cohort_rows(release, index="every", min_age=0).values()
    assert row["stay_id"] == 1
    found = features_of(release, "demographics", tmp_path, **EVERY)
    assert found[1]["ethnicity/Asian"] != found[1]["ethnicity/Asian"]


def test_blank_lines_at_the_end_are_no_stays(tmp_path):
    release = write_release(tmp_path, [stay(1), stay(2)])
    file = tmp_path / "patient.csv"
    file.write_text(file.read_text() + "," * 28 + "\n")
    assert set(cohort_rows(release, **EVERY)) == {1, 2}


def test_headers_may_have_any_case(tmp_path):
    release = write_release(tmp_path, [stay(1), stay(2)])
    file = tmp_path / "patient.csv"
    text = file.read_text()
    file.write_text(text.replace("patientunitstayid", "patientUnitStayID").replace("uniquepid", "uniquePid"))
    assert set(cohort_rows(release, **EVERY)) == {1, 2}


@pytest.mark.parametrize("name", ["infusiondrug.csv", "infusionDrug.csv", "InfusionDrug.csv.gz"])
def test_infusions_are_found_under_every_spelling(tmp_path, name):
    write_release(tmp_path, [stay(1), stay(2)])
    row = {"patientunitstayid": 1, "infusionoffset": 5, "drugname": "Norepinephrine (mcg/min)", "drugrate": "a few"}
    file = write_table(tmp_path, "infusionDrug", [row], name)
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(file.read_bytes()))
    found = features_of(Release(EICU, [tmp_path]), "infusions", tmp_path, **EVERY)
    assert found == {1: {"infusion/norepinephrine": 1, "infusion/distinct": 1}, 2: None}


@pytest.mark.parametrize("layout", ["", "eicu-crd/2.0", "physionet.org/files/eicu-crd/2.0", "2.0"])
def test_the_layouts_of_a_download_are_found(tmp_path, layout):
    write_release(tmp_path / layout, [stay(1), stay(2)])
    release = Release(EICU, [tmp_path])
    assert set(cohort_rows(release)) == {1, 2}
    assert release.versions() == {"eicu-crd": "2.0" if layout else "unknown"}


def test_two_apache_versions_of_a_stay_double_nothing(tmp_path):
    versions = [
        {"apachepatientresultsid": n, "patientunitstayid": 1, "apacheversion": v} for n, v in ((1, "IV"), (2, "IVa"))
    ]
    values = [{"apacheapsvarid": number, "patientunitstayid": 1, "wbc": wbc} for number, wbc in ((8, 6.0), (9, 5.0))]
    release = write_release(tmp_path, [stay(1), stay(2)], apachePatientResult=versions, apacheApsVar=values)
    config = EICUCohortConfig(**EVERY, modalities=["apache_physiology", "demographics"])
    assert (
        pl.read_parquet(build_cohort(database("eicu"), release, config, tmp_path / "data") / "cohort.parquet").height
        == 2
    )
    found = features_of(release, "apache_physiology", tmp_path, **EVERY)
    assert found[1]["apacheApsVar/wbc"] == 6
    assert found[2] is None


def test_minus_one_in_every_cell_is_absence(tmp_path):
    row = {"apacheapsvarid": 1, "patientunitstayid": 1, **dict.fromkeys(PHYSIOLOGY, -1)}
    release = write_release(tmp_path, [stay(1), stay(2)], apacheApsVar=[row])
    assert features_of(release, "apache_physiology", tmp_path, **EVERY) == {1: None, 2: None}


def test_a_missing_table_drops_its_modality_or_its_half_and_says_so(tmp_path):
    vital = {"patientunitstayid": 1, "observationoffset": 5, "noninvasivemean": 70}
    release = write_release(tmp_path, [stay(1), stay(2)], vitalAperiodic=[vital])
    config = EICUCohortConfig(**EVERY, modalities=["demographics", "labs", "vitals"])
    manifest = read_json(build_cohort(database("eicu"), release, config, tmp_path / "data") / "manifest.json")
    assert manifest["dropped"] == [
        "labs is dropped: lab.csv.gz is missing",
        "vitals/vitals_periodic is dropped: vitalPeriodic.csv.gz is missing",
        "published predictions (baselines/published_score) are dropped: apachePatientResult.csv.gz is missing",
    ]
    assert [entry["name"] for entry in manifest["modalities"]] == ["demographics", "vitals"]
    with pytest.raises(SourceError, match=r"lab\.csv\.gz: this table of eicu-crd is missing"):
        build_cohort(
            database("eicu"),
            release,
            EICUCohortConfig(**EVERY, modalities=["labs"], missing_tables="error"),
            tmp_path / "data",
        )


@pytest.mark.parametrize("name", ["patient", "hospital"])
def test_a_missing_core_table_is_named_with_the_setting(tmp_path, name):
    write_release(tmp_path, [stay(1), stay(2)])
    (tmp_path / f"{name}.csv").unlink()
    with pytest.raises(SourceError, match=rf"{name}\.csv\.gz: this table .* set paths\.eicu_root or EICU_ROOT"):
        build_cohort(
            database("eicu"),
            Release(EICU, [tmp_path]),
            EICUCohortConfig(modalities=["demographics"]),
            tmp_path / "data",
        )


def test_a_hospital_that_is_not_in_its_table_is_unknown(tmp_path):
    release = write_release(tmp_path, [stay(1, hospitalid=99), stay(2)])
    found = features_of(release, "demographics", tmp_path, **EVERY)
    assert found[1]["region/West"] != found[1]["region/West"]
    assert found[2]["region/West"] == 1
