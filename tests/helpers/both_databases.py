"""One row of a harmonised modality, from records of MIMIC-IV and of eICU."""

import numpy as np
import polars as pl

from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.registry import database
from data_modules.features.store import create
from tests.helpers import eicu
from tests.helpers import mimic_iv as mimic
from tests.helpers.mutilation import sources_at

MIMIC_ROW = {"subject_id": 1, "hadm_id": 10}


def of_mimic(folder, name, **tables):
    """The columns and the one row of a harmonised modality, 24 h into a unit that was entered at moment 0."""
    release = mimic.write_release(
        folder,
        patients=[
            mimic.patient(1, anchor_age=tables.pop("age", 60), anchor_year=2149, gender=tables.pop("gender", "F"))
        ],
        admissions=[mimic.admission(1, 10, mimic.moment(-1), mimic.moment(9))],
        icustays=[mimic.stay(1, 10, mimic.moment(0), mimic.moment(5))],
        **tables,
    )
    config = MIMICCohortConfig(index="every", landmark="icu_24h", in_unit=True)
    rows = build_rows(release, config).rows.filter(pl.col("subject_id") == 1).drop("row_id").with_row_index("row_id")
    block = database("mimic").modalities[name].block(sources_at(release, rows, folder / "scratch", {}))
    values = create(folder / name, 1, block.columns)
    return block.columns, values[0] if block.write(values)[0] else None


def of_eicu(folder, name, *, age="60", gender="Female", admissionheight="", admissionweight="", **tables):
    """The same of a unit stay."""
    body = {"admissionheight": admissionheight, "admissionweight": admissionweight}
    release = eicu.write_release(folder, [eicu.stay(1, age=age, gender=gender, **body), eicu.stay(2)], **tables)
    found = eicu.features_of(release, name, folder, index="every", landmark="unit_24h")[1]
    columns = None if found is None else list(found)
    return columns, None if found is None else np.array(list(found.values()), np.float32)


def mimic_lab(hour, item, value, unit="mg/dL", specimen=1):
    at = mimic.moment(hours=hour)
    return {
        "labevent_id": int(1000 * hour) + item, **MIMIC_ROW, "specimen_id": specimen, "itemid": item,
        "charttime": at, "storetime": at, "valuenum": value, "valueuom": unit,
    }  # fmt: skip


def eicu_lab(hours, name, value, unit="mg/dL", stay_id=1):
    return {
        "patientunitstayid": stay_id, "labresultoffset": int(60 * hours), "labname": name, "labresult": value,
        "labmeasurenameinterface": unit,
    }  # fmt: skip


def assert_alike(ours, theirs) -> None:
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


def chart(hours, item, value):
    at = mimic.moment(hours=hours)
    return {**MIMIC_ROW, "stay_id": 100, "charttime": at, "storetime": at, "itemid": item, "valuenum": value}


def charted(hours, value, entered=None, label="FiO2"):
    return {
        "patientunitstayid": 1, "respchartoffset": int(60 * hours), "respchartvaluelabel": label,
        "respchartvalue": value, "respchartentryoffset": int(60 * (hours if entered is None else entered)),
    }  # fmt: skip
