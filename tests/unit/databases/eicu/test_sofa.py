"""SOFA of eICU: each organ by hand, what is known at the landmark, and what a missing table changes."""

import math

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.published import SCORES
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.registry import database
from data_modules.stage import read_json
from tests.helpers.drawn import Drawn, eicu_row
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release
from tests.unit.databases.eicu.test_fluids import URINE, cell
from tests.unit.databases.eicu.test_infusions import infused
from tests.unit.databases.eicu.test_nursing import COMA, scale
from tests.unit.databases.eicu.test_nursing import charted as nursed
from tests.unit.databases.eicu.test_respiration import charted, treated

ORGANS = ("respiration", "coagulation", "liver", "cardiovascular", "nervous", "renal")


def lab(name, number, hours=-6.0, **more):
    return Drawn(name=name, number=number, at=hours, **more)


def monitored(table, column, value, at=DAY - 60):
    return {"patientunitstayid": 1, "observationoffset": at, column: value}


def sofa(folder, *labs, config=None, lasts=2 * DAY, **tables):
    """Points of each organ (None = not known) and their sum of stay 1; None where it is absent."""
    rows = [eicu_row(place, one) for place, one in enumerate((*labs, Drawn(row=2, number=1)))]
    release = write_release(folder / "raw", [stay(1, lasts=lasts, admissionweight=80), stay(2)], lab=rows, **tables)
    cohort = build_rows(release, EICUCohortConfig(**(config or {"index": "every"}))).rows
    table, present = table_of(sources_of(release, cohort, folder / "scratch"), "scores", folder / "scores")
    if not present[0]:
        return None
    points = [None if math.isnan(value) else value for value in table.row(0)]
    return dict(zip((*ORGANS, "sofa"), points, strict=True))


def known(folder, *labs, **more):
    """The organs that are known."""
    found = sofa(folder, *labs, **more)
    return {} if found is None else {organ: found[organ] for organ in ORGANS if found[organ] is not None}


@pytest.mark.parametrize(
    ("name", "number", "organ", "points"),
    [
        ("platelets", 19, "coagulation", 4), ("platelets", 150, "coagulation", 0),
        ("bilirubin_total", 2, "liver", 2), ("bilirubin_total", 12, "liver", 4),
        ("creatinine", 3.5, "renal", 3), ("creatinine", 1.1, "renal", 0),
    ],
)  # fmt: skip
def test_labs(tmp_path, name, number, organ, points):
    assert known(tmp_path, lab(name, number)) == {organ: points}


def test_the_worst_value_of_24_h_counts_if_its_result_is_known(tmp_path):
    values = [
        lab("platelets", 60, -3),
        lab("platelets", 160, -1),
        lab("platelets", 10, -24),
        lab("platelets", 10, -2, stored=1),
        lab("platelets", 10, 1, stored=-1),
    ]
    assert known(tmp_path, *values) == {"coagulation": 2}


@pytest.mark.parametrize(
    ("charting", "treatments", "points"),
    [
        ([], [], 2),
        ([charted("Vent Rate", "16", at=DAY - 600)], [], 3),
        ([charted("Vent Rate", "16", at=DAY - 18 * 60 - 1)], [], 2),
        ([charted("Vent Rate", "16", at=DAY - 600), charted("RT Vent On/Off", "Off", at=DAY - 300)], [], 2),
        ([charted("O2 Device", "Bi-PAP", at=DAY - 300)], [], 3),
        ([], [treated("pulmonary|ventilation and oxygenation|mechanical ventilation", at=DAY - 300)], 3),
    ],
)
def test_a_gas_counts_by_its_oxygen_and_by_support(tmp_path, charting, treatments, points):
    gas = [lab("po2", 60, -4), lab("fio2", 50, -4)]
    tables = {"respiratoryCharting": [*charting, charted("Humidity", "x", stay_id=2)]}
    tables["treatment"] = [*treatments, treated("renal", stay_id=2)]
    assert known(tmp_path, *gas, **tables) == {"respiration": points}


@pytest.mark.parametrize(("at", "expected"), [(DAY - 480, {"respiration": 2}), (DAY - 481, {}), (DAY - 239, {})])
def test_oxygen_that_was_charted_holds_for_4_h(tmp_path, at, expected):
    rows = [charted("FiO2", "40", at=at), charted("Humidity", "x", stay_id=2)]
    assert known(tmp_path, lab("po2", 100, -4), respiratoryCharting=rows) == expected


@pytest.mark.parametrize(
    ("name", "rate", "points"),
    [
        ("Norepinephrine (mcg/kg/min)", "0.1", 3), ("Norepinephrine (mcg/min)", "9", 4),
        ("Epinephrine (mcg/kg/min)", "0.11", 4), ("Dopamine (mcg/kg/min)", "5", 2),
        ("Dopamine (mcg/kg/min)", "15.1", 4), ("Dobutamine (mcg/kg/min)", "1", 2),
        ("Norepinephrine (ml/hr)", "30", 3), ("Dopamine ()", "30", 2),
        ("Norepinephrine (ml/hr)", "0", None), ("Vasopressin (units/min)", "0.04", None),
    ],
)  # fmt: skip
def test_drugs(tmp_path, name, rate, points):
    rows = [infused(name, rate), infused("Norepinephrine (mcg/kg/min)", "3", at=0), infused("x", 1, stay_id=2)]
    assert known(tmp_path, infusionDrug=rows) == ({} if points is None else {"cardiovascular": points})


def test_a_rate_that_is_known_counts_before_one_that_is_not(tmp_path):
    rows = [infused("Norepinephrine (ml/hr)", "30"), infused("Norepinephrine (mcg/kg/min)", "0.3", at=DAY - 30)]
    assert known(tmp_path, infusionDrug=[*rows, infused("x", 1, stay_id=2)]) == {"cardiovascular": 4}


@pytest.mark.parametrize(
    ("table", "column"), [("vitalPeriodic", "systemicmean"), ("vitalAperiodic", "noninvasivemean")]
)
def test_pressure(tmp_path, table, column):
    rows = [monitored(table, column, value) for value in (69, 90, 0)]
    old = [monitored(table, column, 50, at=at) for at in (0, DAY + 1)]
    assert known(tmp_path / "low", **{table: [*rows, *old]}) == {"cardiovascular": 1}
    assert known(tmp_path / "normal", **{table: [*rows[1:], *old]}) == {"cardiovascular": 0}


def test_the_coma_scale(tmp_path):
    late = nursed(COMA, "GCS Total", "3", entered=DAY + 1)
    rows = [*scale("2", "2", "5"), nursed(COMA, "GCS Total", "14", at=9), late]
    assert known(tmp_path, nurseCharting=rows) == {"nervous": 3}


def test_urine_counts_after_24_h_in_the_unit(tmp_path):
    rows = [cell(URINE, 150, at=100), cell(URINE, 60, at=-90)]
    assert known(tmp_path / "day", intakeOutput=rows) == {"renal": 4}
    discharged = {"config": {"index": "every", "landmark": "unit_discharge"}}
    assert known(tmp_path / "short", lasts=DAY - 1, intakeOutput=rows, **discharged) == {}
    assert known(tmp_path / "both", lab("creatinine", 1), intakeOutput=[cell(URINE, 499)]) == {"renal": 3}


def test_the_sum_counts_unknown_organs_as_normal_and_nothing_known_is_absent(tmp_path):
    found = sofa(tmp_path / "two", lab("platelets", 60), lab("creatinine", 2))
    assert [found["sofa"], found["liver"]] == [4, None]
    assert sofa(tmp_path / "none", lab("sodium", 140)) is None


def test_a_cohort_with_scores_has_the_points_as_a_published_score_and_lines_on_missing_tables(tmp_path):
    rows = [eicu_row(place, one) for place, one in enumerate([lab("platelets", 60), Drawn(row=2, number=1)])]
    release = write_release(tmp_path / "raw", [stay(1), stay(2)], lab=rows)
    config = EICUCohortConfig(index="every", modalities=["scores"])
    built = build_cohort(database("eicu"), release, config, tmp_path / "data")
    assert (
        "scores: nurseCharting.csv.gz is missing, so no coma scale counts"
        in read_json(built / "manifest.json")["dropped"]
    )
    assert pl.read_parquet(built / SCORES).rows() == [(0, 2.0), (1, 0.0)]
