"""Writes unit stays, entries and readings as the tables of eICU-CRD 2.0, with the dirt that real ones have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from data_modules.simulate import text
from data_modules.simulate.frames import Int, frame, measure, repeat
from data_modules.simulate.latent import EICU, Array, Patients, drift
from data_modules.simulate.mimic_iv import DRUGS, LAB_SHAPES, VITAL_SHAPES, Tables
from data_modules.sources.eicu import EICU as EICU_SOURCE

Bool = NDArray[np.bool_]

LANDMARK, DAY = 1440, 1440
FIRST_STAY, FIRST_HOSPITAL_STAY, STAYS_EACH = 1_000_000, 500_000, 2
DIAGNOSES, TEXT, TREATMENTS = 0, 1, 2
ROWS_EACH = 2_000
"""More rows of one table than one stay can have; keeps row keys unique between chunks."""
UNIT_DEATH_SHARE = 0.6
"""Share of hospital deaths that happen in the unit of the first stay, whatever else is known."""

LAB_NAMES = {
    "albumin": ("albumin", "g/dL"), "bicarbonate": ("bicarbonate", "mmol/L"), "bun": ("BUN", "mg/dL"),
    "chloride": ("chloride", "mmol/L"), "creatinine": ("creatinine", "mg/dL"), "glucose": ("glucose", "mg/dL"),
    "potassium": ("potassium", "mmol/L"), "sodium": ("sodium", "mmol/L"), "hematocrit": ("Hct", "%"),
    "hemoglobin": ("Hgb", "g/dL"), "platelets": ("platelets x 1000", "K/mcL"), "wbc": ("WBC x 1000", "K/mcL"),
    "inr": ("PT - INR", "ratio"), "bilirubin_total": ("total bilirubin", "mg/dL"), "lactate": ("lactate", "mmol/L"),
}  # fmt: skip
LABS = {name: LAB_SHAPES[name] for name in LAB_NAMES}
LOWEST = np.array([0.6, 3, 2, 60, 0.2, 30, 1, 100, 8, 3, 5, 0.5, 0.6, 0.3, 0.2])
SEVERITIES = ("stable", "mild", "moderate", "marked", "severe", "life threatening")
DIAGNOSED = ("pulmonary|respiratory failure|hypoxemia", "cardiovascular|chf|congestive heart failure",
             "pulmonary|pulmonary infections|pneumonia", "cardiovascular|shock / hypotension|hypotension")  # fmt: skip
"""Diagnoses graded by what the film shows in MIMIC-IV; the severity ends the path."""
ACUTE = ("renal|disorder of kidney|acute renal failure", "infectious diseases|systemic/other infections|sepsis")
TREATED = ("pulmonary|ventilation and oxygenation|oxygen therapy", "pulmonary|medications|bronchodilator",
           "cardiovascular|intravenous fluid|crystalloids")  # fmt: skip
EXAMINED = ("Mobility", "Support", "Medications", "Neurologic", "Nutrition", "Falls")
INFUSIONS = ("Norepinephrine (mcg/min)", "Propofol (mcg/kg/min)", "Fentanyl (mcg/hr)", "Insulin (units/hr)")
INFUSION_HOSPITALS = 25
"""Hospitals whose interface fills infusionDrug."""


@dataclass(frozen=True)
class Stays:
    """Unit stays of a chunk, the first ones of all subjects before the second ones.

    Attributes:
        person: (S,) position of the subject in the chunk.
        number: (S,) 0 = first, 1 = second.
        stay: (S,) patientunitstayid.
        begins: (S,) minutes since admission to the hospital.
        minutes: (S,) length.
        dies: (S,) bool, in the unit.
        kind: (S,) unitstaytype.
        present: (S, 3) bool.
        readings: (S, 8).
        hospital: (S,) position of the hospital.
    """

    person: Int
    number: Int
    stay: Int
    begins: Int
    minutes: Int
    dies: Bool
    kind: NDArray[np.str_]
    present: Bool
    readings: Array
    hospital: Int


def draw_stays(patients: Patients, start: int, generator: np.random.Generator) -> Stays:
    """First unit stays, and the second ones that make readmission true or, as step-downs, do not."""
    count = len(patients.worry)
    person = np.arange(count)
    long = LANDMARK + 1 + np.exp(7 + 0.25 * patients.readings[:, 0] + 0.6 * generator.standard_normal(count))
    minutes = np.where(patients.excluded, generator.uniform(300, LANDMARK, count), np.minimum(long, 20_000)).astype(
        np.int64
    )
    begins = generator.integers(30, 3000, count)
    dies = unit_deaths(patients, generator)
    back = patients.outcome[:, 1] & ~dies
    down = ~back & ~dies & (generator.random(count) < 0.15)
    again = np.flatnonzero(back | down)
    gap = np.where(back[again], generator.integers(300, 4000, len(again)), 0)
    later = drift(patients, generator)
    return Stays(
        person=np.concatenate([person, again]),
        number=np.concatenate([np.zeros(count, np.int64), np.ones(len(again), np.int64)]),
        stay=FIRST_STAY + np.concatenate([(start + person) * STAYS_EACH, (start + again) * STAYS_EACH + 1]),
        begins=np.concatenate([begins, begins[again] + minutes[again] + gap]),
        minutes=np.concatenate([minutes, generator.integers(600, 6000, len(again))]),
        dies=np.concatenate([dies, np.zeros(len(again), np.bool_)]),
        kind=np.concatenate([np.repeat("admit", count), np.where(back[again], "readmit", "stepdown/other")]),
        present=np.concatenate([patients.present, generator.random((len(again), 3)) < 0.7]),
        readings=np.concatenate([patients.readings, later.readings[again]]),
        hospital=np.concatenate([patients.group, patients.group[again]]),
    )


def unit_deaths(patients: Patients, generator: np.random.Generator) -> Bool:
    """(N,) which hospital deaths happen in the unit of the first stay."""
    return np.asarray(patients.outcome[:, 0] & (generator.random(len(patients.worry)) < UNIT_DEATH_SHARE))


def with_unit_mortality(known: pl.DataFrame) -> pl.DataFrame:
    """Add what is known of death in the unit: a fixed share of hospital deaths."""
    hospital = [name for name in known.columns if name.endswith("/in_hospital_mortality")]
    shares = [name for name in hospital if name.startswith(("probability", "oracle"))]
    return known.with_columns(
        (pl.col(name) * UNIT_DEATH_SHARE).alias(name.replace("in_hospital", "unit")) for name in shares
    )


def tables(patients: Patients, stays: Stays, start: int, generator: np.random.Generator) -> Tables:
    """All tables of a chunk of subjects whose first one is number `start`, but `hospital`."""
    written = {"patient": _patient(patients, stays, start, generator)}
    written |= _apache(patients, stays, generator)
    written |= _measured(patients, stays, generator)
    written |= _drugs(stays, generator)
    return written | _entered(patients, stays, generator)


def hospitals() -> pl.DataFrame:
    """The hospital table; a fifth of the hospitals do not tell their size or region."""
    number = np.arange(len(EICU.groups))
    region = np.array(["Midwest", "South", "Northeast", "West", ""])[number % 5]
    beds = np.array(["<100", "100 - 249", "250 - 499", ">= 500", ""])[number * 7 % 5]
    teaching = np.where(number % 4 == 0, "t", "f")
    return _table(
        "hospital", {"hospitalid": 100 + number, "numbedscategory": beds, "teachingstatus": teaching, "region": region}
    )


def _table(name: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    return frame(EICU_SOURCE.tables[name], columns)


def _keys(name: str, owner: Int, stays: Stays) -> dict[str, Any]:
    """Row key and stay of events that belong to stays."""
    stay = stays.stay[owner]
    first = stays.stay.min() * ROWS_EACH
    return {name: first + np.arange(len(owner)), "patientunitstayid": stay}


def _patient(patients: Patients, stays: Stays, start: int, generator: np.random.Generator) -> pl.DataFrame:
    person, count = stays.person, len(stays.person)
    years = np.clip(
        np.round(62 + 10 * patients.readings[:, 0] + 8 * generator.standard_normal(len(patients.worry))), 16, 97
    )
    age = np.where(years > 89, "> 89", years.astype(np.int64).astype(str))
    age = np.where(generator.random(len(age)) < 0.002, "", age)
    ends = np.zeros(len(patients.worry), np.int64)
    np.maximum.at(ends, person, stays.begins + stays.minutes)
    first_dies = stays.dies[: len(ends)]
    ends = np.where(first_dies, ends, ends + generator.integers(60, 8000, len(ends)))
    status = np.where(patients.outcome[:, 0], "Expired", "Alive")
    unknown = ~first_dies & (generator.random(len(status)) < 0.01) & patients.excluded
    status = np.where(unknown, "", status)
    clock = generator.integers(0, DAY, count)
    return _table(
        "patient",
        {
            "patientunitstayid": stays.stay,
            "patienthealthsystemstayid": FIRST_HOSPITAL_STAY + start + person,
            "gender": np.where((start + person) % 2 == 0, "Female", "Male"),
            "age": age[person],
            "ethnicity": np.array(["Caucasian", "African American", "Hispanic", "Asian", ""])[(start + person) % 5],
            "hospitalid": 100 + stays.hospital,
            "wardid": 1000 + stays.hospital,
            "admissionheight": np.round(168 + 10 * generator.standard_normal(count), 1),
            "hospitaladmittime24": _clock(clock - stays.begins),
            "hospitaladmitoffset": -stays.begins,
            "hospitaladmitsource": generator.choice(["Emergency Department", "Floor", "Operating Room", ""], count),
            "hospitaldischargeyear": np.full(count, 2014) + (start + person) % 2,
            "hospitaldischargetime24": _clock(clock),
            "hospitaldischargeoffset": ends[person] - stays.begins,
            "hospitaldischargelocation": np.where(patients.outcome[person, 0], "Death", "Home"),
            "hospitaldischargestatus": status[person],
            "unittype": generator.choice(["Med-Surg ICU", "MICU", "CCU-CTICU", "Neuro ICU"], count),
            "unitadmittime24": _clock(clock),
            "unitadmitsource": generator.choice(["Emergency Department", "Floor", ""], count),
            "unitvisitnumber": stays.number + 1,
            "unitstaytype": stays.kind,
            "admissionweight": np.round(82 + 18 * generator.standard_normal(count).clip(-2, 4), 1),
            "unitdischargetime24": _clock(clock + stays.minutes),
            "unitdischargeoffset": stays.minutes,
            "unitdischargelocation": np.where(stays.dies, "Death", "Floor"),
            "unitdischargestatus": np.where(stays.dies, "Expired", "Alive"),
            "uniquepid": [
                f"{100 + hospital:03d}-{start + who}" for hospital, who in zip(stays.hospital, person, strict=True)
            ],
        },
    )


def _clock(minutes: Int) -> list[str]:
    return [f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in minutes % DAY]


def _apache(patients: Patients, stays: Stays, generator: np.random.Generator) -> Tables:
    """Worst values of day 1 (-1 = missing), predictors, and the two versions of APACHE's own prediction."""
    owner = np.flatnonzero(generator.random(len(stays.stay)) < 0.9)
    names = ("wbc", "sodium", "hematocrit", "creatinine", "albumin", "bun", "glucose")
    values = {}
    for name in names:
        value = measure(LABS, np.full(len(owner), list(LABS).index(name)), stays.readings[owner], generator)
        values[name] = np.where(generator.random(len(owner)) < 0.25, -1, np.round(np.maximum(value, 0.2), 2))
    for column, name in (("heartrate", "heart_rate"), ("respiratoryrate", "respiratory_rate")):
        value = measure(
            VITAL_SHAPES, np.full(len(owner), list(VITAL_SHAPES).index(name)), stays.readings[owner], generator
        )
        values[column] = np.where(generator.random(len(owner)) < 0.05, -1, np.round(np.maximum(value, 5)))
    flags = {name: np.zeros(len(owner), np.int64) for name in ("intubated", "vent", "dialysis", "meds")}
    died = patients.outcome[stays.person[owner], 0].astype(np.int64)
    score = np.clip(55 + 15 * stays.readings[owner, 0], 5, 200).astype(np.int64)
    twice = np.repeat(owner, 2)
    result = {
        **_keys("apachepatientresultsid", twice, stays),
        "apachescore": np.repeat(score, 2),
        "apacheversion": np.tile(["IV", "IVa"], len(owner)),
        "predictedhospitalmortality": np.repeat(np.round(expit(-2.6 + 0.03 * (score - 55)), 4).astype(str), 2),
        "actualhospitalmortality": np.repeat(np.where(died == 1, "EXPIRED", "ALIVE"), 2),
    }
    predictors = {
        "sicuday": np.ones(len(owner), np.int64),
        "diedinhospital": died,
        "electivesurgery": np.full(len(owner), -1),
        "diabetes": (stays.readings[owner, 1] > 1).astype(np.int64),
    }
    return {
        "apacheApsVar": _table("apacheApsVar", {**_keys("apacheapsvarid", owner, stays), **flags, **values}),
        "apachePredVar": _table("apachePredVar", {**_keys("apachepredvarid", owner, stays), **predictors}),
        "apachePatientResult": _table("apachePatientResult", result),
    }


def _measured(patients: Patients, stays: Stays, generator: np.random.Generator) -> Tables:
    """Labs (the last panel of day 1 is revised after it and tells the outcome) and vitals."""
    panels = np.array([-90, 240, 600, 1100, 1400, 2000])
    owner, number = repeat(np.full(len(stays.stay), len(panels)))
    inside = panels[number] < stays.minutes[owner]
    owner, number = owner[inside], number[inside]
    panel, quantity = np.repeat(np.arange(len(owner)), len(LABS)), np.tile(np.arange(len(LABS)), len(owner))
    taken = generator.random(len(panel)) < 0.8
    panel, quantity = panel[taken], quantity[taken]
    who = owner[panel]
    value = measure(LABS, quantity, stays.readings[who], generator)
    late = number[panel] >= 4
    spread = np.array([shape[1] for shape in LABS.values()])[quantity]
    died = patients.outcome[stays.person[who], 0]
    value = np.maximum(np.where(late, value + 2 * spread * (died - 0.5), value), LOWEST[quantity])
    at = panels[number[panel]]
    labs = {
        **_keys("labid", who, stays),
        "labresultoffset": at,
        "labtypeid": np.ones(len(who), np.int64),
        "labname": np.array([name for name, _ in LAB_NAMES.values()])[quantity],
        "labresult": np.round(value, 2),
        "labresulttext": np.round(value, 2).astype(str),
        "labmeasurenamesystem": np.array([unit for _, unit in LAB_NAMES.values()])[quantity],
        "labmeasurenameinterface": np.array([unit for _, unit in LAB_NAMES.values()])[quantity],
        "labresultrevisedoffset": at + np.where(late, 200, 30),
    }
    return {"lab": _table("lab", labs), **_vitals(stays, generator)}


def _vitals(stays: Stays, generator: np.random.Generator) -> Tables:
    owner, number = repeat(np.clip(stays.minutes // 60, 1, 26))
    names = {"heartrate": "heart_rate", "respiration": "respiratory_rate", "sao2": "spo2", "systemicsystolic": "sbp",
             "systemicdiastolic": "dbp"}  # fmt: skip
    read = {
        column: np.round(
            measure(VITAL_SHAPES, np.full(len(owner), list(VITAL_SHAPES).index(name)), stays.readings[owner], generator)
        )
        for column, name in names.items()
    }
    read["sao2"] = np.minimum(read["sao2"], 100)
    offset = {"observationoffset": number * 60 + 5}
    cuff = number % 4 == 0
    pressure = {
        "noninvasivesystolic": read["systemicsystolic"][cuff],
        "noninvasivediastolic": read["systemicdiastolic"][cuff],
    }
    return {
        "vitalPeriodic": _table("vitalPeriodic", {**_keys("vitalperiodicid", owner, stays), **offset, **read}),
        "vitalAperiodic": _table(
            "vitalAperiodic",
            {**_keys("vitalaperiodicid", owner[cuff], stays), "observationoffset": number[cuff] * 60 + 5, **pressure},
        ),
    }


def _drugs(stays: Stays, generator: np.random.Generator) -> Tables:
    slope = np.linspace(-0.6, 0.8, len(DRUGS))
    ordered = generator.random((len(stays.stay), len(DRUGS))) < expit(-0.8 + slope * stays.readings[:, :1])
    who, drug = np.nonzero(ordered)
    begins = generator.integers(-600, 2000, len(who))
    medication = {
        **_keys("medicationid", who, stays),
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
        **_keys("infusiondrugid", patient, stays),
        "infusionoffset": generator.integers(0, 1800, len(patient)),
        "drugname": np.array(INFUSIONS)[infusion],
        "drugrate": np.repeat("5", len(patient)),
    }
    return {"medication": _table("medication", medication), "infusionDrug": _table("infusionDrug", infusions)}


def _entered(patients: Patients, stays: Stays, generator: np.random.Generator) -> Tables:
    """What clinicians enter, or do not, within a day; and what is entered after it by everyone."""
    readings = stays.readings
    film = text.grades(readings[:, 5], 1.077, [SEVERITIES] * len(DIAGNOSED), generator)
    acute = text.grades(readings[:, 6], 1.0, [SEVERITIES] * len(ACUTE), generator)
    report = text.grades(readings[:, 7], text.REPORT_SPREAD, [SEVERITIES] * len(TREATED), generator)
    diagnosis = _paths(stays, (*DIAGNOSED, *ACUTE), np.hstack([film, acute]), stays.present[:, DIAGNOSES], generator)
    treatment = _paths(stays, TREATED, report, stays.present[:, TREATMENTS], generator)
    late = np.arange(len(stays.stay))
    outcome = np.where(patients.outcome[stays.person, 0], "Cardiac arrest", "Monitoring")
    return {
        "diagnosis": _table(
            "diagnosis",
            {**_keys("diagnosisid", diagnosis[0], stays), "activeupondischarge": np.repeat("False", len(diagnosis[0])),
             "diagnosisoffset": diagnosis[1], "diagnosisstring": diagnosis[2],
             "diagnosispriority": np.repeat("Major", len(diagnosis[0]))},
        ),
        "treatment": _table(
            "treatment",
            {**_keys("treatmentid", treatment[0], stays), "treatmentoffset": treatment[1],
             "treatmentstring": treatment[2], "activeupondischarge": np.repeat("False", len(treatment[0]))},
        ),
        "admissionDx": _table(
            "admissionDx",
            {**_keys("admissiondxid", late, stays), "admitdxenteredoffset": np.full(len(late), LANDMARK + 600),
             "admitdxpath": [f"admission diagnosis|Non-operative Organ Systems|{said}" for said in outcome],
             "admitdxname": outcome},
        ),
        **_forms(stays, generator),
    }  # fmt: skip


def _paths(
    stays: Stays, stems: Sequence[str], grade: Int, present: Bool, generator: np.random.Generator
) -> tuple[Int, Int, list[str]]:
    """Owner, offset and path of graded entries; some of those who lack them get theirs after the landmark."""
    late = ~present & (generator.random(len(present)) < 0.3)
    who, stem = np.nonzero(np.repeat((present | late)[:, None], len(stems), axis=1))
    limit = np.minimum(stays.minutes[who], LANDMARK) - 1
    inside = (generator.random(len(who)) * limit).astype(np.int64)
    offset = np.where(late[who], LANDMARK + 1 + inside, inside)
    return (
        who,
        offset,
        [f"{stems[s]}|{SEVERITIES[grade[w, s]]}" for w, s in zip(who.tolist(), stem.tolist(), strict=True)],
    )


def _forms(stays: Stays, generator: np.random.Generator) -> Tables:
    """Structured notes, examinations and past history of those who have text, graded by the readings of the note."""
    present = np.flatnonzero(stays.present[:, TEXT])
    function = text.grades(stays.readings[present, 3], text.NOTE_SPREAD, text.FUNCTION, generator)
    course = text.grades(stays.readings[present, 4], text.SEVERITY_SPREAD, text.COURSE, generator)
    who, aspect = np.nonzero(np.ones_like(function))
    examined = [text.FUNCTION[a][function[w, a]] for w, a in zip(who, aspect, strict=True)]
    row, part = np.nonzero(np.ones_like(course))
    noted = [text.COURSE[a][course[w, a]] for w, a in zip(row, part, strict=True)]
    history = generator.choice(
        ["Hypertension Requiring Treatment", "Insulin Dependent Diabetes", "No Health Problems"], len(present)
    )
    base = "notes/Progress Notes/Physical Exam/Physical Exam"
    return {
        "physicalExam": _table(
            "physicalExam",
            {**_keys("physicalexamid", present[who], stays), "physicalexamoffset": np.full(len(who), 60),
             "physicalexampath": [f"{base}/{EXAMINED[a]}/{said}" for a, said in zip(aspect, examined, strict=True)],
             "physicalexamvalue": examined, "physicalexamtext": examined},
        ),
        "note": _table(
            "note",
            {**_keys("noteid", present[row], stays), "noteoffset": np.full(len(row), 90),
             "noteenteredoffset": np.full(len(row), 100), "notetype": np.repeat("Admission", len(row)),
             "notepath": np.repeat("notes/Progress Notes/Hospital Course/Course", len(row)),
             "notevalue": noted, "notetext": noted},
        ),
        "pastHistory": _table(
            "pastHistory",
            {**_keys("pasthistoryid", present, stays), "pasthistoryoffset": np.full(len(present), 30),
             "pasthistoryenteredoffset": np.full(len(present), 40),
             "pasthistorynotetype": np.repeat("Admission", len(present)),
             "pasthistorypath": [f"notes/Progress Notes/Past History/Organ Systems/{said}/{said}" for said in history],
             "pasthistoryvalue": history},
        ),
    }  # fmt: skip
