"""Every label of the open demo against the loops of benchmarks/validation, for other indices and switches."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.validation.mimic_iv import AFTER_DISCHARGE, Hospital, Key, labels_at_discharge, labels_in_the_unit
from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def hospital(mimic_demo: Path) -> Hospital:
    return Hospital(mimic_demo)


def written(mimic_demo: Path, folder: Path, **settings: Any) -> dict[Key, tuple[Any, ...]]:
    """The same from the cohort.parquet that the build leaves."""
    config = MIMICCohortConfig(modalities=["demographics"], **settings)
    cohort = pl.read_parquet(
        build_cohort(database("mimic"), Release(MIMIC_IV, [mimic_demo]), config, folder) / "cohort.parquet"
    )
    columns = ["admission_id", "stay_id", "prediction_at", *(f"label/{task}" for task in config.tasks)]
    rows = cohort.select(columns).rows()
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


@pytest.mark.parametrize("index", ["first", "every"])
def test_outcomes_after_discharge_agree_with_a_hand_count_id_by_id(mimic_demo, hospital, tmp_path, index):
    built = written(mimic_demo, tmp_path, index=index, tasks=list(AFTER_DISCHARGE))
    assert built == labels_at_discharge(hospital, index)


def test_death_after_the_last_admission_agrees_with_a_hand_count_id_by_id(mimic_demo, hospital, tmp_path):
    built = written(mimic_demo, tmp_path, index="last", tasks=["mortality_180d"])
    by_hand = labels_at_discharge(hospital, "last")
    assert built == {key: (end, died) for key, (end, _, _, died) in by_hand.items()}


@pytest.mark.parametrize("index", ["first", "every"])
@pytest.mark.parametrize("in_unit", [False, True])
def test_hospital_deaths_after_a_day_in_the_unit_agree_with_a_hand_count(
    mimic_demo, hospital, tmp_path, index, in_unit
):
    settings = {"landmark": "icu_24h", "tasks": ["in_hospital_mortality"], "in_unit": in_unit}
    built = written(mimic_demo, tmp_path, index=index, **settings)
    assert built == labels_in_the_unit(hospital, index, in_unit=in_unit)
    assert built


@pytest.mark.parametrize(
    ("index", "switches", "rows", "positives"),
    [
        ("first", {}, 95, 15),
        ("every", {}, 260, 53),
        ("every", {"observation_stays": False}, None, 47),
        ("every", {"elective_readmissions": False}, 260, 49),
    ],
)
def test_readmissions_of_the_demo_number_what_is_known_of_it(
    mimic_demo, hospital, tmp_path, index, switches, rows, positives
):
    built = written(mimic_demo, tmp_path, index=index, tasks=list(AFTER_DISCHARGE), **switches)
    by_hand = {
        "observation_stays": switches.get("observation_stays", True),
        "elective": switches.get("elective_readmissions", True),
    }
    assert built == labels_at_discharge(hospital, index, **by_hand)
    assert sum(row[1] for row in built.values()) == positives
    assert rows in {None, len(built)}
