"""The databases whose open demos are multiplied, and whose cohorts are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from data_modules.databases.eicu import apache, cohort, nursing
from data_modules.databases.eicu.concepts import LABS as EICU_LABS
from data_modules.databases.eicu.events import READ, STAY
from data_modules.databases.eicu.further import FURTHER as EICU_FURTHER
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv import events, sets
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.further import FURTHER
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.features.concepts import names_of
from data_modules.raw.schema import ReleaseSchema

MIMIC_KEYS = frozenset({
    "subject_id", "hadm_id", "stay_id", "labevent_id", "specimen_id", "microevent_id", "micro_specimen_id",
    "pharmacy_id", "poe_id", "orderid", "linkorderid",
})  # fmt: skip
EVENTS = "itemid charttime storetime value valuenum valueuom"
MIMIC_COLUMNS = {
    "patients": "gender anchor_age anchor_year anchor_year_group dod",
    "admissions": "hadm_id admittime dischtime deathtime admission_type admission_location discharge_location "
    "insurance language marital_status race edregtime hospital_expire_flag",
    "icustays": "hadm_id stay_id intime outtime",
    "labevents": f"hadm_id specimen_id comments {EVENTS}",
    "chartevents": f"hadm_id {EVENTS}",
    "prescriptions": "hadm_id pharmacy_id starttime drug_type drug",
    "pharmacy": "pharmacy_id entertime",
    "microbiologyevents": "hadm_id chartdate charttime storedate storetime spec_type_desc org_name",
    "procedureevents": "hadm_id starttime storetime itemid",
    "inputevents": "hadm_id starttime endtime storetime itemid amount amountuom rate rateuom patientweight",
    "outputevents": "hadm_id charttime storetime itemid value valueuom",
    "services": "hadm_id transfertime curr_service",
    "diagnoses_icd": "hadm_id icd_code icd_version",
}
"""What the build reads of each table, beside subject_id."""
MIMIC_FILTERS = {
    "labevents": pl.col("itemid").is_in(names_of(LABS)),
    "chartevents": pl.col("itemid").is_in(names_of(VITALS)),
    "prescriptions": pl.col("drug_type") == "MAIN",
}
MIMIC_FURTHER_FILTERS = {
    source.table: pl.col("itemid").is_in(
        [*names_of(own), *(name for some in sets.SETS[source].values() for name in names_of(some))]
    )
    for source, own in ((events.LABS, LABS), (events.CHARTED, VITALS))
}
"""Those that differ with every modality of `further.FURTHER`."""
EICU_KEYS = frozenset({
    "uniquepid", "patienthealthsystemstayid", STAY,
    *(column for name, table in EICU.tables.items() if name != "hospital" for column in table.key),
})  # fmt: skip
"""Those of patients, hospital stays, unit stays and the rows of every table; hospitals are the same in every copy."""
EICU_COLUMNS = {
    **READ,
    "patient": tuple(dict.fromkeys([*READ["patient"], *cohort.COLUMNS])),
    apache.TABLE: (STAY, apache.KEY, "apacheversion", *apache.PREDICTED.values()),
}
EICU_FILTERS = {"lab": pl.col("labname").is_in(names_of(EICU_LABS)), nursing.TABLE: nursing.kept()}


@dataclass(frozen=True)
class Benched:
    """A database with an open demo.

    Attributes:
        dataset: its name.
        demo: folder of the demo.
        rebuilt: folder in it, with rebuilt tables that the demo lacks.
        schema: its tables.
        experiment: the experiment whose cohort is built.
        further: modalities that the experiment does not ask for.
        people: table and column of the patients.
        keys: columns that identify someone or something of one patient.
        columns: table -> what the build reads; the first one is what the bare scan groups by.
        filters: table -> rows that the build keeps, where it drops some as they are read.
        further_filters: the same with `further`.
    """

    dataset: str
    demo: str
    rebuilt: str
    schema: ReleaseSchema
    experiment: str
    further: Sequence[str]
    people: tuple[str, str]
    keys: frozenset[str]
    columns: Mapping[str, Sequence[str]]
    filters: Mapping[str, pl.Expr]
    further_filters: Mapping[str, pl.Expr]


BENCHED: Mapping[str, Benched] = {
    "mimic": Benched(
        dataset="mimic",
        demo="mimic-iv-demo",
        rebuilt="reconstructed_from_meds",
        schema=MIMIC_IV,
        experiment="mimic_structured",
        further=list(FURTHER),
        people=("patients", "subject_id"),
        keys=MIMIC_KEYS,
        columns={name: ("subject_id", *columns.split()) for name, columns in MIMIC_COLUMNS.items()},
        filters=MIMIC_FILTERS,
        further_filters=MIMIC_FILTERS | MIMIC_FURTHER_FILTERS,
    ),
    "eicu": Benched(
        dataset="eicu",
        demo="eicu-demo",
        rebuilt="reconstructed_from_yaib",
        schema=EICU,
        experiment="eicu",
        further=list(EICU_FURTHER),
        people=("patient", "uniquepid"),
        keys=EICU_KEYS,
        columns=EICU_COLUMNS,
        filters=EICU_FILTERS,
        further_filters=EICU_FILTERS,
    ),
}
"""Dataset -> its database."""
