"""Rules of mimic-code for the further concepts: by hand, and the cells of the demo that docs/validation.md counts."""

import re
from datetime import datetime, timedelta

import pytest

from benchmarks.validation import demo_support, mimic_code_further, mimic_code_scores, mimic_iv
from benchmarks.validation.mimic_code_scores import EYES, MOTOR, TUBE, VERBAL
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.reader import Release
from tests.helpers.paths import ROOT

BEGIN = datetime(2150, 1, 1)
ROW = {"hadm_id": "10", "start": BEGIN, "end": BEGIN + timedelta(days=9)}
DEVICE, MODE = "226732", "223849"
CELLS = {
    "vasoactives": (2_000, 37),
    "urine": (250, 140),
    "coma scale": (250, 11),
    "ventilation": (125, 3),
    "settings and oxygen": (1_250, 44),
    "absolute counts": (625, 240),
    "electrolytes of a gas": (875, 66),
    "sofa": (125, 7),
    "saps_ii": (125, 46),
    "oasis": (125, 36),
    "charlson": (125, 112),
}
"""Concept -> cells of the demo, and those that differ by the rules of mimic-code."""


def hour(hours):
    return BEGIN + timedelta(hours=hours)


def charted(hours, item, value="", number=""):
    return {"hadm_id": "10", "charted": hour(hours), "itemid": item, "value": value, "valuenum": str(number)}


@pytest.mark.parametrize(
    ("rows", "total"),
    [
        ([charted(1, EYES, number=3), charted(1, VERBAL, number=4), charted(1, MOTOR, number=5)], 12),
        ([charted(1, EYES, number=3)], 3 + 5 + 6),
        ([charted(1, MOTOR, number=4), charted(6.9, EYES, number=1)], 4 + 5 + 1),
        ([charted(1, MOTOR, number=4), charted(7, EYES, number=1)], 6 + 5 + 1),
        ([charted(1, MOTOR, number=4), charted(1, VERBAL, TUBE, 1)], 15),
        ([charted(1, VERBAL, TUBE, 1), charted(3, EYES, number=1)], 15),
        ([charted(1, VERBAL, TUBE, 1), charted(1, EYES, number=1), charted(3, VERBAL, number=2)], 2 + 4 + 6),
        ([charted(99, EYES, number=1)], None),
    ],
    ids=["all", "normal", "held", "too old", "tube", "tube held", "after a tube", "later"],
)
def test_a_coma_scale_of_theirs_holds_parts_and_takes_a_tube_for_normal(rows, total) -> None:
    found = mimic_code_scores.coma(rows, ROW, hour(24))
    assert (found[-1][1] if found else None) == total


def test_stretches_of_support_end_at_the_next_kind_or_after_14_hours_and_need_two_records() -> None:
    rows = [
        charted(1, DEVICE, "Endotracheal tube"), charted(1, MODE, "CPAP/PSV"), charted(5, MODE, "CMV"),
        charted(9, DEVICE, "Nasal cannula"), charted(10, DEVICE, "Bipap mask "), charted(11, DEVICE, "Bipap mask "),
        charted(30, DEVICE, "Endotracheal tube"), charted(31, DEVICE, "Other"),
    ]  # fmt: skip
    assert mimic_code_scores.support_spans(rows, ROW) == [
        (hour(1), hour(9), "invasive"),
        (hour(10), hour(11), "noninvasive"),
    ]


@pytest.mark.demo
def test_with_none_of_their_rules_the_scores_are_those_of_the_second_derivation(mimic_demo) -> None:
    hospital = mimic_iv.Hospital(mimic_demo)
    release = Release(MIMIC_IV, [mimic_demo, mimic_demo / "reconstructed_from_meds"])
    support = demo_support.Support(release, hospital)
    scored = 0
    for stays in list(hospital.stays.values())[:40]:
        row = next(one for one in hospital.admissions[stays[0]["subject_id"]] if one["hadm_id"] == stays[0]["hadm_id"])
        at = stays[0]["intime"] + timedelta(days=1)
        ours, found = support.scores(row, at), mimic_code_scores.columns(support, row, at, ())
        if ours["present"]:
            assert {name: ours[name] for name in found} == pytest.approx(found, nan_ok=True)
            scored += 1
    assert scored > 30


@pytest.fixture(scope="module")
def counted(mimic_demo):
    return {name: cells for name, *cells in mimic_code_further.counted(mimic_demo)}


@pytest.mark.demo
def test_the_cells_of_the_demo_that_differ_are_those_of_the_page(counted) -> None:
    assert {name: (cells, wrong) for name, (cells, wrong, _) in counted.items()} == CELLS


@pytest.mark.demo
def test_a_score_differs_in_no_more_cells_than_its_rules_alone_change(counted) -> None:
    for score in mimic_code_further.SCORES:
        _, wrong, reasons = counted[score]
        alone = [int(number) for number in re.findall(r": (\d+)", reasons)]
        assert max(alone) <= wrong <= sum(alone)


def test_the_page_has_these_counts_and_each_rule() -> None:
    text = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8").split("## Further concepts")[1]
    text = text.split("| concept of eICU ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    shown = {
        row[0]: (int(row[-2].replace(",", "")), int(row[-1].replace(",", ""))) for row in rows if row[-1].isdigit()
    }
    assert shown == CELLS
