"""Sections of a note, found by headings at the beginning of lines."""

import re
from collections.abc import Sequence
from functools import cache

HEADINGS = (
    "Name", "Unit No", "Admission Date", "Discharge Date", "Date of Birth", "Sex", "Service", "Allergies", "Attending",
    "Chief Complaint", "Major Surgical or Invasive Procedure", "History of Present Illness", "Past Medical History",
    "Social History", "Family History", "Physical Exam", "Pertinent Results", "Brief Hospital Course",
    "Medications on Admission", "Discharge Medications", "Discharge Disposition", "Facility", "Discharge Diagnosis",
    "Discharge Condition", "Discharge Instructions", "Followup Instructions", "Examination", "Indication", "History",
    "Clinical Information", "Technique", "Comparison", "Findings", "Impression", "Recommendation", "Notification",
)  # fmt: skip
"""Headings of MIMIC-IV-Note: a section ends at the next of them, or at the next selected heading."""


def select_sections(text: str, sections: Sequence[str]) -> str:
    r"""Select the sections with the given headings.

    Args:
        text: a note.
        sections: headings, case-insensitive; a heading begins a line and ends in a colon.

    Returns:
        The sections in the order of the text; the stripped text itself without headings.

    >>> select_sections("Sex: F\nBrief Hospital Course:\nShe did well.\nFacility:\n___", ["brief hospital course"])
    'She did well.'
    >>> select_sections(" Sex: F ", [])
    'Sex: F'
    """
    if not sections:
        return text.strip()
    wanted = {_plain(name) for name in sections}
    found = list(_pattern(tuple(sorted(wanted))).finditer(text))
    ends = [*(match.start() for match in found), len(text)][1:]
    kept = [
        text[match.end() : end].strip()
        for match, end in zip(found, ends, strict=True)
        if _plain(match.group(1)) in wanted
    ]
    return "\n".join(part for part in kept if part)


def _plain(heading: str) -> str:
    return " ".join(heading.lower().split())


@cache
def _pattern(wanted: tuple[str, ...]) -> re.Pattern[str]:
    names = sorted({*map(_plain, HEADINGS), *wanted}, key=len, reverse=True)
    written = "|".join(r"[ \t]+".join(map(re.escape, name.split())) for name in names)
    return re.compile(rf"^[ \t]*({written})[ \t]*:", re.IGNORECASE | re.MULTILINE)
