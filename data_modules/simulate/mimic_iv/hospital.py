"""Writes admissions, orders and readings as the tables of MIMIC-IV 3.1, with the defects of real data."""

import numpy as np
import polars as pl

from data_modules.simulate import codes as phenotypes
from data_modules.simulate.frames import Int, Tables
from data_modules.simulate.latent import MIMIC, Patients
from data_modules.simulate.mimic_iv.events import cultures, labs, pharmacy, prescriptions, unit
from data_modules.simulate.mimic_iv.keys import FIRST_ADMISSION, FIRST_TRANSFER, admission_ids, subject_ids, table
from data_modules.simulate.mimic_iv.timeline import HOUR, Admissions, Timeline

WARDS = ("Medicine", "Cardiology", "Medicine/Cardiology", "Neurology", "Surgery")


def tables(
    patients: Patients, timeline: Timeline, start: int, generator: np.random.Generator, *, coded: bool = False
) -> Tables:
    """Write the structured tables of a chunk.

    Args:
        patients: of the chunk.
        timeline: of the chunk.
        start: number of its first subject.
        generator: of the contents.
        coded: whether to write diagnosis codes of every phenotype, in place of a few codes.

    Returns:
        The tables.
    """
    admissions = timeline.admissions
    hadm = admission_ids(start, admissions)
    subject = subject_ids(start, len(patients.worry))[admissions.person]
    written = {
        "patients": _patients(patients, timeline, start, generator),
        "admissions": _admissions(admissions, subject, hadm, generator),
    }
    written |= _ward_moves(admissions, subject, hadm, generator)
    written["labevents"] = labs(patients, admissions, subject, hadm, generator)
    written["prescriptions"] = prescriptions(admissions, subject, hadm, generator)
    written["pharmacy"] = pharmacy(written["prescriptions"])
    written["microbiologyevents"] = cultures(admissions, subject, hadm, generator)
    written |= unit(admissions, subject, hadm, generator)
    written |= _billing(admissions, subject, hadm, generator)
    return written | (_phenotypes(admissions, subject, hadm, generator) if coded else {})


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
        "transfer_id": FIRST_TRANSFER + 2 * np.tile(hadm - FIRST_ADMISSION, 2) + np.repeat([0, 1], len(hadm)),
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


def _phenotypes(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """Write the phenotypes of each admission, coded in either revision."""
    (own,) = generator.spawn(1)
    who, block = phenotypes.draw(admissions.readings, own)
    tenth = own.random(len(hadm))[who] < 0.5
    coded = {
        "subject_id": subject[who],
        "hadm_id": hadm[who],
        "seq_num": block + 1,
        "icd_code": np.where(tenth, np.array(phenotypes.ICD10)[block], np.array(phenotypes.ICD9)[block]),
        "icd_version": np.where(tenth, 10, 9),
    }
    return {"diagnoses_icd": table("diagnoses_icd", coded)}
