"""The rules of the MIMIC-IV cohort at their boundaries, on releases of a few rows."""

from datetime import date

import polars as pl
import pytest

from data_modules.cohorts import splits
from data_modules.cohorts.config import SplitConfig
from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.raw.errors import SourceError
from tests.helpers.mimic_iv import admission, cohort_rows, death, moment, patient, stay, write_release, write_table

ICU = {"landmark": "icu_24h", "tasks": ["in_hospital_mortality"], "index": "every"}


def one_label(folder, task, admissions, stays=(), *, dod=None, **settings):
    """The label of admission 1, which ends on day 5 at 20:00."""
    index = admission(1, 1, moment(1), moment(5, hours=20))
    release = write_release(
        folder, patients=[patient(1, dod=dod)], admissions=[index, *admissions], icustays=list(stays)
    )
    return cohort_rows(release, tasks=[task], **{"index": "every", **settings})[1][f"label/{task}"]


@pytest.mark.parametrize(
    ("seconds_after_discharge", "readmitted"),
    [(0, False), (1, True), (30 * 86_400, True), (30 * 86_400 + 1, False)],
)
def test_a_readmission_comes_after_discharge_and_within_thirty_times_24_hours(
    tmp_path, seconds_after_discharge, readmitted
):
    start = moment(5, hours=20, seconds=seconds_after_discharge)
    assert one_label(tmp_path, "readmission_30d", [admission(1, 2, start, moment(60))]) is readmitted


def test_a_transfer_at_the_second_of_discharge_is_passed_over_for_the_next_admission(tmp_path):
    transfer = admission(1, 2, moment(5, hours=20), moment(7))
    assert one_label(tmp_path, "readmission_30d", [transfer, admission(1, 3, moment(20), moment(21))]) is True


def test_the_next_admission_is_the_next_in_time_whatever_its_id(tmp_path):
    later = [admission(1, 2, moment(90), moment(91)), admission(1, 3, moment(10), moment(11))]
    assert one_label(tmp_path, "readmission_30d", later) is True


def test_no_later_admission_and_a_death_at_home_are_not_a_readmission(tmp_path):
    assert one_label(tmp_path, "readmission_30d", [], dod=moment(8).date()) is False


@pytest.mark.parametrize(
    ("kind", "counts"), [("ELECTIVE", False), ("SURGICAL SAME DAY ADMISSION", False), ("URGENT", True)]
)
def test_the_switch_for_elective_readmissions_concerns_elective_ones_only(tmp_path, kind, counts):
    later = admission(1, 2, moment(10), moment(12), admission_type=kind)
    assert one_label(tmp_path / "all", "readmission_30d", [later]) is True
    assert one_label(tmp_path / "some", "readmission_30d", [later], elective_readmissions=False) is counts


def test_an_elective_next_admission_hides_the_unplanned_one_behind_it(tmp_path):
    later = [
        admission(1, 2, moment(10), moment(12), admission_type="ELECTIVE"),
        admission(1, 3, moment(15), moment(16)),
    ]
    assert one_label(tmp_path, "readmission_30d", later, elective_readmissions=False) is False


@pytest.mark.parametrize(
    ("day_of_death", "dies"), [(4, None), (5, True), (6, True), (185, True), (186, False), (None, False)]
)
def test_death_is_counted_in_dates_from_the_day_of_discharge_to_day_180(tmp_path, day_of_death, dies):
    dod = None if day_of_death is None else moment(day_of_death).date()
    assert one_label(tmp_path, "mortality_180d", [], dod=dod) is dies


@pytest.mark.parametrize(("seconds", "needs"), [(0, False), (1, True), (90 * 86_400, True), (90 * 86_400 + 1, False)])
def test_intensive_care_of_another_admission_counts_for_ninety_days(tmp_path, seconds, needs):
    intime = moment(5, hours=20, seconds=seconds)
    later = admission(1, 2, moment(5, hours=20), moment(200))
    assert one_label(tmp_path, "icu_90d", [later], [stay(1, 2, intime)]) is needs


def test_intensive_care_of_the_same_admission_never_counts(tmp_path):
    inside, late = stay(1, 1, moment(2)), stay(1, 1, moment(6), stay_id=11)
    assert one_label(tmp_path, "icu_90d", [], [inside, late]) is False


def test_intensive_care_of_an_admission_that_does_not_count_never_counts(tmp_path):
    watched = admission(1, 2, moment(10), moment(12), admission_type="EU OBSERVATION")
    given = ("icu_90d", [watched], [stay(1, 2, moment(11))])
    assert one_label(tmp_path / "counted", *given) is True
    assert one_label(tmp_path / "left out", *given, observation_stays=False) is False


def test_intensive_care_after_death_never_counts(tmp_path):
    given = ("icu_90d", [admission(1, 2, moment(9), moment(12))], [stay(1, 2, moment(11))])
    dod = moment(8).date()
    assert one_label(tmp_path / "donors", *given, dod=dod, organ_donors=True) is True
    assert one_label(tmp_path / "usual", *given, dod=dod) is False


def test_an_index_that_ends_in_death_is_left_out(tmp_path):
    release = write_release(tmp_path, patients=[patient(1)], admissions=[death(1, 1, moment(1), moment(3), moment(3))])
    assert not cohort_rows(release)


def test_the_expire_flag_and_the_time_of_death_decide_who_was_discharged_alive_and_not_the_place(tmp_path):
    rows = [
        admission(1, 1, moment(1), moment(2), hospital_expire_flag=1),
        admission(2, 2, moment(1), moment(2), deathtime=moment(2)),
        admission(3, 3, moment(1), moment(2), discharge_location="DIED"),
        admission(4, 4, moment(1), moment(2)),
    ]
    release = write_release(tmp_path, patients=[patient(number) for number in range(1, 5)], admissions=rows)
    assert set(cohort_rows(release)) == {3, 4}


def donor(folder):
    """A death, the organ donor's admission a minute later, and one more on the same day."""
    rows = [
        death(1, 1, moment(1), moment(3, hours=10), moment(3, hours=10)),
        admission(1, 2, moment(3, hours=10, seconds=60), moment(3, hours=12)),
        admission(1, 3, moment(3, hours=13), moment(3, hours=14)),
    ]
    return write_release(folder, patients=[patient(1, dod=date(2150, 1, 4))], admissions=rows)


def test_admissions_after_death_are_no_index_unless_the_switch_says_so(tmp_path):
    release = donor(tmp_path)
    assert not cohort_rows(release, index="every")
    assert set(cohort_rows(release, index="every", organ_donors=True)) == {2, 3}


def test_the_last_admission_of_an_organ_donor_is_the_one_in_which_he_died(tmp_path):
    assert not cohort_rows(donor(tmp_path), index="last", tasks=["mortality_180d"])


def test_an_admission_after_the_date_of_death_is_recognised_without_a_death_in_hospital(tmp_path):
    rows = [admission(1, 1, moment(1), moment(2)), admission(1, 2, moment(5), moment(6))]
    release = write_release(tmp_path, patients=[patient(1, dod=moment(4).date())], admissions=rows)
    built = cohort_rows(release, index="every")
    assert set(built) == {1}
    assert built[1]["label/readmission_30d"] is False


def test_an_admission_on_the_day_of_death_is_an_index_and_an_outcome(tmp_path):
    tasks = ["readmission_30d", "icu_90d"]
    rows = [
        admission(1, 1, moment(1), moment(5)),
        admission(1, 2, moment(10, hours=8), moment(10, hours=20)),
    ]
    release = write_release(
        tmp_path,
        patients=[patient(1, dod=moment(10).date())],
        admissions=rows,
        icustays=[stay(1, 2, moment(10, hours=9))],
    )
    built = cohort_rows(release, index="every", tasks=tasks)
    assert set(built) == {1, 2}
    assert [built[1][f"label/{task}"] for task in tasks] == [True, True]


def test_a_death_ends_the_admissions_of_its_own_subject_alone(tmp_path):
    rows = [
        death(1, 1, moment(1), moment(3), moment(3)),
        admission(2, 2, moment(5), moment(6)),
        admission(2, 3, moment(8), moment(9)),
    ]
    release = write_release(tmp_path, patients=[patient(1), patient(2)], admissions=rows)
    built = cohort_rows(release, index="every")
    assert {hadm: row["label/readmission_30d"] for hadm, row in built.items()} == {2: True, 3: False}


def test_a_death_during_an_uncounted_observation_stay_still_ends_the_subject(tmp_path):
    dies = {**death(1, 1, moment(1), moment(3), moment(3, hours=1)), "admission_type": "EU OBSERVATION"}
    release = write_release(
        tmp_path, patients=[patient(1)], admissions=[dies, admission(1, 2, moment(3, hours=2), moment(3, hours=5))]
    )
    assert not cohort_rows(release, index="every", observation_stays=False)


def test_overlapping_admissions_are_kept_or_dropped_together_and_are_no_readmissions(tmp_path):
    rows = [
        admission(1, 1, moment(1), moment(10)),
        admission(1, 2, moment(5), moment(7)),
        admission(1, 3, moment(30), moment(31)),
    ]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    kept = cohort_rows(release, index="every", tasks=["readmission_7d"])
    assert {hadm: row["label/readmission_7d"] for hadm, row in kept.items()} == {1: False, 2: False, 3: False}
    assert set(cohort_rows(release, index="every", overlapping_admissions=False)) == {3}


def test_a_later_admission_inside_a_long_one_behind_a_short_one_is_an_overlap(tmp_path):
    rows = [
        admission(1, 1, moment(1), moment(20)),
        admission(1, 2, moment(5), moment(6)),
        admission(1, 3, moment(10), moment(11)),
    ]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    assert not cohort_rows(release, index="every", overlapping_admissions=False)


def test_admissions_that_touch_do_not_overlap(tmp_path):
    rows = [admission(1, 1, moment(1), moment(5)), admission(1, 2, moment(5), moment(6))]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    assert set(cohort_rows(release, index="every", overlapping_admissions=False)) == {1, 2}


def test_reversed_stays_are_refused_beyond_a_share_and_otherwise_dropped_and_counted(tmp_path):
    rows = [admission(1, 1, moment(2), moment(1)), admission(1, 2, moment(3), moment(4))]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    with pytest.raises(SourceError, match=r"'dischtime' is before 'admittime' in 1 of 3 rows"):
        cohort_rows(release)
    built = build_rows(release, MIMICCohortConfig(index="every", max_reversed_share=0.4))
    assert set(built.rows["hadm_id"]) == {2, 9000}
    assert built.attrition["rows"].to_list()[:3] == [3, 3, 2]


def test_an_admission_of_no_length_is_not_reversed(tmp_path):
    release = write_release(tmp_path, patients=[patient(1)], admissions=[admission(1, 1, moment(1), moment(1))])
    built = build_rows(release, MIMICCohortConfig(index="every"))
    assert set(built.rows["hadm_id"]) == {1, 9000}
    assert built.attrition["rows"].to_list()[:3] == [2, 2, 2]


def early(folder, gap_seconds, **settings):
    rows = [
        admission(1, 1, moment(1), moment(5)),
        admission(1, 2, moment(5, seconds=gap_seconds), moment(200)),
    ]
    release = write_release(folder, patients=[patient(1)], admissions=rows)
    return cohort_rows(release, **settings)


@pytest.mark.parametrize(("gap", "kept"), [(3_600, False), (72 * 3_600, False), (72 * 3_600 + 1, True)])
def test_a_row_whose_outcome_falls_inside_the_grace_is_left_out(tmp_path, gap, kept):
    assert (1 in early(tmp_path, gap, note_grace_hours=72)) is kept


def test_early_outcomes_stay_when_asked_for_or_without_a_grace(tmp_path):
    assert 1 in early(tmp_path / "a", 3_600)
    assert 1 in early(tmp_path / "b", 3_600, note_grace_hours=72, early_events="keep")


@pytest.mark.parametrize(("day_of_death", "kept"), [(5, False), (8, False), (9, True)])
def test_a_death_on_the_day_the_grace_ends_is_early(tmp_path, day_of_death, kept):
    people = [patient(1, dod=moment(day_of_death).date())]
    release = write_release(tmp_path, patients=people, admissions=[admission(1, 1, moment(1), moment(5))])
    assert (1 in cohort_rows(release, note_grace_hours=72)) is kept


def test_the_prediction_is_made_when_the_grace_is_over_and_the_landmark_stays(tmp_path):
    row = early(tmp_path, 40 * 86_400, note_grace_hours=72)[1]
    assert (row["landmark_at"], row["prediction_at"]) == (moment(5), moment(8))


@pytest.mark.parametrize(("anchor_age", "kept"), [(17, False), (18, True), (91, True)])
def test_age_at_admission_is_counted_in_calendar_years(tmp_path, anchor_age, kept):
    release = write_release(
        tmp_path, patients=[patient(1, anchor_age=anchor_age)], admissions=[admission(1, 1, moment(1), moment(2))]
    )
    assert (1 in cohort_rows(release)) is kept


def test_a_minor_at_the_anchor_is_an_adult_in_the_year_after(tmp_path):
    release = write_release(
        tmp_path,
        patients=[patient(1, anchor_age=17)],
        admissions=[admission(1, 1, moment(1), moment(2)), admission(1, 2, moment(366), moment(367))],
    )
    assert cohort_rows(release, index="every")[2]["age"] == 18


def test_the_index_is_picked_before_the_rules_apply(tmp_path):
    release = write_release(
        tmp_path,
        patients=[patient(1, anchor_age=17)],
        admissions=[admission(1, 1, moment(1), moment(2)), admission(1, 2, moment(366), moment(367))],
    )
    assert not cohort_rows(release, index="first")


def test_first_last_and_every_pick_by_admission_time_and_not_by_file_order(tmp_path):
    rows = [admission(1, hadm, moment(10 * day), moment(10 * day + 1)) for hadm, day in ((5, 2), (6, 1), (7, 3))]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    picked = {
        index: list(cohort_rows(release, index=index, tasks=["mortality_180d"])) for index in ("first", "last", "every")
    }
    assert picked == {"first": [6], "last": [7], "every": [6, 5, 7]}


def test_anchor_year_groups_keep_only_their_subjects(tmp_path):
    release = write_release(
        tmp_path,
        patients=[patient(1), patient(2, anchor_year_group="2020 - 2022")],
        admissions=[admission(subject, subject, moment(1), moment(2)) for subject in (1, 2)],
    )
    assert set(cohort_rows(release, anchor_year_groups=["2011 - 2013"])) == {1}
    assert set(cohort_rows(release)) == {1, 2}


def test_folds_of_year_groups_are_in_order_of_time_and_drop_who_has_none(tmp_path):
    groups = ["2014 - 2016", "2008 - 2010", None, "2011 - 2013", "2008 - 2010"]
    release = write_release(
        tmp_path,
        patients=[patient(subject, anchor_year_group=group) for subject, group in enumerate(groups)],
        admissions=[admission(subject, subject, moment(1), moment(2)) for subject in range(5)],
    )
    config = MIMICCohortConfig(fold_by="year_group", split=SplitConfig(num_folds=3, test_from=1))
    built = build_rows(release, config)
    placed = splits.assign(built.rows, config.split)
    assert dict(placed.select("hadm_id", "fold").rows()) == {0: 2, 1: 0, 3: 1, 4: 0, 9000: 1}
    assert set(placed.filter(pl.col("fold") > 0)["split"]) == {"test"}
    assert set(placed.filter(fold=0)["split"]) <= {"train", "calibration", "val"}
    assert "anchor year group known" in built.attrition["rule"].to_list()
    assert set(cohort_rows(release)) == set(range(5))


@pytest.mark.parametrize("kind", ["EU OBSERVATION", "AMBULATORY OBSERVATION", "DIRECT OBSERVATION"])
def test_without_observation_stays_they_are_neither_index_nor_readmission(tmp_path, kind):
    rows = [
        admission(1, 1, moment(1), moment(2)),
        admission(1, 2, moment(5), moment(6), admission_type=kind),
    ]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    counted = cohort_rows(release, index="every")
    assert {hadm: row["label/readmission_30d"] for hadm, row in counted.items()} == {1: True, 2: False}
    without = cohort_rows(release, index="every", observation_stays=False)
    assert {hadm: row["label/readmission_30d"] for hadm, row in without.items()} == {1: False}


def in_the_unit(folder, row, *, outtime=None, **settings):
    """Whether admission 1, in the unit from day 1, is still a row 24 hours later."""
    release = write_release(folder, patients=[patient(1)], admissions=[row], icustays=[stay(1, 1, moment(1), outtime)])
    return cohort_rows(release, **{**ICU, **settings})


@pytest.mark.parametrize(("seconds", "kept"), [(-1, False), (0, False), (1, True)])
def test_who_leaves_hospital_within_24_hours_of_the_unit_is_no_row(tmp_path, seconds, kept):
    rows = in_the_unit(tmp_path, admission(1, 1, moment(0), moment(2, seconds=seconds)))
    assert (1 in rows) is kept


@pytest.mark.parametrize(("seconds", "kept"), [(-1, False), (0, False), (1, True)])
def test_who_dies_within_24_hours_of_the_unit_is_no_row(tmp_path, seconds, kept):
    dies = moment(2, seconds=seconds)
    rows = in_the_unit(tmp_path, death(1, 1, moment(0), moment(3), dies))
    assert (1 in rows) is kept


@pytest.mark.parametrize(("seconds", "kept"), [(0, False), (1, True)])
def test_who_leaves_the_unit_within_24_hours_is_dropped_only_when_asked(tmp_path, seconds, kept):
    row, outtime = admission(1, 1, moment(0), moment(9)), moment(2, seconds=seconds)
    assert 1 in in_the_unit(tmp_path / "hospital", row, outtime=outtime)
    assert (1 in in_the_unit(tmp_path / "unit", row, outtime=outtime, in_unit=True)) is kept


def test_a_dischtime_at_midnight_before_the_death_does_not_end_the_stay(tmp_path):
    rows = in_the_unit(tmp_path, death(1, 1, moment(0), moment(2), moment(2, hours=22)))
    assert rows[1]["label/in_hospital_mortality"] is True
    assert rows[1]["landmark_at"] == moment(2)


def test_the_landmark_in_the_unit_is_24_hours_into_the_first_stay(tmp_path):
    release = write_release(
        tmp_path,
        patients=[patient(1)],
        admissions=[admission(1, 1, moment(0), moment(9)), admission(1, 2, moment(20), moment(29))],
        icustays=[stay(1, 2, moment(21)), stay(1, 1, moment(5), stay_id=12), stay(1, 1, moment(2))],
    )
    every = cohort_rows(release, **ICU)
    assert {hadm: (row["stay_id"], row["landmark_at"]) for hadm, row in every.items()} == {
        1: (10, moment(3)),
        2: (20, moment(22)),
    }
    assert set(cohort_rows(release, **{**ICU, "index": "first"})) == {1}
    assert set(cohort_rows(release, **{**ICU, "index": "last"})) == {2}


def test_the_first_unit_stay_of_a_subject_may_be_in_a_later_admission(tmp_path):
    release = write_release(
        tmp_path,
        patients=[patient(1)],
        admissions=[admission(1, 1, moment(0), moment(9)), admission(1, 2, moment(20), moment(29))],
        icustays=[stay(1, 2, moment(21))],
    )
    assert set(cohort_rows(release, **{**ICU, "index": "first"})) == {2}


def test_no_rule_leaves_every_row_and_an_empty_cohort_names_the_rule(tmp_path):
    release = write_release(tmp_path, patients=[patient(1)], admissions=[admission(1, 1, moment(1), moment(2))])
    with pytest.raises(SourceError, match="no rows are left after the rule 'age >= 200'"):
        build_rows(release, MIMICCohortConfig(min_age=200))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("patients", patient(1)),
        ("admissions", admission(1, 1, moment(1), moment(2))),
        ("icustays", stay(1, 1, moment(1))),
    ],
)
def test_a_repeated_key_is_refused_by_file_and_key(tmp_path, name, row):
    tables = {"patients": [patient(1)], "admissions": [admission(1, 1, moment(1), moment(2))]}
    release = write_release(tmp_path, **tables | {name: [row, row]})
    with pytest.raises(SourceError, match=rf"{name}.csv: key .* repeats in 1 of 3 rows"):
        cohort_rows(release)


def test_contradictions_between_the_signs_of_death_are_counted(tmp_path):
    rows = [
        admission(1, 1, moment(1), moment(2), hospital_expire_flag=1),
        admission(2, 2, moment(1), moment(2), discharge_location="DIED", deathtime=moment(2)),
        admission(3, 3, moment(3), moment(9)),
        admission(4, 4, moment(1), moment(2), hospital_expire_flag=1, deathtime=moment(2)),
        death(5, 5, moment(1), moment(2), moment(2)),
        admission(6, 6, moment(1), moment(2)),
    ]
    people = [patient(number, dod=moment(5).date() if number == 3 else None) for number in range(1, 7)]
    release = write_release(tmp_path, patients=people, admissions=rows)
    # None of the counts is half of the seven admissions, so the count of those that agree would be another.
    assert build_rows(release, MIMICCohortConfig(tasks=["mortality_180d"])).notes == {
        "dod before the discharge of a survivor (outcomes unknown)": 1,
        "hospital_expire_flag contradicts deathtime": 2,
        "hospital_expire_flag contradicts discharge_location": 3,
        "admissions during which the subject died in another one": 0,
        "subjects with an admission more than a day after their death (outcomes unknown)": 0,
        "ICU stays that end before they begin": 0,
    }


def test_outcomes_inside_the_grace_are_counted_whether_they_are_kept_or_not(tmp_path):
    rows = [admission(1, 1, moment(1), moment(2)), admission(1, 2, moment(3), moment(4))]
    release = write_release(tmp_path, patients=[patient(1)], admissions=rows)
    name = "index admissions with an outcome inside the grace"
    for kept in ("keep", "exclude"):
        config = MIMICCohortConfig(index="every", note_grace_hours=72, early_events=kept)
        assert build_rows(release, config).notes[name] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["mortality_366d"]}, "outcomes are recorded for 365 days"),
        ({"tasks": ["readmission_0d"]}, "unknown task"),
        ({"tasks": ["icu"]}, "unknown task"),
        ({"index": "last", "tasks": ["readmission_30d"]}, "cohort.index=last has no later admission"),
        ({"index": "last", "tasks": ["icu_90d"]}, "cohort.index=last has no later admission"),
        ({**ICU, "modalities": ["discharge_note"]}, "cannot be an input at cohort.landmark=icu_24h"),
        ({"tasks": ["in_hospital_mortality"]}, "does not fit cohort.landmark=discharge"),
        ({"landmark": "icu_24h", "tasks": ["readmission_30d"]}, "does not fit cohort.landmark=icu_24h"),
        ({"in_unit": True}, "requires cohort.landmark=icu_24h"),
        ({**ICU, "note_grace_hours": 24}, "cohort.note_grace_hours=24"),
        ({"note_grace_hours": -1}, "cohort.note_grace_hours=-1"),
        ({"tasks": ["icu_90d", "icu_90d"]}, "has duplicates"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        MIMICCohortConfig(**settings)


def test_a_window_of_a_year_is_allowed():
    assert MIMICCohortConfig(tasks=["mortality_365d"]).tasks == ["mortality_365d"]


def test_an_unreadable_date_is_no_silent_null(tmp_path):
    release = write_release(tmp_path, patients=[patient(1)], admissions=[admission(1, 1, moment(1), moment(2))])
    write_table(tmp_path, "patients", [patient(1, dod="soon")])
    with pytest.raises(SourceError, match="column 'dod' holds 1 of 1 values"), release.explained():
        cohort_rows(release)
