"""Labs, drugs, cultures and ICU events of simulated MIMIC-IV, which carry the readings of their admission."""

import numpy as np
import polars as pl

from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.simulate.frames import Int, Tables, measure, repeat
from data_modules.simulate.latent import Array, Patients
from data_modules.simulate.mimic_iv.keys import FIRST_ADMISSION, FIRST_STAY, LABS_EACH, table
from data_modules.simulate.mimic_iv.timeline import DAY, HOUR, Admissions, Bool
from data_modules.simulate.shapes import DRUGS, LAB_SHAPES, VITAL_SHAPES

SPECIMENS, ORGANISMS = ("BLOOD CULTURE", "URINE", "SPUTUM", "SWAB"), ("ESCHERICHIA COLI", "STAPH AUREUS COAG +")
PROCEDURES = (225792, 224275, 224560, 221214, 225402, 227194)
UNITS = ("Medical Intensive Care Unit (MICU)", "Surgical Intensive Care Unit (SICU)", "Coronary Care Unit (CCU)")


def labs(
    patients: Patients, admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator
) -> pl.DataFrame:
    """Write panels from the emergency department to discharge; the last is drawn before discharge, stored after."""
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
    value = measure(LAB_SHAPES, quantity, admissions.readings[who], admissions.disturbance[who], generator)
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
            "itemid": np.array([concept.names[0] for concept in chosen])[quantity],
            "charttime": at,
            "storetime": np.where(late | (generator.random(len(at)) > 0.01), stored, -1),
            "value": pl.Series(value).cast(pl.String),
            "valuenum": value,
            "valueuom": unit.astype(str),
        },
    )


def prescriptions(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> pl.DataFrame:
    """Write drug orders; some stop before they start."""
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


def pharmacy(orders: pl.DataFrame) -> pl.DataFrame:
    """Write the entries of drug orders; one in eleven was entered after its start."""
    start = orders["starttime"].dt.epoch("s").to_numpy()
    late = orders["pharmacy_id"].to_numpy() % 11 == 0
    columns = {name: orders[name].to_numpy() for name in ("subject_id", "hadm_id", "pharmacy_id")}
    entered = start + np.where(late, 2 * HOUR, -HOUR // 3)
    return table("pharmacy", {**columns, "starttime": start, "medication": orders["drug"], "entertime": entered})


def cultures(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> pl.DataFrame:
    """Write specimens and their organisms; some lack a time or an admission."""
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


def unit(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """Write ICU stays, their hourly vitals and procedures."""
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
    stay_of = owner[sample]
    items = {concept.name: concept.names[-1] for concept in VITALS}
    charted_of = who[stay_of]
    value = measure(
        VITAL_SHAPES, quantity, admissions.readings[charted_of], admissions.disturbance[charted_of], generator
    )
    value = np.round(value, 1)
    value = np.where(quantity == list(VITAL_SHAPES).index("spo2"), np.minimum(value, 100), value)
    at = begins[stay_of] + hour[sample] * HOUR
    charted = {
        "subject_id": subject[who[stay_of]], "hadm_id": hadm[who[stay_of]], "stay_id": stay[stay_of],
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
