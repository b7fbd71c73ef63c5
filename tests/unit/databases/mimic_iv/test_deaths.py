"""One death per subject, for every label; contradictions are unknown and counted."""

import math
from typing import Any

import pytest

from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from tests.helpers.mimic_iv import (
    admission,
    cohort_rows,
    context_of,
    death,
    features_of,
    moment,
    patient,
    stay,
    write_release,
)

LEAVING: dict[str, Any] = {"index": "every", "tasks": ["mortality_180d"]}
ICU: dict[str, Any] = {"index": "every", "landmark": "icu_24h", "tasks": ["in_hospital_mortality"]}
DOUBTFUL = "subjects with an admission more than a day after their death (outcomes unknown)"
BEFORE = "dod before the discharge of a survivor (outcomes unknown)"
NESTED = "admissions during which the subject died in another one"


def labels(folder, admissions, *, stays=(), dod=None, settings=LEAVING):
    """hadm_id -> label of the rows, and what is counted of them."""
    people = [patient(1, dod=dod and dod.date())]
    release = write_release(folder, patients=people, admissions=admissions, icustays=list(stays))
    task = settings["tasks"][0]
    found = {hadm: row[f"label/{task}"] for hadm, row in cohort_rows(release, **settings).items()}
    notes = build_rows(release, MIMICCohortConfig(**settings)).notes
    return found, {name: count for name, count in notes.items() if count}


DIED = moment(10, hours=4)
OUTER, INNER = admission(1, 1, moment(1), moment(11, hours=8)), death(1, 2, moment(3), DIED, DIED)


@pytest.mark.parametrize("dod", [DIED, None])
def test_nested_admissions_end_with_the_death_of_the_inner_one(tmp_path, dod):
    found, counts = labels(tmp_path, [OUTER, INNER], dod=dod)
    assert found == {}
    assert counts[NESTED] == 1


@pytest.mark.parametrize("dod", [DIED, None])
def test_labels_of_nested_admissions_agree(tmp_path, dod):
    stays = [stay(1, 1, moment(2)), stay(1, 2, moment(4))]
    assert labels(tmp_path, [OUTER, INNER], stays=stays, dod=dod, settings=ICU)[0] == {1: True, 2: True}


@pytest.mark.parametrize(("hours", "kept"), [(3, True), (4, False), (5, False)])
def test_a_death_in_the_inner_admission_by_the_landmark_leaves_out_the_outer_one(tmp_path, hours, kept):
    found, _ = labels(tmp_path, [OUTER, INNER], stays=[stay(1, 1, moment(9, hours=hours))], settings=ICU)
    assert (1 in found) == kept


@pytest.mark.parametrize(
    ("day", "leaving", "inside", "counted"), [(4, None, None, 1), (5, True, False, 0), (6, True, False, 0)]
)
def test_a_date_of_death_before_the_discharge_of_a_survivor_is_unknown(tmp_path, day, leaving, inside, counted):
    index = [admission(1, 1, moment(1), moment(5, hours=20))]
    found, counts = labels(tmp_path / "leaving", index, dod=moment(day))
    assert (found, counts.get(BEFORE, 0)) == ({1: leaving}, counted)
    stays = [stay(1, 1, moment(2))]
    assert labels(tmp_path / "icu", index, stays=stays, dod=moment(day), settings=ICU)[0] == {1: inside}


TWO = [admission(1, 1, moment(0), moment(1.5)), admission(1, 2, moment(700), moment(705))]


def test_a_date_of_death_years_before_an_admission_is_doubtful_for_both(tmp_path):
    found, counts = labels(tmp_path / "leaving", TWO, dod=moment(2))
    assert (found, counts) == ({1: None, 2: None}, {DOUBTFUL: 1})
    stays = [stay(1, 1, moment(0)), stay(1, 2, moment(701))]
    assert labels(tmp_path / "icu", TWO, stays=stays, dod=moment(2), settings=ICU)[0] == {1: None, 2: None}


def test_a_time_of_death_before_a_later_admission_is_doubtful_too(tmp_path):
    rows = [death(1, 1, moment(1), moment(2), moment(2)), TWO[1]]
    assert labels(tmp_path, rows)[0] == {2: None}
    assert labels(tmp_path / "counts", rows)[1][DOUBTFUL] == 1


@pytest.mark.parametrize(("rule", "label"), [("negative", False), ("exclude", None), ("composite", None)])
def test_a_doubtful_death_is_no_known_survival_of_the_window(tmp_path, rule, label):
    settings = {"index": "every", "tasks": ["readmission_30d"], "death_in_window": rule}
    assert labels(tmp_path, TWO, dod=moment(2), settings=settings)[0][1] is label


@pytest.mark.parametrize(("day", "dies"), [(185, True), (186, False)])
def test_a_death_in_a_later_admission_counts_without_a_date_of_death(tmp_path, day, dies):
    rows = [admission(1, 1, moment(1), moment(5)), death(1, 2, moment(20), moment(day), moment(day))]
    assert labels(tmp_path, rows)[0] == {1: dies}


@pytest.mark.parametrize(
    ("hours", "found"), [(0, {1: True}), (1, {1: True}), (23, {1: True}), (48, {1: None, 3: None})]
)
def test_an_admission_within_a_day_of_the_death_is_that_of_an_organ_donor(tmp_path, hours, found):
    died = moment(30, hours=12)
    donor = admission(1, 3, moment(30, hours=12 + hours), moment(33))
    rows = [admission(1, 1, moment(1), moment(5)), death(1, 2, moment(29), died, died), donor]
    known, counts = labels(tmp_path, rows, dod=died)
    assert known == found
    assert counts.get(DOUBTFUL, 0) == (hours > 24)


def test_a_doubtful_death_leaves_out_only_the_admission_that_records_it(tmp_path):
    assert labels(tmp_path, [OUTER, INNER, admission(1, 3, moment(700), moment(705))])[0] == {1: None, 3: None}


def test_deaths_and_admissions_of_one_subject_are_not_those_of_another(tmp_path):
    people = [patient(1), patient(2), patient(3, dod=moment(30).date())]
    rows = [OUTER, INNER, admission(2, 3, moment(1), moment(20)), admission(2, 4, moment(700), moment(701))]
    release = write_release(tmp_path, patients=people, admissions=[*rows, admission(3, 5, moment(1), moment(20))])
    found = {hadm: row["label/mortality_180d"] for hadm, row in cohort_rows(release, **LEAVING).items()}
    assert found == {3: False, 4: False, 5: True}


INDEX = admission(1, 1, moment(1), moment(5))


@pytest.mark.parametrize("task", ["readmission_30d", "icu_90d"])
@pytest.mark.parametrize(("seconds", "gap", "label"), [(3600, 0, True), (3600, 1, False), (3601, 1, True)])
def test_an_event_within_the_gap_is_a_transfer(tmp_path, task, seconds, gap, label):
    back = moment(5, seconds=seconds)
    settings = {"index": "every", "tasks": [task], "min_gap_hours": gap}
    rows, stays = [INDEX, admission(1, 2, back, moment(9))], [stay(1, 2, back)]
    found, counts = labels(tmp_path, rows, stays=stays, settings=settings)
    assert found[1] is label
    assert counts.get(f"{task}: events within an hour of discharge", 0) == (gap == 0)


def test_an_event_after_the_transfer_counts(tmp_path):
    rows = [INDEX, admission(1, 2, moment(5, seconds=60), moment(9)), admission(1, 3, moment(20), moment(21))]
    settings = {"index": "every", "tasks": ["readmission_30d"], "min_gap_hours": 1}
    assert labels(tmp_path, rows, settings=settings)[0][1] is True


@pytest.mark.parametrize(("rule", "label"), [("negative", False), ("exclude", None), ("composite", True)])
@pytest.mark.parametrize(("task", "days"), [("readmission_30d", 30), ("icu_90d", 90)])
def test_a_death_in_the_window_without_an_event(tmp_path, rule, label, task, days):
    settings = {"index": "every", "tasks": [task], "death_in_window": rule}
    name = f"{task}: deaths in the window without an event"
    assert labels(tmp_path / "in", [INDEX], dod=moment(5 + days), settings=settings) == ({1: label}, {name: 1})
    assert labels(tmp_path / "after", [INDEX], dod=moment(6 + days), settings=settings) == ({1: False}, {})
    again = [INDEX, admission(1, 2, moment(9), moment(10))]
    both = labels(tmp_path / "both", again, stays=[stay(1, 2, moment(9))], dod=moment(12), settings=settings)
    assert (both[0][1], both[1][name]) == (True, 1)


@pytest.mark.parametrize(
    ("stays", "hours", "counted"),
    [
        ([stay(1, 1, moment(2), moment(3))], 24, 0),
        ([stay(1, 1, moment(2), moment(1))], math.nan, 1),
        ([stay(1, 1, moment(2), moment(3)), stay(1, 1, moment(4), moment(3), stay_id=7)], math.nan, 1),
        ([stay(1, 1, moment(2), moment(3)), stay(1, 8, moment(4), moment(3))], 24, 1),
        ([stay(1, 1, moment(2), moment(2))], 0, 0),
        ([stay(1, 1, moment(2))], 72, 0),
        ([], 0, 0),
    ],
)
def test_the_hours_of_a_reversed_icu_stay_are_unknown_and_counted(tmp_path, stays, hours, counted):
    release = write_release(tmp_path / "raw", patients=[patient(1)], admissions=[INDEX], icustays=stays)
    cells = features_of(context_of(release, tmp_path, **LEAVING), "demographics", tmp_path)[1]
    assert cells["icu_hours"] == pytest.approx(hours, nan_ok=True)
    notes = build_rows(release, MIMICCohortConfig(**LEAVING)).notes
    assert notes["ICU stays that end before they begin"] == counted
