"""Words and APACHE of the open demo, a second time: plain loops over the rows of the csv files.

Labs, vitals, labels and demographics: benchmarks/validation.
"""

import math

import pytest

from benchmarks.validation import eicu_events
from benchmarks.validation.plain import read
from data_modules.databases.eicu.events import CONDITIONS, PHYSIOLOGY
from tests.helpers.eicu import features_of

pytestmark = pytest.mark.demo
EVERY = {"index": "every", "landmark": "unit_24h"}
DAY = 1440


def by_stay(file):
    return eicu_events.by_stay(read(file))


def parts(path, separator, depths):
    reported = path.lower().split(separator)
    return {separator.join(reported[:depth]) for depth in (*depths, len(reported))}


def medication(row):
    return {f"hicl/{row['drughiclseqno']}" if row["drughiclseqno"] else row["drugname"].strip().lower()} - {""}


def infusion(row):
    name = row["drugname"].strip().lower()
    return {name[: name.rindex("(")].rstrip() if name.endswith(")") else name} if name else set()


WORDS = {
    "medications": ("medication", "drug", ("drugstartoffset", "drugorderoffset"), medication),
    "infusions": ("infusiondrug", "infusion", ("infusionoffset",), infusion),
    "treatments": (
        "treatment", "treatment", ("treatmentoffset",), lambda row: parts(row["treatmentstring"], "|", (1, 2, 3)),
    ),
    "diagnosis_entries": (
        "diagnosis", "diagnosis", ("diagnosisoffset",), lambda row: parts(row["diagnosisstring"], "|", (1, 2, 3)),
    ),
    "admission_diagnosis": (
        "admissionDx", "admission", ("admitdxenteredoffset",),
        lambda row: {row["admitdxpath"].removeprefix("admission diagnosis|").lower()},
    ),
    "history": (
        "pastHistory", "history", ("pasthistoryoffset", "pasthistoryenteredoffset"),
        lambda row: parts(row["pasthistorypath"].removeprefix("notes/Progress Notes/Past History/"), "/", (3,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("modality", WORDS)
def test_words_agree_with_loops(demo, eicu_demo, tmp_path, modality):
    file, prefix, offsets, words_of = WORDS[modality]
    stays = by_stay(eicu_demo / f"{file}.csv.gz")
    found = features_of(demo, modality, tmp_path, **EVERY)
    admitted = {
        stay: int(rows[0]["hospitaladmitoffset"]) for stay, rows in by_stay(eicu_demo / "patient.csv.gz").items()
    }
    reported = 0
    for stay, cells in found.items():
        words = set()
        for row in stays[stay]:
            belongs = int(row[offsets[0]]) >= min(admitted[stay], 0) - 7 * DAY
            if belongs and all(not row[offset] or int(row[offset]) <= DAY for offset in offsets):
                words |= words_of(row)
        assert (cells is not None) == bool(words)
        if cells is not None:
            reported += 1
            assert cells[f"{prefix}/distinct"] == len(words)
            marked = {name.removeprefix(f"{prefix}/") for name, value in cells.items() if value == 1.0} - {"distinct"}
            vocabulary = {name.removeprefix(f"{prefix}/") for name in cells} - {"distinct"}
            assert marked == words & vocabulary
    assert reported > 500


@pytest.mark.parametrize(
    ("modality", "table", "names"),
    [("apache_physiology", "apacheApsVar", PHYSIOLOGY), ("apache_conditions", "apachePredVar", CONDITIONS)],
)
def test_apache_agrees_with_loops_and_minus_one_is_missing(demo, eicu_demo, tmp_path, modality, table, names):
    stays = by_stay(eicu_demo / f"{table}.csv.gz")
    missing = 0
    for stay, cells in features_of(demo, modality, tmp_path, **EVERY).items():
        assert (cells is not None) == (stay in stays)
        for name in names if cells else ():
            text = stays[stay][0][name]
            if text in {"", "-1"} or float(text) == -1:
                missing += 1
                assert math.isnan(cells[f"{table}/{name}"])
            else:
                assert cells[f"{table}/{name}"] == pytest.approx(float(text), rel=1e-5)
    assert missing > 500
