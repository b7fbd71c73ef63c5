"""An event belongs to at most one admission, and counts once it was known."""

import random

import polars as pl
import pytest

from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.linking import admission_intervals, link
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.reader import Release
from tests.helpers.mimic_iv import moment

ADMISSIONS = {
    "subject_id": pl.Int64,
    "hadm_id": pl.Int64,
    "admittime": pl.Datetime,
    "dischtime": pl.Datetime,
    "edregtime": pl.Datetime,
}
EVENTS = {"subject_id": pl.Int64, "hadm_id": pl.Int64, "at": pl.Datetime, "stored": pl.Datetime, "event": pl.Int64}
FAR = moment(10_000)


def intervals_of(*admissions):
    """Intervals of admissions of subject 1: (hadm_id, admittime, dischtime, edregtime)."""
    rows = [(1, *row, None)[:5] for row in admissions]
    return admission_intervals(pl.LazyFrame(rows, schema=ADMISSIONS, orient="row")).collect()


def linked(intervals, events, landmark=FAR, available="stored"):
    """(event, hadm_id of its row), sorted; events are (hadm_id, at, stored)."""
    windows = intervals.with_columns(row_id=pl.col("hadm_id"), landmark_at=pl.lit(landmark)).lazy()
    rows = [(1, *event, number) for number, event in enumerate(events)]
    frame = pl.LazyFrame(rows, schema=EVENTS, orient="row")
    return sorted(link(frame, windows, at="at", available=available).select("event", "row_id").collect().rows())


def test_an_event_without_admission_belongs_to_the_one_during_which_it_happened():
    intervals = intervals_of((7, moment(1), moment(2)), (8, moment(5), moment(6)))
    times = [moment(0), moment(1), moment(2), moment(2, seconds=1), moment(5.5), moment(7)]
    assert linked(intervals, [(None, at, at) for at in times]) == [(1, 7), (2, 7), (4, 8)]


def test_hours_in_the_emergency_department_belong_to_the_admission_they_led_to():
    intervals = intervals_of((7, moment(1, hours=4), moment(2), moment(1)))
    times = [moment(1, seconds=-1), moment(1), moment(1, hours=3)]
    assert linked(intervals, [(None, at, at) for at in times]) == [(1, 7), (2, 7)]


def test_an_inpatient_in_the_emergency_department_still_belongs_to_the_admission_before():
    intervals = intervals_of((7, moment(1), moment(5)), (8, moment(6), moment(9), moment(4)))
    times = [moment(4), moment(5), moment(5, seconds=1)]
    assert linked(intervals, [(None, at, at) for at in times]) == [(0, 7), (1, 7), (2, 8)]


def test_of_two_overlapping_admissions_the_later_takes_over_at_its_admittime():
    intervals = intervals_of((7, moment(1), moment(9)), (8, moment(4), moment(12)))
    times = [moment(4, seconds=-1), moment(4), moment(8)]
    assert linked(intervals, [(None, at, at) for at in times]) == [(0, 7), (1, 8), (2, 8)]


def test_of_two_admissions_at_one_second_the_one_with_the_greater_id_wins():
    intervals = intervals_of((8, moment(1), moment(9)), (7, moment(1), moment(12)))
    assert linked(intervals, [(None, moment(5), moment(5))]) == [(0, 8)]


def test_an_admission_that_has_not_ended_goes_on():
    intervals = intervals_of((7, moment(1), None))
    assert linked(intervals, [(None, moment(500), moment(500))]) == [(0, 7)]


def test_a_recorded_admission_wins_over_the_time():
    intervals = intervals_of((7, moment(1), moment(2)), (8, moment(5), moment(6)))
    assert linked(intervals, [(7, moment(5.5), moment(5.5)), (7, moment(0), moment(0))]) == [(0, 7), (1, 7)]


def test_an_event_of_an_admission_that_is_no_row_is_linked_to_no_row():
    intervals = intervals_of((7, moment(1), moment(2)))
    assert linked(intervals, [(99, moment(1.5), moment(1.5))]) == []


@pytest.mark.parametrize("hadm_id", [7, None])
def test_what_was_stored_after_the_landmark_is_not_known(hadm_id):
    intervals = intervals_of((7, moment(1), moment(9)))
    events = [
        (hadm_id, moment(2), moment(3)),
        (hadm_id, moment(2), moment(3, seconds=1)),
        (hadm_id, moment(2), None),
        (hadm_id, moment(3, seconds=1), None),
        (hadm_id, moment(3, seconds=1), moment(2)),
        (hadm_id, None, moment(2)),
    ]
    assert linked(intervals, events, landmark=moment(3)) == [(0, 7), (2, 7)]


def test_without_a_column_of_availability_the_time_of_the_event_decides():
    intervals = intervals_of((7, moment(1), moment(9)))
    events = [(7, moment(2), moment(8)), (7, moment(4), moment(2))]
    assert linked(intervals, events, landmark=moment(3), available=None) == [(0, 7)]


def test_intervals_never_share_a_second_whatever_the_admissions():
    draw = random.Random(5)
    for _ in range(300):
        rows = []
        for hadm_id in range(draw.randint(2, 6)):
            begin = moment(hours=draw.randint(0, 40))
            end = begin + (moment(hours=draw.randint(-3, 20)) - moment())
            arrival = begin + (moment(hours=draw.randint(-12, 2)) - moment())
            rows.append((hadm_id, begin, draw.choice([end, end, None]), draw.choice([arrival, None])))
        intervals = intervals_of(*rows)
        hours = [(None, moment(hours=hour), None) for hour in range(-15, 80)]
        events = [event for event, _ in linked(intervals, hours)]
        assert len(events) == len(set(events)), rows


def test_a_reversed_stay_does_not_open_hours_that_belong_to_the_admission_before():
    intervals = intervals_of(
        (1, moment(0), moment(10)),
        (2, moment(11), moment(8)),
        (3, moment(12), moment(15), moment(9)),
    )
    assert linked(intervals, [(None, moment(9.5), None)]) == [(0, 1)]


@pytest.fixture(scope="module")
def demo_rows(mimic_demo_roots):
    release = Release.parse(MIMIC_IV, mimic_demo_roots)
    return release, build_rows(release, MIMICCohortConfig(index="every")).rows


@pytest.mark.demo
@pytest.mark.parametrize(("table", "key"), [("labevents", "labevent_id"), ("microbiologyevents", "microevent_id")])
def test_no_event_of_the_demo_is_linked_to_two_rows(demo_rows, table, key):
    release, rows = demo_rows
    events = release.scan(table, ["subject_id", "hadm_id", key, "charttime", "storetime"])
    found = link(events, rows.lazy(), at="charttime", available="storetime").select("row_id", key).collect()
    assert found.height > 1_000
    assert found[key].is_unique().all()


@pytest.mark.demo
def test_times_of_the_demo_never_contradict_the_recorded_admission(demo_rows):
    release, rows = demo_rows
    events = release.scan("labevents", ["subject_id", "hadm_id", "labevent_id", "charttime"])
    recorded = events.filter(pl.col("hadm_id").is_not_null())
    blind = recorded.rename({"hadm_id": "recorded"}).with_columns(hadm_id=pl.lit(None, pl.Int64))
    found = link(blind, rows.lazy(), at="charttime").collect()
    by_time = found.join(rows.select("row_id", linked="hadm_id"), on="row_id")
    assert by_time.height > 50_000
    assert (by_time["recorded"] == by_time["linked"]).all()


@pytest.mark.demo
def test_labs_without_admission_are_found_in_the_demo_by_their_time(demo_rows):
    release, rows = demo_rows
    events = release.scan("labevents", ["subject_id", "hadm_id", "labevent_id", "charttime"])
    found = link(events.filter(pl.col("hadm_id").is_null()), rows.lazy(), at="charttime").collect()
    by_hand = 0
    spans = rows.select("subject_id", "edregtime", "admittime", "dischtime").rows()
    for subject, at in events.filter(pl.col("hadm_id").is_null()).select("subject_id", "charttime").collect().rows():
        by_hand += any(
            who == subject and min(filter(None, (arrival, begin))) <= at <= end for who, arrival, begin, end in spans
        )
    assert found.height == by_hand > 0
