"""Attributes by which an evaluation is divided: read by database, brought by a custom cohort, and never an input."""

from pathlib import Path

import polars as pl
import pytest

from data_modules.cohorts import subgroups
from data_modules.cohorts.build import COHORT, build_cohort
from data_modules.cohorts.columns import groups_of
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.cohorts.subgroups import SUBGROUP, SUBGROUPS
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.registry import database
from data_modules.loading.opening import open_cohort
from tests.helpers import eicu, mimic_iv
from tests.helpers.mimic_iv import admission, moment, patient
from tests.unit.cohorts.test_custom import changed, imported, refused


def levels(frame: pl.DataFrame, *keys: str) -> list[tuple[str | None, ...]]:
    return frame.select(keys).rows()


def test_mimic_rows_have_sex_age_race_insurance_and_language(tmp_path: Path) -> None:
    cells = ("race", "insurance", "language")
    stays = [("WHITE - RUSSIAN", "Medicare", "ENGLISH"), ("MULTIPLE RACE", "Other", "?"), ("", "", "")]
    people = [patient(1, gender="M", anchor_age=18), patient(2, anchor_age=65), patient(3, gender="", anchor_age=44)]
    admissions = [
        admission(number, 10 * number, moment(), moment(3), **dict(zip(cells, own, strict=True)))
        for number, own in enumerate(stays, start=1)
    ]
    release = mimic_iv.write_release(tmp_path / "release", patients=people, admissions=admissions)
    spec = database("mimic")
    found = spec.subgroups(mimic_iv.context_of(release, tmp_path / "scratch"))
    assert found["row_id"].to_list() == [0, 1, 2, 3]
    assert levels(found, "sex", "age_band", "race", "insurance", "language")[:3] == [
        ("male", "18 to 44", "white", "medicare", "english"),
        ("female", "65 to 74", "other", "other", "other"),
        (None, "18 to 44", None, None, None),
    ]


@pytest.fixture
def eicu_cohort(tmp_path: Path) -> Path:
    stays = [
        eicu.stay(1, gender="Male", age="> 89", ethnicity="Caucasian", hospitaldischargeyear=2015),
        eicu.stay(2, gender="Unknown", age="74", ethnicity="Other/Unknown", hospitalid=8),
        *(eicu.stay(number) for number in range(3, 9)),
    ]
    release = eicu.write_release(tmp_path / "release", stays, hospital=[eicu.hospital(), eicu.hospital(8)])
    config = EICUCohortConfig(modalities=["demographics"], missing_tables="drop")
    return build_cohort(database("eicu"), release, config, tmp_path / "data")


def test_eicu_rows_have_sex_age_race_hospital_and_year(eicu_cohort: Path) -> None:
    cohort = pl.read_parquet(eicu_cohort / COHORT)
    found = subgroups.read(eicu_cohort, cohort)
    assert found.columns == [SUBGROUP + name for name in ("sex", "age_band", "race", "year_group", "hospital")]
    assert found.rows()[:3] == [
        ("male", "85 or more", "white", "2015", "7"),
        (None, "65 to 74", "other", "2014", "8"),
        ("female", "45 to 64", None, "2014", "7"),
    ]


def test_they_are_in_a_file_of_their_own_and_no_input(eicu_cohort: Path) -> None:
    cohort = pl.read_parquet(eicu_cohort / COHORT)
    assert not [name for name in cohort.columns if name.startswith(SUBGROUP) or name in {"sex", "race", "year"}]
    assert groups_of(cohort)[0] == "hospital"
    opened = open_cohort(eicu_cohort, {})
    assert opened.names == ["demographics"]
    assert opened.subgroups.height == cohort.height
    (eicu_cohort / SUBGROUPS).unlink()
    assert subgroups.read(eicu_cohort, cohort).columns == [SUBGROUP + "hospital"]


def test_a_custom_cohort_brings_its_own(custom_cohort: Path) -> None:
    rows = pl.read_parquet(custom_cohort / COHORT)
    changed(
        custom_cohort,
        **{
            "subgroup/smoker": pl.col("row_id") % 2 == 0,
            "subgroup/ward": pl.when(pl.col("row_id") > 0).then(pl.lit("north")),
            "subgroup/empty": pl.lit(None, pl.String),
        },
    )
    folder = imported(custom_cohort)
    cohort = pl.read_parquet(folder / COHORT)
    found = open_cohort(folder, {}).subgroups
    assert found.columns == ["subgroup/smoker", "subgroup/ward"]
    assert found.rows()[:2] == [("true", None), ("false", "north")]
    assert found.height == rows.height
    assert not [name for name in cohort.columns if name.startswith(SUBGROUP)]


def test_without_attributes_there_is_no_file(custom_cohort: Path) -> None:
    folder = imported(custom_cohort)
    assert not (folder / SUBGROUPS).exists()
    assert open_cohort(folder, {}).subgroups.is_empty()


@pytest.mark.parametrize(
    ("columns", "rule"),
    [({"subgroup/age": pl.lit(1.5)}, "must be text, integer or Boolean"), ({"subgroup/": pl.lit("a")}, "must not be")],
)
def test_what_is_no_attribute_is_refused(custom_cohort: Path, columns: dict[str, pl.Expr], rule: str) -> None:
    assert rule in refused(changed(custom_cohort, **columns))


def test_rows_keep_their_attributes_in_any_order_of_the_file(custom_cohort: Path) -> None:
    path = custom_cohort / COHORT
    rows = pl.read_parquet(path).with_columns(pl.col("row_id").cast(pl.String).alias("subgroup/place"))
    rows.sample(fraction=1, shuffle=True, seed=0).write_parquet(path)
    folder = build_custom(custom_cohort, CustomCohortConfig(name="custom"), custom_cohort.parent / "data")
    opened = open_cohort(folder, {})
    assert opened.subgroups["subgroup/place"].to_list() == opened.table["row_id"].cast(pl.String).to_list()
