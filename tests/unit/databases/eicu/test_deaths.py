"""Deaths and transfers of eICU: contradictions are unknown, and both are counted."""

from typing import Any

import pytest

from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from tests.helpers.eicu import DAY, cohort_rows, stay, write_release

LEAVING = {"index": "every", "landmark": "unit_discharge"}
DOUBTFUL = "unit stays whose death contradicts other stays (outcomes unknown)"
DEAD: dict[str, Any] = {"hospitaldischargestatus": "Expired"}


def labels(folder, stays, task="in_hospital_mortality", **settings):
    """stay_id -> label, and the counts of the release."""
    release = write_release(folder, stays)
    rows = cohort_rows(release, **{**LEAVING, **settings})
    notes = build_rows(release, EICUCohortConfig(**{**LEAVING, **settings})).notes
    return {stay_id: row[f"label/{task}"] for stay_id, row in rows.items()}, notes


def test_stays_of_one_hospital_stay_with_two_states_are_unknown(tmp_path):
    one: dict[str, Any] = {"person": "a", "admission": 5}
    stays = [stay(1, **one), stay(2, begins=9 * DAY, **one, **DEAD), stay(3, person="b", **DEAD), stay(4)]
    found, notes = labels(tmp_path, stays)
    assert found == {1: None, 2: None, 3: True, 4: False}
    assert notes[DOUBTFUL] == 2
    assert labels(tmp_path / "unit", stays, "unit_mortality", landmark="unit_24h")[0][1] is None


def test_an_empty_state_contradicts_nothing(tmp_path):
    one: dict[str, Any] = {"person": "a", "admission": 5}
    stays = [stay(1, **one, hospitaldischargestatus=""), stay(2, begins=9 * DAY, **one, **DEAD)]
    assert labels(tmp_path, stays)[0] == {1: None, 2: True}
    assert labels(tmp_path / "notes", stays)[1][DOUBTFUL] == 0


@pytest.mark.parametrize(("year", "label"), [(2015, None), (2014, True), (2013, True), ("", True)])
def test_a_hospital_stay_in_a_later_year_contradicts_the_death(tmp_path, year, label):
    stays = [stay(1, person="a", **DEAD), stay(2, person="a", hospitaldischargeyear=year)]
    found, notes = labels(tmp_path, stays)
    assert found == {1: label, 2: False}
    assert notes[DOUBTFUL] == (label is None)


def again(folder, gap, **settings):
    one: dict[str, Any] = {"person": "a", "admission": 5, "lasts": DAY}
    return labels(folder, [stay(1, **one), stay(2, begins=DAY + gap, **one)], "icu_readmission", **settings)


@pytest.mark.parametrize(
    ("gap", "hours", "label"), [(60, 0, True), (60, 1, False), (61, 1, True), (90, 1.5, False), (1, 0, True)]
)
def test_a_stay_that_begins_within_the_gap_is_a_transfer(tmp_path, gap, hours, label):
    assert again(tmp_path, gap, min_gap_hours=hours)[0] == {1: label, 2: False}


@pytest.mark.parametrize(("gap", "counted"), [(0, 0), (1, 1), (60, 1), (61, 0)])
def test_transfers_within_an_hour_are_counted(tmp_path, gap, counted):
    assert again(tmp_path, gap, min_gap_hours=5)[1]["next unit stay begins within an hour"] == counted


@pytest.mark.parametrize(("rule", "label"), [("negative", False), ("exclude", None), ("composite", True)])
def test_a_death_in_hospital_without_a_readmission(tmp_path, rule, label):
    one: dict[str, Any] = {"person": "a", "admission": 5, "lasts": DAY, **DEAD}
    stays = [stay(1, **one), stay(2, begins=3 * DAY, **one), stay(3), stay(4, hospitaldischargestatus="")]
    found, notes = labels(tmp_path, stays, "icu_readmission", death_in_window=rule)
    unknown = False if rule == "negative" else None
    assert found == {1: True, 2: label, 3: False, 4: unknown}
    assert notes["last unit stays of a hospital stay that ended in death"] == 1
