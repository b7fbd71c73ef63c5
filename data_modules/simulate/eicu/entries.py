"""Orders and entries of clinicians in simulated eICU: drugs, diagnoses, treatments, structured notes."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.special import expit

from data_modules.cohorts.icd_blocks import BLOCKS
from data_modules.simulate import codes, text
from data_modules.simulate.eicu.stays import LANDMARK, Bool, Stays, after_landmarks, keys, table
from data_modules.simulate.frames import Int, Tables
from data_modules.simulate.latent import Array, Patients
from data_modules.simulate.shapes import DRUGS

DIAGNOSES, TEXT, TREATMENTS = 0, 1, 2
SEVERITIES = ("stable", "mild", "moderate", "marked", "severe", "life threatening")
DIAGNOSED = ("pulmonary|respiratory failure|hypoxemia", "cardiovascular|chf|congestive heart failure",
             "pulmonary|pulmonary infections|pneumonia", "cardiovascular|shock / hypotension|hypotension")  # fmt: skip
"""Diagnoses graded by the readings of MIMIC-IV's image; the severity ends the path."""
ACUTE = ("renal|disorder of kidney|acute renal failure", "infectious diseases|systemic/other infections|sepsis")
TREATED = ("pulmonary|ventilation and oxygenation|oxygen therapy", "pulmonary|medications|bronchodilator",
           "cardiovascular|intravenous fluid|crystalloids")  # fmt: skip
EXAMINED = ("Mobility", "Support", "Medications", "Neurologic", "Nutrition", "Falls")
INFUSIONS = ("Norepinephrine (mcg/min)", "Propofol (mcg/kg/min)", "Fentanyl (mcg/hr)", "Insulin (units/hr)")
INFUSION_HOSPITALS = 25
"""Number of hospitals that record infusionDrug."""


def drugs(stays: Stays, generator: np.random.Generator) -> Tables:
    """Write orders and infusions; some hospitals record no infusions."""
    slope = np.linspace(-0.6, 0.8, len(DRUGS))
    ordered = generator.random((len(stays.stay), len(DRUGS))) < expit(-0.8 + slope * stays.readings[:, :1])
    who, drug = np.nonzero(ordered)
    begins = generator.integers(-600, 2000, len(who))
    medication = {
        **keys("medicationid", who, stays),
        "drugorderoffset": begins - 20,
        "drugstartoffset": begins,
        "drugivadmixture": np.repeat("No", len(who)),
        "drugordercancelled": np.where(generator.random(len(who)) < 0.03, "Yes", "No"),
        "drugname": np.where(generator.random(len(who)) < 0.4, "", np.array(DRUGS)[drug]),
        "drughiclseqno": 3000 + drug,
        "dosage": np.repeat("", len(who)),
        "drugstopoffset": begins + 1000,
        "gtc": np.zeros(len(who), np.int64),
    }
    filled = stays.hospital < INFUSION_HOSPITALS
    running = filled[:, None] & (
        generator.random((len(filled), len(INFUSIONS))) < expit(-1.5 + 0.8 * stays.readings[:, :1])
    )
    patient, infusion = np.nonzero(running)
    infusions = {
        **keys("infusiondrugid", patient, stays),
        "infusionoffset": generator.integers(0, 1800, len(patient)),
        "drugname": np.array(INFUSIONS)[infusion],
        "drugrate": np.repeat("5", len(patient)),
    }
    return {"medication": table("medication", medication), "infusionDrug": table("infusionDrug", infusions)}


def entered(patients: Patients, stays: Stays, nuisance: float, generator: np.random.Generator) -> Tables:
    """Write the entries that clinicians make within a day, if any, and the later ones that every stay has.

    Args:
        patients: of the chunk.
        stays: of the chunk.
        nuisance: strength of what texts contain that depends on nothing else.
        generator: of the entries.

    Returns:
        The tables.
    """
    image, acute = _image(stays.readings, generator), _acute(stays.readings, generator)
    report = _report(stays.readings, generator)
    diagnosis = _paths(stays, (*DIAGNOSED, *ACUTE), np.hstack([image, acute]), stays.present[:, DIAGNOSES], generator)
    treatment = _paths(stays, TREATED, report, stays.present[:, TREATMENTS], generator)
    late = np.arange(len(stays.stay))
    outcome = np.where(patients.outcome[stays.person, 0], "Cardiac arrest", "Monitoring")
    return {
        "diagnosis": table(
            "diagnosis",
            {**keys("diagnosisid", diagnosis[0], stays), "activeupondischarge": np.repeat("False", len(diagnosis[0])),
             "diagnosisoffset": diagnosis[1], "diagnosisstring": diagnosis[2],
             "diagnosispriority": np.repeat("Major", len(diagnosis[0]))},
        ),
        "treatment": table(
            "treatment",
            {**keys("treatmentid", treatment[0], stays), "treatmentoffset": treatment[1],
             "treatmentstring": treatment[2], "activeupondischarge": np.repeat("False", len(treatment[0]))},
        ),
        "admissionDx": table(
            "admissionDx",
            {**keys("admissiondxid", late, stays), "admitdxenteredoffset": after_landmarks(stays) + 600,
             "admitdxpath": [f"admission diagnosis|Non-operative Organ Systems|{entry}" for entry in outcome],
             "admitdxname": outcome},
        ),
        **_forms(stays, nuisance, generator),
    }  # fmt: skip


def with_codes(diagnosis: pl.DataFrame, stays: Stays, generator: np.random.Generator) -> pl.DataFrame:
    """Add entries with the codes of phenotypes, after the landmarks, so that presence stays as it is.

    Args:
        diagnosis: the table.
        stays: of the chunk.
        generator: of the phenotypes.

    Returns:
        The table with the entries.
    """
    (own,) = generator.spawn(1)
    who, block = codes.draw(stays.readings, own)
    ninth, tenth = np.array(codes.ICD9)[block], np.array(codes.ICD10)[block]
    owned = keys("diagnosisid", who, stays)
    added = {
        **owned,
        "diagnosisid": owned["diagnosisid"] + diagnosis.height,
        "activeupondischarge": np.repeat("True", len(who)),
        "diagnosisoffset": after_landmarks(stays)[who] + 60,
        "diagnosisstring": [f"coded|{BLOCKS[number].title}" for number in block.tolist()],
        "icd9code": [f"{nine}.9, {ten}.9" for nine, ten in zip(ninth.tolist(), tenth.tolist(), strict=True)],
        "diagnosispriority": np.repeat("Other", len(who)),
    }
    return pl.concat([diagnosis, table("diagnosis", added)])


def _paths(
    stays: Stays, stems: Sequence[str], grade: Int, present: Bool, generator: np.random.Generator
) -> tuple[Int, Int, list[str]]:
    """Owner, offset and path of graded entries; some stays without entries get them after the landmark."""
    late = ~present & (generator.random(len(present)) < 0.3)
    who, stem = np.nonzero(np.repeat((present | late)[:, None], len(stems), axis=1))
    limit = np.minimum(stays.minutes[who], LANDMARK) - 1
    inside = (generator.random(len(who)) * limit).astype(np.int64)
    offset = np.where(late[who], after_landmarks(stays)[who] + inside, inside)
    return (
        who,
        offset,
        [f"{stems[s]}|{SEVERITIES[grade[w, s]]}" for w, s in zip(who.tolist(), stem.tolist(), strict=True)],
    )


def _forms(stays: Stays, nuisance: float, generator: np.random.Generator) -> Tables:
    """Write notes, examinations and past history of stays with text, graded by the readings of the note."""
    (own,) = generator.spawn(1)
    present = np.flatnonzero(stays.present[:, TEXT])
    further = text.further_sentences(stays.phrase[present], nuisance, own)
    function = text.grades(stays.readings[present, 3], text.NOTE_SPREAD, text.FUNCTION, generator)
    course = text.grades(stays.readings[present, 4], text.SEVERITY_SPREAD, text.COURSE, generator)
    who, aspect = np.nonzero(np.ones_like(function))
    examined = [text.FUNCTION[a][function[w, a]] for w, a in zip(who, aspect, strict=True)]
    row, part = np.nonzero(np.ones_like(course))
    noted = [text.COURSE[a][course[w, a]] for w, a in zip(row, part, strict=True)]
    noted += [sentence for sentences in further for sentence in sentences]
    row = np.concatenate([row, np.repeat(np.arange(len(present)), [len(sentences) for sentences in further])])
    history = generator.choice(
        ["Hypertension Requiring Treatment", "Insulin Dependent Diabetes", "No Health Problems"], len(present)
    )
    base = "notes/Progress Notes/Physical Exam/Physical Exam"
    return {
        "physicalExam": table(
            "physicalExam",
            {**keys("physicalexamid", present[who], stays), "physicalexamoffset": np.full(len(who), 60),
             "physicalexampath": [f"{base}/{EXAMINED[a]}/{line}" for a, line in zip(aspect, examined, strict=True)],
             "physicalexamvalue": examined, "physicalexamtext": examined},
        ),
        "note": table(
            "note",
            {**keys("noteid", present[row], stays), "noteoffset": np.full(len(row), 90),
             "noteenteredoffset": np.full(len(row), 100), "notetype": np.repeat("Admission", len(row)),
             "notepath": np.repeat("notes/Progress Notes/Hospital Course/Course", len(row)),
             "notevalue": noted, "notetext": noted},
        ),
        "pastHistory": table(
            "pastHistory",
            {**keys("pasthistoryid", present, stays), "pasthistoryoffset": np.full(len(present), 30),
             "pasthistoryenteredoffset": np.full(len(present), 40),
             "pasthistorynotetype": np.repeat("Admission", len(present)),
             "pasthistorypath": [f"notes/Progress Notes/Past History/Organ Systems/{item}/{item}" for item in history],
             "pasthistoryvalue": history},
        ),
    }  # fmt: skip


def contents(patients: Patients, nuisance: float, generator: np.random.Generator) -> dict[str, list[str]]:
    """Write the diagnoses, text and treatments of first stays, whether they are entered or not.

    Args:
        patients: of the chunk.
        nuisance: strength of what texts contain that depends on nothing else.
        generator: of the contents.

    Returns:
        Column of the truth -> N texts.
    """
    (own,) = generator.spawn(1)
    readings, further = patients.readings, text.further_sentences(patients.phrase, nuisance, own)
    diagnosed = np.hstack([_image(readings, generator), _acute(readings, generator)])
    treated = _report(readings, generator)
    function = text.grades(readings[:, 3], text.NOTE_SPREAD, text.FUNCTION, generator)
    course = text.grades(readings[:, 4], text.SEVERITY_SPREAD, text.COURSE, generator)
    texts = [
        " ".join(
            [text.FUNCTION[a][grade] for a, grade in enumerate(one)]
            + [text.COURSE[a][grade] for a, grade in enumerate(two)]
            + list(three)
        )
        for one, two, three in zip(function.tolist(), course.tolist(), further, strict=True)
    ]
    return {
        "content/diagnoses": _listed((*DIAGNOSED, *ACUTE), diagnosed),
        "content/text": texts,
        "content/treatments": _listed(TREATED, treated),
    }


def _listed(stems: Sequence[str], grade: Int) -> list[str]:
    return ["; ".join(f"{stem}|{SEVERITIES[g]}" for stem, g in zip(stems, row, strict=True)) for row in grade.tolist()]


def _image(readings: Array, generator: np.random.Generator) -> Int:
    return text.grades(readings[:, 5], text.NOTE_SPREAD, [SEVERITIES] * len(DIAGNOSED), generator)


def _acute(readings: Array, generator: np.random.Generator) -> Int:
    return text.grades(readings[:, 6], text.SEVERITY_SPREAD, [SEVERITIES] * len(ACUTE), generator)


def _report(readings: Array, generator: np.random.Generator) -> Int:
    return text.grades(readings[:, 7], text.REPORT_SPREAD, [SEVERITIES] * len(TREATED), generator)
