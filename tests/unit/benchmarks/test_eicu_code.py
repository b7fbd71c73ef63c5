"""Rules of eicu-code for the further concepts: by hand, and the cells of the demo that docs/validation.md counts."""

import math

import pytest

from benchmarks.validation import eicu_code
from tests.helpers.paths import ROOT

OUTPUT = "flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|"
CELLS = {"urine": (1_622, 253), "infusions": (12_976, 10), "rates": (12_976, 295)}
"""Concept -> cells of the demo, and those that differ by the rules of eicu-code."""
PATIENT = {"admissionweight": "80", "hospitaladmitoffset": "0"}


def cell(label, at, volume, entered=None):
    times = {"intakeoutputoffset": str(at), "intakeoutputentryoffset": str(at if entered is None else entered)}
    return {**times, "cellpath": OUTPUT + label, "cellvaluenumeric": str(volume)}


def infused(name, at, rate):
    return {"infusionoffset": str(at), "drugname": name, "drugrate": str(rate), "patientweight": ""}


@pytest.mark.parametrize(
    ("label", "is_urine"),
    [
        ("URINE CATHETER", True),
        ("Output (mL)-Urethral Catheter 14 Fr.", True),
        ("Foley cath", True),
        ("Indwelling Catheter Output", False),
        ("Nephrostomy", False),
        ("Urine Count", False),
        ("Output (ml)-Chest Tube #1", False),
    ],
)
def test_labels_of_theirs_are_those_of_their_list(label, is_urine) -> None:
    assert eicu_code.is_urine(OUTPUT + label) is is_urine


def test_their_urine_counts_what_was_entered_later_and_ours_what_an_other_label_says() -> None:
    rows = [cell("Urine", 60, 100), cell("Urine", 90, 50, entered=1500), cell("Nephrostomy", 90, 20)]
    assert eicu_code.urine(rows, PATIENT) == ({"urine_ml/24h": 120}, {"urine_ml/24h": 150})
    assert math.isnan(eicu_code.urine([], PATIENT)[1]["urine_ml/24h"])


def test_their_rates_are_whole_numbers_and_any_number_without_a_dose() -> None:
    rows = [infused("Dopamine (mcg/min)", 60, 400), infused("Dopamine (ml/hr)", 90, 3.5)]
    ours, theirs = eicu_code.rates(rows, PATIENT)
    assert (ours["Dopamine/max"], theirs["Dopamine/max"]) == (5, 5)
    assert (ours["Dopamine/last"], theirs["Dopamine/last"]) == (5, 3.5)
    small = [infused("Norepinephrine (mcg/min)", 60, 8)]
    ours, theirs = eicu_code.rates(small, PATIENT)
    assert (ours["Norepinephrine/max"], theirs["Norepinephrine/max"]) == (0.1, 0)
    assert math.isnan(theirs["Epinephrine/max"])


def test_a_volume_beside_a_rate_is_an_infusion_of_theirs() -> None:
    ours, theirs = eicu_code.running([infused("Volume (ml) Heparin-heparin 25,000 units (ml/hr)", 60, 9)], PATIENT)
    assert (ours["heparin"], theirs["heparin"]) == (0, 1)
    ours, theirs = eicu_code.running([infused("Norepinephrine (ml/hr)", 60, 9)], PATIENT)
    assert ours == theirs
    assert (theirs["norepinephrine"], theirs["epinephrine"]) == (1, 0)


@pytest.mark.demo
def test_the_cells_that_differ_on_the_demo(eicu_demo) -> None:
    assert {name: counts for name, *counts in eicu_code.counted(eicu_demo)} == {
        name: list(counts) for name, counts in CELLS.items()
    }


def test_the_page_has_these_counts() -> None:
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    for name, (cells, wrong) in CELLS.items():
        (line,) = [
            one
            for one in page.splitlines()
            if one.startswith(f"| {name} | ") and one.count("|") == 7 and f"| {cells:,} |" in one
        ]
        assert line.endswith(f"| {cells:,} | {wrong:,} |")
