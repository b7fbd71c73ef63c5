"""The forms of eICU as sentences."""

import polars as pl
import pytest

from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.modalities import EICU_MODALITIES
from tests.helpers.eicu import DAY, sources_of, stay, write_release

ADMITTED = "admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Cardiovascular|Sepsis, pulmonary"
EXAM = "notes/Progress Notes/Physical Exam/Physical Exam/"


def texts_of(release, folder):
    rows = build_rows(release, EICUCohortConfig(index="every")).rows
    present = EICU_MODALITIES["text"].files(sources_of(release, rows, folder / "scratch"), folder / "text")
    documents = pl.read_parquet(folder / "text" / "documents.parquet").sort("row_id")
    assert present.to_list() == documents["row_id"].to_list()
    return {document["document_id"]: document for document in documents.iter_rows(named=True)}


def forms(entered=10):
    return {
        "admissionDx": [
            {
                "patientunitstayid": 1,
                "admitdxenteredoffset": entered,
                "admitdxpath": ADMITTED,
            }
        ],
        "pastHistory": [
            {
                "patientunitstayid": 1,
                "pasthistoryoffset": 1,
                "pasthistoryenteredoffset": entered,
                "pasthistorypath": "notes/Progress Notes/Past History/Organ Systems/Pulmonary/Asthma/asthma",
            }
        ],
        "physicalExam": [
            {
                "patientunitstayid": 1,
                "physicalexamoffset": entered,
                "physicalexampath": f"{EXAM}{path}",
                "physicalexamtext": text,
            }
            for path, text in (
                ("Constitutional/HR/HR Current", "92"),
                ("Constitutional/HR/HR Current", "92"),
                ("Neurologic/GCS/Score/scored", "scored"),
            )
        ],
        "note": [
            {
                "patientunitstayid": 1,
                "noteoffset": 1,
                "noteenteredoffset": entered,
                "notepath": path,
                "notetext": text,
            }
            for path, text in (
                ("notes/Shared/View and Save/Save Options/Print/Copies/Copies", "1"),
                ("notes/Progress Notes/Surgery/Operative Status/Anesthesia/general", "general"),
            )
        ],
    }


def test_a_row_has_one_document_of_sentences_in_a_fixed_order(tmp_path):
    texts = texts_of(write_release(tmp_path, [stay(1), stay(2)], **forms()), tmp_path)
    assert texts == {
        "1": {
            "row_id": 0,
            "document_id": "1",
            "hours": 0.0,
            "text": "Admission diagnosis: Non-operative, Cardiovascular, Sepsis, pulmonary.\n"
            "Past history: Pulmonary, Asthma, asthma.\n"
            "Physical exam: Constitutional, HR, HR Current: 92. Neurologic, GCS, Score, scored.\n"
            "Note: Surgery, Operative Status, Anesthesia, general.",
        }
    }


@pytest.mark.parametrize("table", ["admissionDx", "pastHistory", "physicalExam", "note"])
def test_what_is_entered_after_the_landmark_is_not_reported(tmp_path, table):
    release = write_release(tmp_path, [stay(1), stay(2)], **{**forms(DAY), table: forms(DAY + 1)[table]})
    (document,) = texts_of(release, tmp_path).values()
    reported = [line.split(":")[0] for line in document["text"].splitlines()]
    expected = {"admissionDx": 0, "pastHistory": 1, "physicalExam": 2, "note": 3}
    every = ["Admission diagnosis", "Past history", "Physical exam", "Note"]
    assert reported == [name for position, name in enumerate(every) if position != expected[table]]


@pytest.mark.demo
def test_the_demo_s_texts_are_sentences_without_what_only_the_form_says(demo, tmp_path):
    texts = texts_of(demo, tmp_path)
    assert len(texts) > 1_500
    reported = " ".join(document["text"] for document in texts.values()).lower()
    assert "sepsis, pulmonary" in reported
    assert "view and save" not in reported
