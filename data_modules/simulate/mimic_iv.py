"""Writes admissions, orders and readings as the tables of MIMIC-IV 3.1, with the dirt that real ones have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from data_modules.features.concepts import LABS, VITALS
from data_modules.simulate.frames import Shape, frame, measure, repeat
from data_modules.simulate.latent import MIMIC, Array, Patients
from data_modules.simulate.timeline import DAY, HOUR, Admissions, Bool, Int, Timeline
from data_modules.sources.mimic_iv import MIMIC_IV

FIRST_SUBJECT, FIRST_ADMISSION, FIRST_STAY, ADMISSIONS_EACH = 10_000_000, 20_000_000, 30_000_000, 4
LABS_EACH = 5_000
"""More labs than one subject can have; keeps labevent_id unique between chunks."""

# Mean, standard deviation and the loading of each quantity on the three structured readings.
LAB_SHAPES: Mapping[str, Shape] = {
    name: (mean, spread, np.array(loading))
    for name, mean, spread, loading in (
        ("albumin", 3.6, 0.6, (-0.7, 0.0, -0.3)),
        ("bicarbonate", 25.0, 3.5, (-0.6, 0.2, 0.0)),
        ("bun", 24.0, 9.0, (0.6, 0.5, 0.2)),
        ("chloride", 102.0, 4.5, (0.0, -0.3, 0.2)),
        ("creatinine", 1.5, 0.5, (0.3, 0.8, 0.2)),
        ("glucose", 130.0, 30.0, (0.3, 0.2, 0.3)),
        ("potassium", 4.2, 0.5, (0.1, 0.5, 0.0)),
        ("sodium", 138.0, 4.0, (-0.3, -0.4, 0.0)),
        ("hematocrit", 34.0, 5.0, (-0.3, 0.0, -0.7)),
        ("hemoglobin", 11.3, 1.7, (-0.3, 0.0, -0.7)),
        ("platelets", 220.0, 60.0, (-0.2, -0.3, -0.2)),
        ("wbc", 9.5, 3.0, (0.7, 0.0, 0.3)),
        ("inr", 1.5, 0.3, (0.3, 0.3, 0.4)),
        ("bilirubin_total", 1.6, 0.5, (0.2, 0.6, 0.1)),
        ("lactate", 2.2, 0.6, (0.8, 0.0, 0.1)),
        ("crp", 60.0, 18.0, (0.7, 0.2, 0.2)),
    )
}
VITAL_SHAPES: Mapping[str, Shape] = {
    name: (mean, spread, np.array(loading))
    for name, mean, spread, loading in (
        ("heart_rate", 88.0, 14.0, (0.7, 0.0, 0.2)),
        ("sbp", 118.0, 16.0, (-0.6, 0.2, 0.0)),
        ("dbp", 64.0, 10.0, (-0.5, 0.2, 0.0)),
        ("respiratory_rate", 20.0, 4.0, (0.6, 0.2, 0.0)),
        ("temperature", 98.6, 0.9, (0.3, 0.0, 0.3)),
        ("spo2", 96.0, 1.6, (-0.5, -0.1, -0.2)),
    )
}
DRUGS = (
    "Acetaminophen", "Heparin", "Insulin", "Furosemide", "Metoprolol Tartrate", "Vancomycin", "Piperacillin-Tazobactam",
    "Ondansetron", "Senna", "Docusate Sodium", "Pantoprazole", "Potassium Chloride", "Magnesium Sulfate", "Aspirin",
    "Atorvastatin", "Lisinopril", "Warfarin", "Albuterol 0.083% Neb Soln", "Prednisone", "Morphine Sulfate",
)  # fmt: skip
SPECIMENS, ORGANISMS = ("BLOOD CULTURE", "URINE", "SPUTUM", "SWAB"), ("ESCHERICHIA COLI", "STAPH AUREUS COAG +")
PROCEDURES = (225792, 224275, 224560, 221214, 225402, 227194)
WARDS = ("Medicine", "Cardiology", "Medicine/Cardiology", "Neurology", "Surgery")
UNITS = ("Medical Intensive Care Unit (MICU)", "Surgical Intensive Care Unit (SICU)", "Coronary Care Unit (CCU)")

Tables = dict[str, pl.DataFrame]


def table(name: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of a declared table (see `frames.frame`)."""
    return frame(MIMIC_IV.tables[name], columns)


def subject_ids(start: int, count: int) -> Int:
    """Ids of subjects start, start + 1, ..."""
    return np.arange(FIRST_SUBJECT + start, FIRST_SUBJECT + start + count)


def admission_ids(start: int, admissions: Admissions) -> Int:
    """An id for every admission of a chunk."""
    return np.asarray(FIRST_ADMISSION + (start + admissions.person) * ADMISSIONS_EACH + admissions.number)


def tables(patients: Patients, timeline: Timeline, start: int, generator: np.random.Generator) -> Tables:
    """The structured tables of a chunk of subjects whose first one is number `start`."""
    admissions = timeline.admissions
    hadm = admission_ids(start, admissions)
    subject = subject_ids(start, len(patients.worry))[admissions.person]
    written = {
        "patients": _patients(patients, timeline, start, generator),
        "admissions": _admissions(admissions, subject, hadm, generator),
    }
    written |= _ward_moves(admissions, subject, hadm, generator)
    written["labevents"] = _labs(patients, admissions, subject, hadm, generator)
    written["prescriptions"] = _prescriptions(admissions, subject, hadm, generator)
    written["microbiologyevents"] = _cultures(admissions, subject, hadm, generator)
    written |= _unit(admissions, subject, hadm, generator)
    return written | _billing(admissions, subject, hadm, generator)


def _patients(patients: Patients, timeline: Timeline, start: int, generator: np.random.Generator) -> pl.DataFrame:
    admissions = timeline.admissions
    index = admissions.number == 0
    year = admissions.begins[index].astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970
    age = 62 + 10 * patients.readings[:, 0] + 8 * generator.standard_normal(len(year))
    age = np.clip(np.round(age), 18, 97)
    return table(
        "patients",
        {
            "subject_id": subject_ids(start, len(year)),
            "gender": generator.choice(["F", "M"], len(year)),
            "anchor_age": np.where(age > 89, 91, age).astype(np.int64),
            "anchor_year": year,
            "anchor_year_group": np.array(MIMIC.groups)[patients.group],
            "dod": timeline.death,
        },
    )


def _admissions(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> pl.DataFrame:
    count = len(hadm)
    emergency = admissions.arrives < admissions.begins
    place = generator.choice(["HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB"], count)
    return table(
        "admissions",
        {
            "subject_id": subject,
            "hadm_id": hadm,
            "admittime": admissions.begins,
            "dischtime": admissions.ends,
            "deathtime": np.where(admissions.dies, admissions.ends, -1),
            "admission_type": np.where(
                emergency, "EW EMER.", generator.choice(["ELECTIVE", "URGENT", "OBSERVATION ADMIT"], count)
            ),
            "admission_location": np.where(emergency, "EMERGENCY ROOM", "PHYSICIAN REFERRAL"),
            "discharge_location": np.where(admissions.dies, "DIED", place),
            "insurance": generator.choice(["Medicare", "Medicaid", "Private"], count, p=[0.5, 0.2, 0.3]),
            "language": generator.choice(["English", "Spanish", "Chinese"], count, p=[0.9, 0.06, 0.04]),
            "marital_status": generator.choice(["MARRIED", "SINGLE", "WIDOWED", "DIVORCED"], count),
            "race": generator.choice(
                ["WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "UNKNOWN"], count, p=[0.6, 0.2, 0.1, 0.1]
            ),
            "edregtime": np.where(emergency, admissions.arrives, -1),
            "edouttime": np.where(emergency, admissions.begins + HOUR, -1),
            "hospital_expire_flag": admissions.dies.astype(np.int64),
        },
    )


def _ward_moves(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    ward = generator.choice(WARDS, len(hadm))
    half = (admissions.begins + admissions.ends) // 2
    moves = {
        "subject_id": np.tile(subject, 2),
        "hadm_id": np.tile(hadm, 2),
        "transfer_id": np.concatenate([hadm + 15_000_000, hadm + 16_000_000]),
        "eventtype": np.repeat(["admit", "transfer"], len(hadm)),
        "careunit": np.concatenate([ward, generator.choice(WARDS, len(hadm))]),
        "intime": np.concatenate([admissions.begins, half]),
        "outtime": np.concatenate([half, admissions.ends]),
    }
    service = {
        "subject_id": subject,
        "hadm_id": hadm,
        "transfertime": admissions.begins,
        "curr_service": generator.choice(["MED", "CMED", "SURG", "NMED"], len(hadm)),
    }
    return {"transfers": table("transfers", moves), "services": table("services", service)}


def _labs(
    patients: Patients, admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator
) -> pl.DataFrame:
    """Panels from the emergency department to discharge. The last is drawn before discharge and stored after it."""
    days = np.clip((admissions.ends - admissions.begins) // DAY, 1, 6)
    owner, number = repeat(days + 2)
    last, first = number == days[owner] + 1, number == 0
    at = admissions.begins[owner] + (number - 1) * DAY + generator.integers(0, 6 * HOUR, len(owner))
    at = np.where(
        first,
        (admissions.arrives[owner] + admissions.begins[owner]) // 2,
        np.minimum(at, admissions.ends[owner] - 2 * HOUR),
    )
    at = np.where(last, admissions.ends[owner] - HOUR, np.maximum(at, admissions.arrives[owner])) // 60 * 60
    panel = np.repeat(np.arange(len(owner)), len(LAB_SHAPES))
    quantity = np.tile(np.arange(len(LAB_SHAPES)), len(owner))
    taken = generator.random(len(panel)) < np.where(np.arange(len(LAB_SHAPES)) < 12, 0.9, 0.3)[quantity]
    panel, quantity = panel[taken], quantity[taken]
    who = owner[panel]
    value = measure(LAB_SHAPES, quantity, admissions.readings[who], generator)
    leak = last[panel] & (admissions.number[who] == 0)
    future = patients.outcome[admissions.person[who]].sum(1) - 0.5
    spread = np.array([shape[1] for shape in LAB_SHAPES.values()])[quantity]
    value = np.where(leak, value + 2 * spread * future, value)
    twice = np.flatnonzero(generator.random(len(panel)) < 0.02)
    take = np.concatenate([np.arange(len(panel)), twice])
    panel, quantity, value, who, leak = (array[take] for array in (panel, quantity, value, who, leak))
    return _lab_table(
        panel, quantity, value, at[panel], leak | last[panel], subject[who], hadm[who], first[panel], generator
    )


def _lab_table(
    panel: Int,
    quantity: Int,
    value: Array,
    at: Int,
    late: Bool,
    subject: Int,
    hadm: Int,
    early: Bool,
    generator: np.random.Generator,
) -> pl.DataFrame:
    concepts = {concept.name: concept for concept in LABS}
    chosen = [concepts[name] for name in LAB_SHAPES]
    unit = np.array([concept.unit for concept in chosen])[quantity].astype(object)
    value = np.maximum(value, np.array([max(concept.low, 0.02 * concept.high**0.2) for concept in chosen])[quantity])
    for name, other, factor in (
        ("glucose", "mmol/L", 18.016),
        ("crp", "mg/dL", 10.0),
        ("creatinine", "umol/L", 1 / 88.4),
    ):
        odd = (quantity == list(LAB_SHAPES).index(name)) & (generator.random(len(value)) < 0.02)
        unit, value = np.where(odd, other, unit), np.where(odd, value / factor, value)
    stored = at + np.where(late, 4 * HOUR, generator.integers(HOUR // 2, 2 * HOUR, len(at)) // 60 * 60)
    unknown = generator.random(len(at)) < np.where(early, 0.7, 0.15)
    value = np.round(value, 2)
    return table(
        "labevents",
        {
            "labevent_id": subject.min() * LABS_EACH + np.arange(len(at)),
            "subject_id": subject,
            "hadm_id": pl.Series(hadm).set(pl.Series(unknown), None),
            "specimen_id": subject * 100 + panel % 100,
            "itemid": np.array([concept.items[0] for concept in chosen])[quantity],
            "charttime": at,
            "storetime": np.where(late | (generator.random(len(at)) > 0.01), stored, -1),
            "value": pl.Series(value).cast(pl.String),
            "valuenum": value,
            "valueuom": unit.astype(str),
        },
    )


def _prescriptions(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> pl.DataFrame:
    reading = admissions.readings[:, :3] @ np.array([0.5, 0.3, 0.2])
    slope = np.linspace(-0.6, 0.8, len(DRUGS))
    ordered = generator.random((len(hadm), len(DRUGS))) < 1 / (1 + np.exp(0.8 - slope * reading[:, None]))
    who, drug = np.nonzero(ordered)
    start = admissions.begins[who] + generator.integers(0, DAY, len(who)) // HOUR * HOUR
    start = np.minimum(start, admissions.ends[who] - HOUR)
    return table(
        "prescriptions",
        {
            "subject_id": subject[who],
            "hadm_id": hadm[who],
            "pharmacy_id": hadm[who] * len(DRUGS) + drug,
            "starttime": start,
            "stoptime": np.where(generator.random(len(who)) < 0.05, start - HOUR, admissions.ends[who]),
            "drug_type": np.repeat("MAIN", len(who)),
            "drug": np.array(DRUGS)[drug],
            "ndc": np.repeat("0", len(who)),
            "route": np.repeat("PO/NG", len(who)),
        },
    )


def _cultures(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> pl.DataFrame:
    reading = admissions.readings[:, 0]
    taken = generator.random((len(hadm), len(SPECIMENS))) < 1 / (1 + np.exp(1.2 - 0.5 * reading[:, None]))
    who, specimen = np.nonzero(taken)
    grown = generator.random(len(who)) < 1 / (1 + np.exp(1.5 - 0.6 * reading[who]))
    at = (admissions.begins[who] + generator.integers(0, 12 * HOUR, len(who))) // 60 * 60
    organism = generator.integers(0, len(ORGANISMS), len(who))
    stored = at + 2 * DAY
    return table(
        "microbiologyevents",
        {
            "microevent_id": hadm[who] * len(SPECIMENS) + specimen,
            "subject_id": subject[who],
            "hadm_id": pl.Series(hadm[who]).set(pl.Series(generator.random(len(who)) < 0.3), None),
            "micro_specimen_id": hadm[who] * len(SPECIMENS) + specimen,
            "chartdate": at // DAY * DAY,
            "charttime": np.where(generator.random(len(who)) < 0.06, -1, at),
            "spec_itemid": 70000 + specimen,
            "spec_type_desc": np.array(SPECIMENS)[specimen],
            "test_seq": np.ones(len(who), dtype=np.int64),
            "storedate": stored // DAY * DAY,
            "storetime": stored,
            "test_name": np.repeat("CULTURE", len(who)),
            "org_name": pl.Series(np.array(ORGANISMS)[organism]).set(pl.Series(~grown), None),
        },
    )


def _unit(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """ICU stays, their hourly vitals and procedures."""
    who = np.flatnonzero(admissions.icu)
    begins = admissions.begins[who] + generator.integers(0, 6 * HOUR, len(who))
    ends = np.minimum(begins + (generator.uniform(1, 4, len(who)) * DAY).astype(np.int64), admissions.ends[who] + HOUR)
    ends = np.maximum(ends, begins + HOUR)
    stay = FIRST_STAY + hadm[who] - FIRST_ADMISSION
    care = generator.choice(UNITS, len(who))
    stays = {
        "subject_id": subject[who], "hadm_id": hadm[who], "stay_id": stay, "first_careunit": care,
        "last_careunit": care,
        "intime": begins, "outtime": ends, "los": np.round((ends - begins) / DAY, 4),
    }  # fmt: skip
    owner, hour = repeat(np.clip((ends - begins) // HOUR, 1, 36))
    sample, quantity = (
        np.repeat(np.arange(len(owner)), len(VITAL_SHAPES)),
        np.tile(np.arange(len(VITAL_SHAPES)), len(owner)),
    )
    source = owner[sample]
    items = {concept.name: (*concept.items, *concept.scaled)[-1] for concept in VITALS}
    value = np.round(measure(VITAL_SHAPES, quantity, admissions.readings[who[source]], generator), 1)
    value = np.where(quantity == list(VITAL_SHAPES).index("spo2"), np.minimum(value, 100), value)
    at = begins[source] + hour[sample] * HOUR
    charted = {
        "subject_id": subject[who[source]], "hadm_id": hadm[who[source]], "stay_id": stay[source],
        "charttime": at, "storetime": at + 10 * 60,
        "itemid": np.array([items[name] for name in VITAL_SHAPES])[quantity],
        "value": pl.Series(value).cast(pl.String), "valuenum": value,
        "valueuom": np.array(["bpm", "mmHg", "mmHg", "insp/min", "°F", "%"])[quantity],
        "warning": np.zeros(len(value), dtype=np.int64),
    }  # fmt: skip
    done = generator.random((len(who), len(PROCEDURES))) < 1 / (1 + np.exp(0.5 - 0.5 * admissions.readings[who, :1]))
    patient, procedure = np.nonzero(done)
    started = begins[patient] + HOUR
    procedures = {
        "subject_id": subject[who[patient]], "hadm_id": hadm[who[patient]], "stay_id": stay[patient],
        "starttime": started,
        "endtime": started + 4 * HOUR, "storetime": started + HOUR, "itemid": np.array(PROCEDURES)[procedure],
        "value": np.full(len(patient), 240.0), "valueuom": np.repeat("min", len(patient)),
        "orderid": stay[patient] * len(PROCEDURES) + procedure,
        "statusdescription": np.repeat("FinishedRunning", len(patient)),
    }  # fmt: skip
    return {
        "icustays": table("icustays", stays),
        "chartevents": table("chartevents", charted),
        "procedureevents": table("procedureevents", procedures),
    }


def _billing(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    codes = np.array(["I509", "N179", "J189", "E119", "I10", "A419", "K7030", "Z66"])
    billed = generator.random((len(hadm), len(codes))) < 1 / (1 + np.exp(1 - 0.5 * admissions.readings[:, 1:2]))
    who, code = np.nonzero(billed)
    severity = np.clip(np.round(2 + admissions.readings[:, 0]), 1, 4).astype(np.int64)
    return {
        "diagnoses_icd": table(
            "diagnoses_icd",
            {
                "subject_id": subject[who], "hadm_id": hadm[who], "seq_num": code + 1, "icd_code": codes[code],
                "icd_version": np.full(len(who), 10),
            },
        ),
        "drgcodes": table(
            "drgcodes",
            {
                "subject_id": subject, "hadm_id": hadm, "drg_type": np.repeat("APR", len(hadm)),
                "drg_code": pl.Series(100 + generator.integers(0, 60, len(hadm))).cast(pl.String),
                "drg_severity": severity, "drg_mortality": severity,
            },
        ),
    }  # fmt: skip
