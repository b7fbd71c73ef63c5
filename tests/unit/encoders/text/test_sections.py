"""Sections of notes."""

import pytest

from mmnar_lightning.encoders.text.sections import select_sections

NOTE = """
Name:  ___                     Unit No:   ___

Service: MEDICINE

Brief Hospital Course:
She came with chest pain.
# CHF: treated.
Brief note: no heading of ours ends a section.

Medications on Admission:
aspirin
 BRIEF  HOSPITAL COURSE :
Addendum.
Discharge Diagnosis:
Angina
"""


def test_a_section_ends_at_the_next_heading_and_every_part_of_it_is_kept() -> None:
    assert select_sections(NOTE, ["brief hospital  Course"]) == (
        "She came with chest pain.\n# CHF: treated.\nBrief note: no heading of ours ends a section.\nAddendum."
    )


def test_several_sections_come_in_the_order_of_the_note() -> None:
    assert select_sections(NOTE, ["Discharge Diagnosis", "Service"]) == "MEDICINE\nAngina"


@pytest.mark.parametrize("text", ["", "   ", "no heading at all", "Brief Hospital Course:", "Impression: none"])
def test_a_note_without_the_section_gives_nothing(text: str) -> None:
    assert select_sections(text, ["Brief Hospital Course"]) == ""


def test_a_heading_that_is_not_known_is_found_when_it_is_asked_for() -> None:
    text = "Wet Read: clear\nImpression: fine"
    assert select_sections(text, ["Wet Read"]) == "clear"
    assert select_sections(text, ["Impression"]) == "fine"


def test_a_word_in_the_middle_of_a_line_is_no_heading() -> None:
    assert select_sections("Impression: see findings: none\nx", ["findings"]) == ""
    assert select_sections("Impression: see findings: none\nx", ["impression"]) == "see findings: none\nx"
