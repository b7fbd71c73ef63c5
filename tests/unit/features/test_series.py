"""Labs and vitals: conversions, summaries, and the same bits on any machine; see also benchmarks/validation."""

import hashlib
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.databases.mimic_iv import events
from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features import series
from data_modules.features.concepts import PROBLEMS, names_of
from data_modules.features.modality import BuildContext
from data_modules.raw.reader import Release
from tests.helpers import records
from tests.helpers.mimic_iv import moment


def converted(item, value, unit=None, text=None):
    return records.converted((*LABS, *VITALS), item, value, unit, text)


@pytest.mark.parametrize(
    ("item", "value", "unit", "name", "expected"),
    [
        (223761, 212.0 - 112.0, "°F", "temperature", 37.7778),
        (223762, 37.0, "°C", "temperature", 37.0),
        (226707, 70.0, "Inch", "height", 177.8),
        (226730, 178.0, "cm", "height", 178.0),
        (223835, 0.4, None, "fio2", 40.0),
        (223835, 1.0, None, "fio2", 100.0),
        (223835, 40.0, None, "fio2", 40.0),
        (50889, 12.0, "mg/dL", "crp", 120.0),
        (50889, 12.0, " MG/DL ", "crp", 120.0),
        (50889, 12.0, "mg/L", "crp", 12.0),
        (50912, 88.4, "umol/L", "creatinine", 1.0),
        (50912, 1.2, "mg/dL", "creatinine", 1.2),
        (50931, 10.0, "mmol/L", "glucose", 180.16),
    ],
)
def test_a_value_is_converted_to_the_unit_of_its_concept(item, value, unit, name, expected):
    assert converted(item, value, unit) == [(name, pytest.approx(expected, abs=1e-3), "usable")]


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (220045, 0.0),
        (220045, 300.0),
        (223761, 37.0),
        (223835, 5.0),
        (223835, 101.0),
        (50820, 8.1),
        (50971, -1.0),
    ],
)
def test_an_implausible_value_is_none(item, value):
    assert [found[1:] for found in converted(item, value)] == [(None, "out of range")]


def test_an_unknown_item_is_no_record():
    assert converted(1, 5.0) == []


PLAIN = [c for c in (*LABS, *VITALS) if not (c.fraction or c.states or c.names == (223900,))]


@pytest.fixture(scope="module")
def ends():
    return records.at_the_ends((*LABS, *VITALS), PLAIN)


@pytest.mark.parametrize("concept", PLAIN, ids=lambda c: c.name)
def test_both_ends_of_a_plausible_range_are_kept_and_nothing_beyond(ends, concept):
    kept = [[(concept.name, float(end), "usable")] for end in (concept.low, concept.high)]
    assert ends[concept.name] == [*kept, *[[(concept.name, None, "out of range")]] * 2]


def test_the_verbal_score_of_an_intubated_subject_is_none_and_says_so():
    assert converted(223900, 1.0, None, "No Response-ETT") == [("intubated", 1.0, "usable")]
    assert converted(223900, 1.0, None, "No Response") == [("gcs_verbal", 1.0, "usable"), ("intubated", 0.0, "usable")]


def test_no_item_is_claimed_by_two_concepts_but_the_verbal_score():
    items = names_of((*LABS, *VITALS))
    assert sorted(item for item in items if items.count(item) > 1) == [223900, 223900]


def summary(*events):
    schema = {"row_id": pl.UInt32, "concept": pl.UInt16, "hours": pl.Float64, "value": pl.Float32, "specimen": pl.Int64}
    frame = pl.DataFrame([(0, 0, *event) for event in events], schema=schema, orient="row")
    return series.summarise(frame.with_columns(censored=False, known=True))


def test_repeats_within_a_specimen_count_once_as_their_maximum():
    table = summary((-2.0, 4.0, 7), (-2.0, 6.0, 7), (-1.0, 5.0, 8))
    assert table.select("count", "first", "last", "max", "mean").row(0) == (2, 6.0, 5.0, 6.0, 5.5)


def test_values_of_one_time_without_a_specimen_are_averaged():
    table = summary((-2.0, 100.0, None), (-2.0, 110.0, None), (-1.0, 90.0, None))
    assert table.select("count", "first", "last", "max").row(0) == (2, 105.0, 90.0, 105.0)


def test_two_specimens_of_one_time_are_averaged():
    table = summary((-2.0, 4.0, 7), (-2.0, 6.0, 8))
    assert table.select("count", "first").row(0) == (1, 5.0)
    assert math.isnan(table["slope"][0])


LANDMARK = moment(5)


def windows(num_rows):
    """Rows of one admission each, whose landmark is day 5."""
    rows = [
        {
            "row_id": row,
            "subject_id": 10 + row,
            "hadm_id": 100 + row,
            "interval_start": moment(0),
            "interval_end": moment(9),
            "landmark_at": LANDMARK,
        }
        for row in range(num_rows)
    ]
    return pl.DataFrame(rows, schema_overrides={"row_id": pl.UInt32})


def measured(row, concept, hours, value, **cells):
    """An event so many hours before the landmark, known at once."""
    at = moment(5, hours=-hours)
    usual = {"subject_id": 10 + row, "hadm_id": 100 + row, "event_at": at, "available_at": at}
    result = {"value": value, "censored": False, "done": True, "problem": "usable", "unit": None}
    return {**usual, "concept": concept, "source": 0, "specimen": None, **result, **cells}


def events_of(*events):
    schema: dict[str, Any] = {"concept": pl.UInt16, "value": pl.Float32, "specimen": pl.Int64, "unit": pl.String}
    schema["problem"] = PROBLEMS
    return pl.DataFrame(events, schema_overrides=schema)


@pytest.mark.parametrize(("seconds", "known"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("column", ["event_at", "available_at"])
def test_a_measurement_is_known_if_it_was_made_and_stored_by_the_landmark(column, seconds, known):
    event = measured(0, 0, 24, 4.0, **{column: moment(5, seconds=seconds)})
    linked = events.by_admission(events_of(event).lazy(), windows(1)).collect()
    assert linked.height == known
    if known and column == "available_at":
        assert linked.select("row_id", "concept", "value", "hours").rows() == [(0, 0, 4.0, -24.0)]


def test_summaries_stand_in_their_rows_whichever_block_a_row_is_in(tmp_path, monkeypatch):
    monkeypatch.setattr(series, "ROWS_AT_ONCE", 2)
    events_of(
        measured(0, 0, 3, 4.0),
        measured(0, 0, 1, 6.0),
        measured(3, 1, 2, 7.0),
        measured(4, 0, 5, 1.0),
        measured(4, 1, 0, 2.0),
    ).write_parquet(tmp_path / "events.parquet")
    out = np.full((5, 18), -1, np.float32)
    scanned = pl.scan_parquet(tmp_path / "events.parquet")
    present, _ = series.write(scanned, windows(5), VITALS[:2], out, events.by_admission)
    never = [0.0, *[math.nan] * 7, 0.0]
    expected = [
        [2, 4, 6, 4, 6, 5, 1, 1, 1, *never],
        [*never, *never],
        [*never, *never],
        [*never, 1, 7, 7, 7, 7, 7, math.nan, 2, 1],
        [1, 1, 1, 1, 1, 1, math.nan, 5, 1, 1, 2, 2, 2, 2, 2, math.nan, 0, 1],
    ]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert present.tolist() == [True, False, False, True, True]


@pytest.fixture(scope="module")
def demo(mimic_demo_roots):
    release = Release.parse(MIMIC_IV, mimic_demo_roots)
    return release, build_rows(release, MIMICCohortConfig(index="every")).rows


def written(demo, name, scratch):
    release, rows = demo
    sources = BuildContext(
        release=release,
        rows=rows,
        tables={},
        train=rows.select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=1,
        max_vocabulary=9,
    )
    block = database("mimic").modalities[name].block(sources)
    out = np.full((rows.height, len(block.columns)), -1, np.float32)
    return block.columns, out, block.write(out)


PROGRAM = """
import hashlib, sys
from pathlib import Path
import numpy as np
from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.features import series
from data_modules.features.concepts import PROBLEMS, names_of
from data_modules.databases.registry import database
from data_modules.features.modality import BuildContext
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.reader import Release
roots, scratch, series.ROWS_AT_ONCE = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
release = Release.parse(MIMIC_IV, roots)
rows = build_rows(release, MIMICCohortConfig(index="every")).rows
sources = BuildContext(release=release, rows=rows, tables={}, train=rows.select("row_id", "subject_id"),
                       scratch=scratch, min_vocabulary_subjects=1, max_vocabulary=9)
for name in ("labs", "vitals"):
    block = database("mimic").modalities[name].block(sources)
    out = np.zeros((rows.height, len(block.columns)), np.float32)
    present = block.write(out)
    print(hashlib.sha256(out.tobytes() + present.tobytes()).hexdigest())
"""


@pytest.mark.demo
def test_the_bits_do_not_depend_on_threads_or_on_how_many_rows_are_done_at_once(demo, mimic_demo_roots, tmp_path):
    expected = []
    for name in ("labs", "vitals"):
        _, out, present = written(demo, name, tmp_path)
        expected.append(hashlib.sha256(out.tobytes() + present.tobytes()).hexdigest())
    for threads, rows_at_once in ((1, 4096), (7, 50)):
        command = [sys.executable, "-c", PROGRAM, mimic_demo_roots, str(tmp_path), str(rows_at_once)]
        environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split() == expected, done.stderr
