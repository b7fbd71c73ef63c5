"""Notes and images of a row: whose, since when, and at most once."""

import json

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.registry import database
from tests.helpers.mimic_iv import admission, moment, patient, write_release

FILLER_NOTE = {"note_id": "900-RR-1", "subject_id": 900, "hadm_id": 9000, "charttime": moment(1), "text": "x"}
FILLER_IMAGE = {"dicom_id": "900", "subject_id": 900, "study_id": 9, "StudyDate": 21500102, "StudyTime": 1.0}
ADMISSIONS = [
    admission(1, 1, moment(1), moment(5, hours=14), edregtime=moment(0, hours=20)),
    admission(1, 2, moment(9), moment(12)),
]


def note(number, charttime, storetime=None, *, hadm=1, kind="DS"):
    return {
        "note_id": f"1-{kind}-{number}",
        "subject_id": 1,
        "hadm_id": hadm,
        "note_type": kind,
        "note_seq": number,
        "charttime": charttime,
        "storetime": storetime,
        "text": f"text {number}",
    }


def image(dicom, date, time, subject=1):
    row = {"dicom_id": dicom, "subject_id": subject, "study_id": 5, "ViewPosition": "PA"}
    return {**row, "StudyDate": date, "StudyTime": time}


def built(folder, modality, tables, *, admissions=ADMISSIONS, **settings):
    """The cohort's folder; `tables` are written beside two admissions of subject 1."""
    release = write_release(folder / "raw", patients=[patient(1)], admissions=admissions, **tables)
    config = MIMICCohortConfig(index="every", modalities=[modality], tasks=["mortality_180d"], **settings)
    return build_cohort(database("mimic"), release, config, folder / "data")


def pairs(folder, modality, column):
    """(hadm_id, document or image) of the written file, sorted, with presence checked against it."""
    (file,) = (folder / "modalities" / modality).glob("*.parquet")
    cohort = pl.read_parquet(folder / "cohort.parquet")
    table = pl.read_parquet(file)
    assert set(cohort.filter(f"present/{modality}")["row_id"]) == set(table["row_id"])
    named = table.join(cohort.select("row_id", "admission_id", "subject_id"), on="row_id")
    return sorted(named.filter(pl.col("subject_id") == "1").select("admission_id", column).rows())


def summaries(folder, *notes, **settings):
    tables = {"discharge_notes": [*notes, FILLER_NOTE]}
    return pairs(built(folder, "discharge_note", tables, **settings), "discharge_note", "document_id")


def reports(folder, *notes, **settings):
    tables = {"radiology_notes": [*notes, FILLER_NOTE]}
    return pairs(built(folder, "radiology_report", tables, **settings), "radiology_report", "document_id")


def pictures(folder, *rows, **settings):
    tables = {"cxr_metadata": [*rows, FILLER_IMAGE]}
    return pairs(built(folder, "cxr", tables, **settings), "cxr", "dicom_id")


@pytest.mark.parametrize(("grace", "expected"), [(0, []), (24, [(1, "1-DS-1")]), (72, [(1, "1-DS-1")])])
def test_a_summary_counts_when_it_was_stored_within_the_grace(tmp_path, grace, expected):
    stored = moment(5, hours=14 + 24)
    assert summaries(tmp_path, note(1, moment(5), stored), note_grace_hours=grace) == expected


def test_a_summary_stored_a_second_after_the_grace_does_not_count(tmp_path):
    stored = moment(5, hours=14 + 24, seconds=1)
    assert summaries(tmp_path, note(1, moment(5), stored), note_grace_hours=24) == []


@pytest.mark.parametrize(("grace", "counts"), [(9.99, False), (10, True)])
def test_a_dated_summary_without_storetime_is_there_when_its_day_is_over(tmp_path, grace, counts):
    found = summaries(tmp_path, note(1, moment(5)), note_grace_hours=grace)
    assert found == ([(1, "1-DS-1")] if counts else [])


def test_a_summary_with_an_hour_and_no_storetime_is_there_when_it_was_charted(tmp_path):
    assert summaries(tmp_path, note(1, moment(5, hours=13))) == [(1, "1-DS-1")]


def test_only_the_summary_of_the_own_admission_counts(tmp_path):
    written = [
        note(1, moment(5, hours=13)),
        note(2, moment(11, hours=1), hadm=2),
        note(3, moment(3, hours=1), hadm=""),
        note(4, moment(3, hours=1), hadm=77),
    ]
    assert summaries(tmp_path, *written) == [(1, "1-DS-1"), (2, "1-DS-2")]


def test_the_manifest_shows_how_many_rows_have_their_summary_after_0_24_and_72_hours(tmp_path):
    written = [
        note(1, moment(5), moment(5, hours=14)),
        note(2, moment(12), moment(13), hadm=2),
        {**FILLER_NOTE, "charttime": moment(20), "storetime": moment(23)},
    ]
    folder = built(tmp_path, "discharge_note", {"discharge_notes": written}, note_grace_hours=24)
    counts = json.loads((folder / "manifest.json").read_text())["counts"]["discharge_note stored by"]
    assert counts == {"0 h": 1, "24 h": 2, "72 h": 3}
    assert pl.read_parquet(folder / "cohort.parquet")["present/discharge_note"].to_list() == [True, True, False]


def test_a_report_without_admission_is_linked_by_subject_and_time(tmp_path):
    times = [moment(0, hours=19), moment(0, hours=21), moment(3, hours=1), moment(7, hours=1), moment(10, hours=1)]
    written = [note(number, at, at, hadm="", kind="RR") for number, at in enumerate(times)]
    assert reports(tmp_path, *written) == [(1, "1-RR-1"), (1, "1-RR-2"), (2, "1-RR-4")]


def test_a_report_signed_after_discharge_does_not_count_even_within_the_grace(tmp_path):
    written = [
        note(1, moment(5, hours=10), moment(5, hours=15), kind="RR"),
        note(2, moment(5, hours=10), moment(5, hours=14), kind="RR"),
    ]
    assert reports(tmp_path, *written, note_grace_hours=72) == [(1, "1-RR-2")]


def test_a_note_keeps_its_lines_commas_and_quotes(tmp_path):
    text = 'First line,\nsecond "line"\n\n___ end'
    written = [{**note(1, moment(3, hours=1), moment(3, hours=2), kind="RR"), "text": text}]
    folder = built(tmp_path, "radiology_report", {"radiology_notes": [*written, FILLER_NOTE]})
    table = pl.read_parquet(folder / "modalities" / "radiology_report" / "documents.parquet")
    assert text in table["text"].to_list()


def test_a_note_without_text_is_no_note(tmp_path):
    assert reports(tmp_path, {**note(1, moment(3, hours=1), kind="RR"), "text": ""}) == []


@pytest.mark.parametrize(
    ("time", "counts"),
    [("94512.75", True), ("94513.0", False), ("512.5", True), ("0.0", True), ("101500.0", False), ("", False)],
)
def test_the_time_of_a_image_is_read_without_its_leading_zeros(tmp_path, time, counts):
    leaves = [admission(1, 1, moment(1), moment(5, hours=9, seconds=45 * 60 + 12))]
    found = pictures(tmp_path, image("a", 21500106, time), admissions=leaves)
    assert found == ([(1, "a")] if counts else [])


def test_a_image_from_the_emergency_department_belongs_to_the_admission_that_follows(tmp_path):
    rows = [image("early", 21500101, 195959.0), image("arrival", 21500101, 200000.0), image("ward", 21500103, 1.0)]
    assert pictures(tmp_path, *rows) == [(1, "arrival"), (1, "ward")]


def test_a_image_that_matches_two_admissions_is_linked_once_to_the_later(tmp_path):
    overlapping = [admission(1, 1, moment(1), moment(8)), admission(1, 2, moment(4), moment(12))]
    rows = [image("first", 21500104, 235959.9), image("both", 21500105, 0.0), image("second", 21500110, 120000.0)]
    found = pictures(tmp_path, *rows, admissions=overlapping)
    assert found == [(1, "first"), (2, "both"), (2, "second")]


def test_a_image_of_another_subject_or_between_admissions_is_linked_to_no_row(tmp_path):
    rows = [image("between", 21500108, 120000.0), image("other", 21500103, 120000.0, subject=5)]
    assert pictures(tmp_path, *rows) == []


def test_the_index_of_images_names_view_hours_and_the_path_of_the_release(tmp_path):
    folder = built(tmp_path, "cxr", {"cxr_metadata": [image("d-1", 21500106, 120000.0, subject=1), FILLER_IMAGE]})
    table = pl.read_parquet(folder / "modalities" / "cxr" / "images.parquet").filter(pl.col("dicom_id") == "d-1")
    assert table.select("view", "hours", "file", "study_id").row(0) == ("PA", -2.0, "files/p1/p1/s5/d-1", 5)
