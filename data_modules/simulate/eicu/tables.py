"""Writes unit stays, entries and readings as the tables of eICU-CRD 2.0, with the defects of real data."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.special import expit

from data_modules.simulate.eicu.entries import drugs, entered
from data_modules.simulate.eicu.stays import UNIT_DEATH_SHARE, Stays, after_landmarks, keys, table
from data_modules.simulate.frames import Int, Shape, Tables, measure, repeat
from data_modules.simulate.latent import EICU, Array, Patients
from data_modules.simulate.shapes import LAB_SHAPES, VITAL_SHAPES

DAY = 24 * 60
FIRST_HOSPITAL_STAY = 500_000

LAB_NAMES = {
    "albumin": ("albumin", "g/dL"), "bicarbonate": ("bicarbonate", "mmol/L"), "bun": ("BUN", "mg/dL"),
    "chloride": ("chloride", "mmol/L"), "creatinine": ("creatinine", "mg/dL"), "glucose": ("glucose", "mg/dL"),
    "potassium": ("potassium", "mmol/L"), "sodium": ("sodium", "mmol/L"), "hematocrit": ("Hct", "%"),
    "hemoglobin": ("Hgb", "g/dL"), "platelets": ("platelets x 1000", "K/mcL"), "wbc": ("WBC x 1000", "K/mcL"),
    "inr": ("PT - INR", "ratio"), "bilirubin_total": ("total bilirubin", "mg/dL"), "lactate": ("lactate", "mmol/L"),
}  # fmt: skip
LABS = {name: LAB_SHAPES[name] for name in LAB_NAMES}
LOWEST = np.array([0.6, 3, 2, 60, 0.2, 30, 1, 100, 8, 3, 5, 0.5, 0.6, 0.3, 0.2])


def with_unit_mortality(known: pl.DataFrame) -> pl.DataFrame:
    """Add the truth of death in the unit, a fixed share of hospital deaths; these subjects do not return."""
    hospital = [name for name in known.columns if name.endswith("/in_hospital_mortality")]
    shares = [name for name in hospital if name.startswith(("probability", "oracle"))]
    back, dead = "outcome/icu_readmission", pl.col("outcome/unit_mortality")
    return known.with_columns(pl.when(~dead).then(back).alias(back)).with_columns(
        (pl.col(name) * UNIT_DEATH_SHARE).alias(name.replace("in_hospital", "unit")) for name in shares
    )


def tables(patients: Patients, stays: Stays, start: int, nuisance: float, generator: np.random.Generator) -> Tables:
    """Write all tables except `hospital` of a chunk.

    Args:
        patients: of the chunk.
        stays: of the chunk.
        start: number of its first subject.
        nuisance: strength of what texts contain that depends on nothing else.
        generator: of the contents.

    Returns:
        The tables.
    """
    written = {"patient": _patient(patients, stays, start, generator)}
    written |= _apache(patients, stays, generator)
    written |= _measured(patients, stays, generator)
    written |= drugs(stays, generator)
    return written | entered(patients, stays, nuisance, generator)


def hospitals() -> pl.DataFrame:
    """Write the hospital table; a fifth of the hospitals lack size or region."""
    number = np.arange(len(EICU.groups))
    region = np.array(["Midwest", "South", "Northeast", "West", ""])[number % 5]
    beds = np.array(["<100", "100 - 249", "250 - 499", ">= 500", ""])[number * 7 % 5]
    teaching = np.where(number % 4 == 0, "t", "f")
    return table(
        "hospital", {"hospitalid": 100 + number, "numbedscategory": beds, "teachingstatus": teaching, "region": region}
    )


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
    status = np.where(unknown | ~patients.labelled, "", status)
    unit_status, unit_went = np.where(stays.dies, "Expired", "Alive"), np.where(stays.dies, "Death", "Floor")
    went = np.where(patients.outcome[person, 0], "Death", "Home")
    clock = generator.integers(0, DAY, count)
    return table(
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
            "hospitaladmitoffset": pl.Series(-stays.begins).set(pl.Series(~stays.recorded & (stays.number == 1)), None),
            "hospitaladmitsource": generator.choice(["Emergency Department", "Floor", "Operating Room", ""], count),
            "hospitaldischargeyear": np.full(count, 2014) + (start + person) % 2,
            "hospitaldischargetime24": _clock(clock),
            "hospitaldischargeoffset": ends[person] - stays.begins,
            "hospitaldischargelocation": np.where(stays.recorded, went, ""),
            "hospitaldischargestatus": status[person],
            "unittype": generator.choice(["Med-Surg ICU", "MICU", "CCU-CTICU", "Neuro ICU"], count),
            "unitadmittime24": _clock(clock),
            "unitadmitsource": generator.choice(["Emergency Department", "Floor", ""], count),
            "unitvisitnumber": stays.number + 1,
            "unitstaytype": stays.kind,
            "admissionweight": np.round(82 + 18 * generator.standard_normal(count).clip(-2, 4), 1),
            "unitdischargetime24": _clock(clock + stays.minutes),
            "unitdischargeoffset": stays.minutes,
            "unitdischargelocation": np.where(stays.recorded, unit_went, ""),
            "unitdischargestatus": np.where(stays.recorded, unit_status, ""),
            "uniquepid": [
                f"{100 + hospital:03d}-{start + who}" for hospital, who in zip(stays.hospital, person, strict=True)
            ],
        },
    )


def _clock(minutes: Int) -> list[str]:
    return [f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in minutes % DAY]


def _measure(shapes: Mapping[str, Shape], name: str, stays: Stays, owner: Int, generator: np.random.Generator) -> Array:
    """Simulate values of one quantity of the stays `owner`."""
    quantity = np.full(len(owner), list(shapes).index(name))
    return measure(shapes, quantity, stays.readings[owner], stays.disturbance[owner], generator)


def _apache(patients: Patients, stays: Stays, generator: np.random.Generator) -> Tables:
    """Write worst values of day 1 (-1 = missing), predictors, and the predictions of two versions of APACHE."""
    owner = np.flatnonzero(generator.random(len(stays.stay)) < 0.9)
    names = ("wbc", "sodium", "hematocrit", "creatinine", "albumin", "bun", "glucose")
    values = {}
    for name in names:
        value = _measure(LABS, name, stays, owner, generator)
        values[name] = np.where(generator.random(len(owner)) < 0.25, -1, np.round(np.maximum(value, 0.2), 2))
    for column, name in (("heartrate", "heart_rate"), ("respiratoryrate", "respiratory_rate")):
        value = _measure(VITAL_SHAPES, name, stays, owner, generator)
        values[column] = np.where(generator.random(len(owner)) < 0.05, -1, np.round(np.maximum(value, 5)))
    flags = {name: np.zeros(len(owner), np.int64) for name in ("intubated", "vent", "dialysis", "meds")}
    died = patients.outcome[stays.person[owner], 0].astype(np.int64)
    score = np.clip(55 + 15 * stays.readings[owner, 0], 5, 200).astype(np.int64)
    twice = np.repeat(owner, 2)
    result = {
        **keys("apachepatientresultsid", twice, stays),
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
        "apacheApsVar": table("apacheApsVar", {**keys("apacheapsvarid", owner, stays), **flags, **values}),
        "apachePredVar": table("apachePredVar", {**keys("apachepredvarid", owner, stays), **predictors}),
        "apachePatientResult": table("apachePatientResult", result),
    }


def _measured(patients: Patients, stays: Stays, generator: np.random.Generator) -> Tables:
    """Write vitals and labs; the last panel of day 1 is revised after day 1 and leaks the outcome."""
    panels = np.array([-90, 240, 600, 1100, 1400, 2000])
    owner, number = repeat(np.full(len(stays.stay), len(panels)))
    inside = panels[number] < stays.minutes[owner]
    owner, number = owner[inside], number[inside]
    panel, quantity = np.repeat(np.arange(len(owner)), len(LABS)), np.tile(np.arange(len(LABS)), len(owner))
    taken = generator.random(len(panel)) < 0.8
    panel, quantity = panel[taken], quantity[taken]
    who = owner[panel]
    value = measure(LABS, quantity, stays.readings[who], stays.disturbance[who], generator)
    late = number[panel] >= 4
    spread = np.array([shape[1] for shape in LABS.values()])[quantity]
    died = patients.outcome[stays.person[who], 0]
    value = np.maximum(np.where(late, value + 2 * spread * (died - 0.5), value), LOWEST[quantity])
    at = panels[number[panel]]
    labs = {
        **keys("labid", who, stays),
        "labresultoffset": at,
        "labtypeid": np.ones(len(who), np.int64),
        "labname": np.array([name for name, _ in LAB_NAMES.values()])[quantity],
        "labresult": np.round(value, 2),
        "labresulttext": np.round(value, 2).astype(str),
        "labmeasurenamesystem": np.array([unit for _, unit in LAB_NAMES.values()])[quantity],
        "labmeasurenameinterface": np.array([unit for _, unit in LAB_NAMES.values()])[quantity],
        "labresultrevisedoffset": np.where(late, after_landmarks(stays)[who] + 200, at + 30),
    }
    return {"lab": table("lab", labs), **_vitals(stays, generator)}


def _vitals(stays: Stays, generator: np.random.Generator) -> Tables:
    owner, number = repeat(np.clip(stays.minutes // 60, 1, 26))
    names = {"heartrate": "heart_rate", "respiration": "respiratory_rate", "sao2": "spo2", "systemicsystolic": "sbp",
             "systemicdiastolic": "dbp"}  # fmt: skip
    read = {column: np.round(_measure(VITAL_SHAPES, name, stays, owner, generator)) for column, name in names.items()}
    read["sao2"] = np.minimum(read["sao2"], 100)
    offset = {"observationoffset": number * 60 + 5}
    cuff = number % 4 == 0
    pressure = {
        "noninvasivesystolic": read["systemicsystolic"][cuff],
        "noninvasivediastolic": read["systemicdiastolic"][cuff],
    }
    return {
        "vitalPeriodic": table("vitalPeriodic", {**keys("vitalperiodicid", owner, stays), **offset, **read}),
        "vitalAperiodic": table(
            "vitalAperiodic",
            {**keys("vitalaperiodicid", owner[cuff], stays), "observationoffset": number[cuff] * 60 + 5, **pressure},
        ),
    }
