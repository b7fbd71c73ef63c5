"""Every label of the open demo, a second time: by the loops of benchmarks/validation."""

import polars as pl
import pytest

from benchmarks.validation.eicu import labels
from benchmarks.validation.plain import read
from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def patients(eicu_demo):
    return read(eicu_demo / "patient.csv.gz")


def built(eicu_demo, folder, **settings):
    """The same from the cohort.parquet that the build leaves."""
    config = EICUCohortConfig(modalities=["demographics"], **settings)
    cohort = pl.read_parquet(
        build_cohort(database("eicu"), Release(EICU, [eicu_demo]), config, folder) / "cohort.parquet"
    )
    outcomes = [f"label/{task}" for task in config.tasks]
    columns = ["admission_id", "stay_id", "subject_id", "hospital_id", "prediction_offset_minutes", *outcomes]
    rows = cohort.select(columns).rows()
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


@pytest.mark.parametrize("index", ["first", "every"])
@pytest.mark.parametrize("landmark", ["unit_24h", "unit_discharge"])
def test_labels_agree_with_a_hand_count_id_by_id(eicu_demo, patients, tmp_path, index, landmark):
    assert built(eicu_demo, tmp_path, index=index, landmark=landmark) == labels(patients, index, landmark)


def test_muse_s_readmissions_agree_with_a_hand_count_id_by_id(eicu_demo, patients, tmp_path):
    found = built(eicu_demo, tmp_path, index="every", landmark="unit_discharge", readmission="muse")
    assert found == labels(patients, "every", "unit_discharge", muse=True)
    assert sum(row[3] for row in found.values()) == 333


def test_the_demo_numbers_what_is_known_of_it(eicu_demo, patients, tmp_path):
    rows = built(eicu_demo, tmp_path, index="every", landmark="unit_24h").values()
    known = [row[3] for row in rows if row[3] is not None]
    assert (len(rows), len(known), sum(known)) == (1622, 1602, 140)
    again = [row[3] for row in built(eicu_demo, tmp_path, index="every", landmark="unit_discharge").values()]
    assert (len(again), sum(again)) == (2388, 97)
    assert [len({row[name] for row in patients}) for name in ("patientunitstayid", "uniquepid", "hospitalid")] == [
        2520,
        1841,
        186,
    ]
