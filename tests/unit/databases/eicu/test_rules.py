"""Rules and outcomes at their boundaries, on stays that were made up for them."""

from typing import Any

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.splits import assign
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.registry import database
from data_modules.raw.errors import SourceError
from data_modules.stage import read_json
from tests.helpers.eicu import DAY, cohort_rows, hospital, stay, write_release

LEAVING = {"index": "every", "landmark": "unit_discharge"}


@pytest.mark.parametrize(("lasts", "kept"), [(1439, False), (1440, False), (1441, True)])
def test_a_stay_must_last_longer_than_a_day(tmp_path, lasts, kept):
    release = write_release(tmp_path, [stay(1, lasts=lasts), stay(2)])
    assert (1 in cohort_rows(release, index="every")) == kept


@pytest.mark.parametrize(("age", "kept"), [("17", False), ("18", True), ("> 89", True), (">89", True), ("", False)])
def test_adults_have_an_age_and_the_oldest_count(tmp_path, age, kept):
    release = write_release(tmp_path, [stay(1, age=age), stay(2)])
    assert (1 in cohort_rows(release, index="every")) == kept


def test_attrition_counts_the_empty_age_apart_from_the_young(tmp_path):
    release = write_release(tmp_path, [stay(1, age=""), stay(2, age="3"), stay(3), stay(4, lasts=60)])
    attrition = build_rows(release, EICUCohortConfig(index="every")).attrition
    assert attrition.rows() == [
        ("unit stays", 4, 4),
        ("of a known subject and hospital stay", 4, 4),
        ("every index", 4, 4),
        ("age known", 3, 3),
        ("age >= 18", 2, 2),
        ("still in the unit 24 h later", 1, 1),
    ]


@pytest.mark.parametrize(("state", "label"), [("Expired", True), ("Alive", False), ("", None), ("EXPIRED ", True)])
def test_an_empty_state_is_unknown_and_never_no(tmp_path, state, label):
    release = write_release(tmp_path, [stay(1, hospitaldischargestatus=state), stay(2, unitdischargestatus=state)])
    rows = cohort_rows(release, index="every")
    assert rows[1]["label/in_hospital_mortality"] is label
    assert rows[1]["label/unit_mortality"] is False
    assert rows[2]["label/unit_mortality"] is label


def test_who_died_in_the_unit_does_not_leave_it(tmp_path):
    stays = [
        stay(1, unitdischargestatus="Expired"),
        stay(2, unitdischargestatus=""),
        stay(3, lasts=-1),
        stay(4, lasts=0),
    ]
    assert set(cohort_rows(write_release(tmp_path, stays), **LEAVING)) == {2, 4}


@pytest.mark.parametrize(
    ("gap", "kind", "again"),
    [
        (0, "readmit", False),
        (1, "readmit", True),
        (1, "transfer", True),
        (1, "", True),
        (1, "stepdown/other", False),
        (1, " Stepdown/Other", False),
        (30 * DAY, "admit", True),
        (-5, "readmit", False),
    ],
)
def test_a_readmission_is_the_next_stay_after_a_gap_that_is_no_step_down(tmp_path, gap, kind, again):
    stays = [
        stay(1, admission=9, begins=100, lasts=600),
        stay(2, admission=9, begins=700 + gap, unitstaytype=kind, unitvisitnumber=2),
    ]
    rows = cohort_rows(write_release(tmp_path, stays), **LEAVING)
    assert rows[1]["label/icu_readmission"] is again
    assert rows[2]["label/icu_readmission"] is False


def test_only_the_next_stay_decides(tmp_path):
    stays = [
        stay(1, admission=9, begins=0, lasts=600),
        stay(2, admission=9, begins=600, lasts=60, unitvisitnumber=2, unitstaytype="stepdown/other"),
        stay(3, admission=9, begins=900, unitvisitnumber=3, unitstaytype="readmit"),
    ]
    rows = cohort_rows(write_release(tmp_path, stays), **LEAVING)
    assert [rows[number]["label/icu_readmission"] for number in (1, 2, 3)] == [False, True, False]


def test_who_comes_back_without_an_id_came_back(tmp_path):
    stays = [
        stay(1, admission=9, begins=100, lasts=600),
        stay(2, admission=9, uniquepid="", begins=900, unitvisitnumber=2),
    ]
    rows = cohort_rows(write_release(tmp_path, stays), **LEAVING)
    assert {number: row["label/icu_readmission"] for number, row in rows.items()} == {1: True}


@pytest.mark.parametrize(("years", "undated"), [((2014, 2014), 1), (("", 2014), 1), ((2014, 2015), 0)])
def test_subjects_whose_hospital_stays_nothing_orders_are_counted(tmp_path, years, undated):
    stays = [
        stay(number, person="p", admission=number, hospitaldischargeyear=year)
        for number, year in enumerate(years, start=1)
    ]
    built = build_rows(write_release(tmp_path, [*stays, stay(3)]), EICUCohortConfig(index="every"))
    assert built.notes["subjects with hospital stays in an unknown order"] == undated


def test_what_a_reader_should_know_of_the_release_is_counted(tmp_path):
    expired: dict[str, Any] = {"unitdischargestatus": "Expired"}
    stays = [
        stay(1, **expired),
        stay(2, **expired, hospitaldischargestatus="Expired"),
        stay(3, **expired, hospitaldischargestatus="Expired"),
        stay(4, admission=9, begins=0, lasts=600),
        stay(5, admission=9, begins=600, lasts=60, unitvisitnumber=2),
        stay(6, admission=9, begins=660, lasts=60, unitvisitnumber=3),
        stay(7, admission=9, begins=900, lasts=60, unitvisitnumber=4),
        stay(8, admission=9, begins=1000, lasts=60, unitvisitnumber=5),
        stay(9, admission=9, begins=1100, lasts=60, unitvisitnumber=6),
        stay(10, admission=9, begins=1110, unitvisitnumber=7, hospitaldischargestatus="Expired"),
        *(
            stay(
                20 + 2 * number + place,
                person=f"moved{number}",
                hospitalid=7 + place,
                hospitaldischargeyear=2014 + place,
            )
            for number in range(4)
            for place in (0, 1)
        ),
    ]
    assert build_rows(write_release(tmp_path, stays), EICUCohortConfig(index="every")).notes == {
        "died in the unit, but left the hospital alive": 1,
        "next unit stay begins as the stay ends": 2,
        "next unit stay begins later": 3,
        "next unit stay begins within an hour": 2,
        "last unit stays of a hospital stay that ended in death": 3,
        "unit stays whose death contradicts other stays (outcomes unknown)": 7,
        "unit stays that end before they begin": 0,
        "subjects in several hospitals": 4,
        "subjects with hospital stays in an unknown order": 0,
    }


def test_another_hospital_stay_is_no_readmission(tmp_path):
    stays = [stay(1, person="p", admission=8), stay(2, person="p", admission=9, begins=9999, unitstaytype="readmit")]
    rows = cohort_rows(write_release(tmp_path, stays), **LEAVING)
    assert rows[1]["label/icu_readmission"] is False


def test_a_readmission_is_unknown_where_the_offsets_are_empty(tmp_path):
    stays = [stay(1, admission=9, begins=0), stay(2, admission=9, unitvisitnumber=2, hospitaladmitoffset="")]
    rows = cohort_rows(write_release(tmp_path, stays), **LEAVING)
    assert rows[1]["label/icu_readmission"] is None


@pytest.mark.parametrize("rule", ["gap", "muse"])
@pytest.mark.parametrize("kind", ["readmit", "stepdown/other"])
def test_a_stay_that_nothing_orders_leaves_its_whole_hospital_stay_unknown(tmp_path, rule, kind):
    """It may be the earliest, or lie between the two others."""
    stays = [
        stay(1, admission=9, begins=0), stay(2, admission=9, begins=9999, unitvisitnumber=2),
        stay(3, admission=9, unitvisitnumber=3, unitstaytype=kind, hospitaladmitoffset=""),
        stay(4, admission=8, hospitaladmitoffset=""), stay(5, admission=7),
    ]  # fmt: skip
    rows = cohort_rows(write_release(tmp_path, stays), readmission=rule, **LEAVING)
    labels = [rows[number]["label/icu_readmission"] for number in range(1, 6)]
    assert labels == [None, None, None, False, False]


@pytest.mark.parametrize(("apart", "again"), [(15 * DAY, True), (15 * DAY + 1, False)])
def test_muse_s_rule_counts_from_admission_to_admission(tmp_path, apart, again):
    stays = [stay(1, admission=9, begins=50), stay(2, admission=9, begins=50 + apart, unitvisitnumber=2)]
    rows = cohort_rows(write_release(tmp_path, stays), readmission="muse", **LEAVING)
    assert rows[1]["label/icu_readmission"] is again


def test_stays_that_begin_together_are_ordered_by_their_number(tmp_path):
    stays = [
        stay(2, admission=9, begins=100, lasts=500, unitvisitnumber=1),
        stay(1, admission=9, begins=100, lasts=900, unitvisitnumber=2),
        stay(3, admission=9, begins=800, unitvisitnumber=3),
    ]
    rows = cohort_rows(write_release(tmp_path, stays), readmission="gap", **LEAVING)
    assert [rows[number]["label/icu_readmission"] for number in (1, 2, 3)] == [False, False, False]


def test_the_first_stay_goes_by_year_then_id_then_start_and_not_by_the_number_one(tmp_path):
    stays = [
        stay(1, person="a", admission=5, hospitaldischargeyear=2015),
        stay(2, person="a", admission=6, begins=900, unitvisitnumber=3),
        stay(3, person="a", admission=6, begins=300, unitvisitnumber=2),
        stay(4, person="b", admission=8, hospitaldischargestatus="Expired"),
        stay(5, person="b", admission=7),
    ]
    assert set(cohort_rows(write_release(tmp_path, stays), index="first")) == {3, 5}


def test_the_index_is_picked_before_the_rules(tmp_path):
    stays = [stay(1, person="a", admission=5, lasts=60), stay(2, person="a", admission=6), stay(3)]
    assert set(cohort_rows(write_release(tmp_path, stays), index="first")) == {3}


def test_rows_are_keyed_by_the_three_ids_of_eicu(tmp_path):
    row = cohort_rows(write_release(tmp_path, [stay(5, person="x-1", admission=44, hospitalid=7)]), index="every")[5]
    assert (row["subject_id"], row["admission_id"], row["stay_id"], row["hospital_id"]) == ("x-1", 44, 5, 7)
    assert row["prediction_offset_minutes"] == DAY


def splits_of(tmp_path, fold_by, **split):
    stays = [stay(number, person=f"s{number % 90}", hospitalid=1 + number % 40) for number in range(1, 181)]
    release = write_release(tmp_path / "release", stays, hospital=[hospital(number) for number in range(1, 41)])
    config = EICUCohortConfig(index="every", fold_by=fold_by, modalities=["demographics"], split=SplitConfig(**split))
    return pl.read_parquet(build_cohort(database("eicu"), release, config, tmp_path / "data") / "cohort.parquet")


def most(cohort, by, drawn):
    return cohort.group_by(by).agg(pl.col(drawn).n_unique())[drawn].max()


@pytest.mark.parametrize("drawn", ["split", "fold"])
def test_hospitals_are_drawn_as_a_whole_and_no_subject_is_torn(tmp_path, drawn):
    cohort = splits_of(tmp_path, "hospital")
    assert most(cohort, "hospital_id", drawn) == most(cohort, "subject_id", drawn) == 1
    assert most(cohort, "subject_id", "hospital_id") == 1
    assert cohort[drawn].n_unique() > 2


def test_rows_away_from_the_subject_s_hospital_are_dropped_and_counted(tmp_path):
    stays = [
        stay(1, person="a", hospitalid=3, lasts=60), stay(2, person="a", hospitalid=5), stay(3, person="b"),
        stay(4, person="c", hospitalid=""), stay(5, person="b", hospitalid=""), stay(6, person="a", hospitalid=3),
    ]  # fmt: skip
    release = write_release(tmp_path, stays)
    built = build_rows(release, EICUCohortConfig(index="every", fold_by="hospital"))
    assert built.attrition.rows()[-2:] == [
        ("still in the unit 24 h later", 5, 3),
        ("in the subject's hospital of the lowest id", 3, 3),
    ]
    assert built.rows["stay_id"].to_list() == [3, 4, 6]
    assert set(cohort_rows(release, index="every")) == {2, 3, 4, 5, 6}


def test_a_test_fold_of_hospitals_is_never_trained_on(tmp_path):
    tested: set[int] = set()
    for fold in range(5):
        cohort = splits_of(tmp_path / str(fold), "hospital", test_fold=fold)
        held = set(cohort.filter(split="test")["hospital_id"])
        assert held
        assert not held & set(cohort.filter(pl.col("split") != "test")["hospital_id"])
        assert not held & tested
        tested |= held
    assert tested == set(cohort["hospital_id"])


def test_the_calibration_rows_of_a_held_fold_are_of_the_hospitals_that_are_tested(tmp_path):
    cohort = splits_of(tmp_path, "hospital", test_fold=1, target_calibration=0.5)
    held = cohort.filter(fold=1)
    assert set(held["split"]) == {"test", "calibration"}
    assert set(cohort.filter(pl.col("fold") != 1)["split"]) == {"train", "val"}
    assert most(cohort, "subject_id", "split") == 1
    assert most(held, "hospital_id", "split") == 2


def test_years_of_discharge_are_folds_and_a_subject_is_in_that_of_its_first_row(tmp_path):
    stays = [
        stay(1, person="a", hospitaldischargeyear=2015), stay(2, person="a"), stay(3, person="b"),
        stay(4, person="c", hospitaldischargeyear=2015), stay(5, person="d", hospitaldischargeyear=""),
        stay(6, person="e", lasts=60), stay(7, person="e", hospitaldischargeyear=2015),
    ]  # fmt: skip
    release = write_release(tmp_path, stays)
    config = EICUCohortConfig(index="every", fold_by="year_group", split=SplitConfig(num_folds=2))
    built = build_rows(release, config)
    assert built.attrition.rows()[-1] == ("year of discharge known", 5, 4)
    placed = assign(built.rows, config.split)
    assert dict(placed.select("stay_id", "fold").rows()) == {1: 0, 2: 0, 3: 0, 4: 1, 7: 1}
    assert set(cohort_rows(release, index="every")) == {1, 2, 3, 4, 5, 7}


@pytest.mark.demo
def test_the_demo_s_hospitals_are_in_one_split_each(demo, tmp_path):
    config = EICUCohortConfig(index="every", fold_by="hospital", modalities=["demographics"])
    folder = build_cohort(database("eicu"), demo, config, tmp_path)
    cohort = pl.read_parquet(folder / "cohort.parquet")
    assert cohort.height == 1622 - 16
    assert most(cohort, "hospital_id", "split") == most(cohort, "hospital_id", "fold") == 1
    assert read_json(folder / "manifest.json")["attrition"][-1] == {
        "rule": "in the subject's hospital of the lowest id", "rows": 1606, "subjects": 1324,
    }  # fmt: skip


@pytest.mark.parametrize("drawn", ["split", "fold"])
def test_subjects_of_one_hospital_are_spread_otherwise(tmp_path, drawn):
    cohort = splits_of(tmp_path, "subject")
    assert most(cohort, "hospital_id", drawn) > 1
    assert most(cohort, "subject_id", drawn) == 1


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"tasks": ["icu_readmission"]}, "icu_readmission does not fit cohort.landmark=unit_24h"),
        ({"tasks": ["unit_mortality"], "landmark": "unit_discharge"}, "unit_mortality does not fit"),
        ({"tasks": ["readmission_30d"]}, "unknown task 'readmission_30d'; known tasks are icu_readmission"),
        ({"min_age": 91}, r"cohort\.min_age=91 must lie in 0 to 90"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_key(settings, reported):
    with pytest.raises(ValueError, match=reported):
        EICUCohortConfig(**settings)


def test_an_empty_cohort_names_the_rule_that_emptied_it(tmp_path):
    with pytest.raises(SourceError, match="no rows are left after the rule 'still in the unit 24 h later'"):
        cohort_rows(write_release(tmp_path, [stay(1, lasts=30)]), index="every")
