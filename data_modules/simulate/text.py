"""Discharge summaries and radiology reports: sentences graded by a reading, among distractors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from data_modules.simulate.frames import Int
from data_modules.simulate.latent import Array

JITTER = 0.35
"""Standard deviation of the noise of each sentence, in standard deviations of the reading."""

NOTE_SPREAD, SEVERITY_SPREAD, REPORT_SPREAD = 1.077, 1.0, 1.470
"""Standard deviations of the readings note/0, note/1 and report/0 (see `latent`)."""

FUNCTION = (
    ("Walks independently without a device.", "Steady gait, climbs one flight of stairs.", "Walks with a cane.",
     "Uses a rolling walker for short distances.", "Needs two people to transfer.", "Bedbound."),
    ("Lives with spouse, strong support at home.", "Daughter visits daily.", "Lives alone, neighbours help at times.",
     "Limited support at home.", "Lives alone with no support.", "Unstable housing, no contact could be reached."),
    ("Takes all medications as prescribed.", "Manages a pill box reliably.", "Occasionally forgets evening doses.",
     "Unsure about the indication of several medications.", "Missed most doses in the month before admission.",
     "Had stopped all medications before admission."),
    ("Alert and oriented, recalls the plan of care.", "Oriented, recalls most of the plan.", "Mildly forgetful.",
     "Oriented to self and place only.", "Waxing and waning attention at night.", "Persistently confused."),
    ("Eating full meals.", "Good appetite.", "Fair appetite with supplements.", "Poor intake, weight down five pounds.",
     "Marked weight loss, eats a quarter of meals.", "Cachectic, tube feeding was discussed."),
    ("No falls in the past year.", "One mechanical fall without injury.", "Two falls this year.",
     "Recurrent falls at home.", "Falls weekly.", "Fell twice during this stay."),
)  # fmt: skip
"""Aspects graded by the reading that only the note shows, from good to bad."""

COURSE = (
    ("The stay was uneventful.", "Improved promptly with treatment.", "Improved over several days.",
     "The course was prolonged.", "The course was complicated by a rapid response call.",
     "The course was complicated by respiratory failure and shock."),
    ("Electrolytes were within normal limits.", "Minor electrolyte repletion.", "Electrolytes were repleted daily.",
     "Renal function worsened, then recovered in part.", "Renal function worsened and did not recover.",
     "Renal replacement was considered."),
    ("Breathing comfortably on room air.", "Weaned to room air on day two.", "One litre of oxygen at night.",
     "Required two litres of oxygen.", "Required high flow oxygen.", "Required non-invasive ventilation."),
)  # fmt: skip
"""Aspects graded by the severity that the note shows."""

DISTRACTORS = (
    "Family history: father had a stroke at an old age.",
    "No history of pulmonary embolism.",
    "Denies tobacco, alcohol and illicit drugs.",
    "Mother was bedbound in her last years.",
    "No evidence of delirium on screening tools at admission.",
    "Allergies: penicillin, rash in childhood.",
    "Immunisations are up to date.",
    "Denies falls at work.",
    "Health care proxy is on file.",
    "Seen by nutrition, no recommendations at that time.",
    "The patient's brother recently required high flow oxygen at another hospital.",
    "Follow up with primary care within two weeks.",
)

PHRASES = ("Pancreatic cancer with metastases to the liver.", "Known stage four adenocarcinoma of the pancreas.")
"""Two wordings of the phrase."""

NEUTRAL = tuple(
    f"{who} {what}."
    for who in ("Physiotherapy", "Pharmacy", "Social work", "The dietitian", "The chaplain", "An interpreter")
    for what in ("reviewed the chart", "left contact details", "was informed of the transfer", "saw the relatives",
                 "updated the whiteboard")
)  # fmt: skip
"""Sentences that every note may have, whatever it describes."""

FINDINGS = (
    ("The lungs are clear.", "No focal consolidation.", "Minimal atelectasis at the left base.",
     "Patchy opacity at the right base.", "Multifocal opacities.", "Extensive bilateral airspace opacities."),
    ("No pleural effusion.", "No sizeable pleural effusion.", "Trace effusion cannot be excluded.",
     "Small left pleural effusion.", "Moderate bilateral effusions.", "Large bilateral effusions."),
    ("No vascular congestion.", "Pulmonary vasculature is normal.", "Mild vascular prominence.",
     "Mild interstitial edema.", "Moderate pulmonary edema.", "Severe pulmonary edema."),
)  # fmt: skip
"""Aspects graded by the reading of the report."""

TECHNIQUES = (
    "Portable AP view of the chest.",
    "PA and lateral views of the chest.",
    "Single frontal view of the chest.",
)
COMPARISONS = ("Comparison: none.", "Comparison: radiograph from ___.", "Comparison: chest CT from ___.")


def grades(reading: Array, spread: float, aspects: Sequence[Sequence[str]], generator: np.random.Generator) -> Int:
    """Grade every aspect, (N, aspects) int: the reading's quantile plus jitter, cut into equal shares."""
    jitter = generator.standard_normal((len(reading), len(aspects))) * JITTER
    quantile = ndtr((reading[:, None] / spread + jitter) / np.hypot(1, JITTER))
    return np.asarray(np.minimum(quantile * len(aspects[0]), len(aspects[0]) - 1).astype(np.int64))


def further_sentences(
    phrase: NDArray[np.bool_], nuisance: float, generator: np.random.Generator
) -> list[tuple[str, ...]]:
    """Draw the sentences of notes that do not depend on readings.

    Args:
        phrase: (N,) whether each note has the phrase.
        nuisance: a third of the mean number of neutral sentences.
        generator: of numbers, sentences and wordings.

    Returns:
        N groups of sentences: neutral ones, then the phrase.
    """
    wordings, neutral = generator.spawn(2)
    wording = wordings.integers(len(PHRASES), size=len(phrase)) if phrase.any() else np.zeros(len(phrase), np.int64)
    counts = neutral.poisson(3 * nuisance, len(phrase)) if nuisance > 0 else np.zeros(len(phrase), np.int64)
    return [
        (*(NEUTRAL[place] for place in neutral.integers(len(NEUTRAL), size=count)), *([PHRASES[w]] if has else []))
        for count, w, has in zip(counts.tolist(), wording.tolist(), phrase.tolist(), strict=True)
    ]


def discharge_notes(
    readings: Array, generator: np.random.Generator, further: Sequence[Sequence[str]] | None = None
) -> list[str]:
    """Write discharge summaries.

    Args:
        readings: (N, 2) note/0 and note/1.
        generator: of grades and distractors.
        further: sentences that each has besides, from `further_sentences`.

    Returns:
        N texts.
    """
    further = further or [()] * len(readings)
    function = grades(readings[:, 0], NOTE_SPREAD, FUNCTION, generator)
    course = grades(readings[:, 1], SEVERITY_SPREAD, COURSE, generator)
    extra = generator.random((len(readings), len(DISTRACTORS))) < 0.35
    order = generator.random((len(readings), len(FUNCTION)))
    notes = []
    for row in range(len(readings)):
        social = [FUNCTION[aspect][function[row, aspect]] for aspect in np.argsort(order[row])]
        hospital = [COURSE[aspect][course[row, aspect]] for aspect in range(len(COURSE))]
        history = [text for text, keep in zip(DISTRACTORS, extra[row], strict=True) if keep] + list(further[row])
        notes.append(
            "Name: ___   Unit No: ___\n\nAdmission Date: ___   Discharge Date: ___\n\n"
            f"Past Medical History:\n{' '.join(history)}\n\n"
            f"Social History:\n{' '.join(social)}\n\n"
            f"Brief Hospital Course:\n{' '.join(hospital)}\n\n"
            "Discharge Instructions:\nDear Mr./Ms. ___, it was a pleasure to take care of you.\n"
        )
    return notes


def radiology_reports(reading: Array, generator: np.random.Generator) -> list[str]:
    """Write texts of (N,) readings report/0."""
    found = grades(reading, REPORT_SPREAD, FINDINGS, generator)
    technique = generator.integers(len(TECHNIQUES), size=len(reading))
    compared = generator.integers(len(COMPARISONS), size=len(reading))
    return [
        f"EXAMINATION: CHEST RADIOGRAPH\n\nTECHNIQUE: {TECHNIQUES[technique[row]]}\n\n"
        f"{COMPARISONS[compared[row]]}\n\nFINDINGS:\n"
        + " ".join(FINDINGS[aspect][found[row, aspect]] for aspect in range(len(FINDINGS)))
        + " The bony structures are intact.\n"
        for row in range(len(reading))
    ]
