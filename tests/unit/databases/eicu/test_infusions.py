"""Rates of infusions: drugs, units, weights, how long a rate holds, and what is known at the landmark."""

import math
from typing import Any

import pytest

from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release

LOST = "results without a value"


def infused(name, rate, *, at=DAY - 60, stay_id=1, **cells):
    return {"patientunitstayid": stay_id, "infusionoffset": at, "drugname": name, "drugrate": rate, **cells}


def rates_of(folder, *rows, **cells):
    """Columns of `vasoactives` and `infusion_rates` of stay 1, None if both are absent, and what is counted."""
    release = write_release(folder / "raw", [stay(1, **cells), stay(2)], infusionDrug=[*rows, infused("x", 1)])
    context = sources_of(release, build_rows(release, EICUCohortConfig()).rows, folder / "scratch")
    found: dict[str, Any] = {}
    there = False
    for name in ("vasoactives", "infusion_rates"):
        table, present = table_of(context, name, folder / name)
        found |= table.row(0, named=True)
        there |= present[0]
    counts = {key: count for counted in context.counts.get(LOST, {}).values() for key, count in counted.items()}
    return found if there else None, counts


@pytest.mark.parametrize(
    ("name", "rate", "concept", "value"),
    [
        ("Norepinephrine (mcg/kg/min)", "0.5", "norepinephrine", 0.5),
        ("Norepinephrine STD 4 mg Dextrose 5% 250 ml (mg/kg/hr)", "0.03", "norepinephrine", 0.5),
        ("Levophed (mcg/min)", "8", "norepinephrine", 0.1),
        ("EPINEPHrine(Adrenalin)STD 4 mg (mcg/min)", "8", "epinephrine", 0.1),
        ("Vasopressin (units/hr)", "6", "vasopressin", 0.1),
        ("Fentanyl (mcg/kg/hr)", "1.5", "fentanyl", 120),
        ("Midazolam (mg/hr)", "8", "midazolam", 8),
        ("Amiodarone (mg/min) (mg/min)", "1", "amiodarone", 1),
        ("heparin  (Units / KG/hr)", "12", "heparin", 960),
    ],
)
def test_a_rate_is_in_the_unit_of_its_drug(tmp_path, name, rate, concept, value):
    found, counts = rates_of(tmp_path, infused(name, rate), admissionweight=80)
    assert found[f"{concept}/last"] == pytest.approx(value, rel=1e-6)
    assert counts == {}


@pytest.mark.parametrize(
    ("own", "admitted", "weight"), [("50", 80, 50), ("", 80, 80), ("5", 80, 80), ("x", 80, 80), ("", 5, None)]
)
def test_the_weight_is_that_of_the_row_or_of_admission_if_plausible(tmp_path, own, admitted, weight):
    rows = [infused("Norepinephrine (mcg/min)", "8", patientweight=own)]
    found, counts = rates_of(tmp_path, *rows, admissionweight=admitted)
    if weight is None:
        assert counts["norepinephrine unknown unit ug/min"] == 1
        assert [found[f"norepinephrine/{part}"] for part in ("count", "observed")] == [0, 1]
    else:
        assert found["norepinephrine/last"] == pytest.approx(8 / weight)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Propofol (ml/hr)", "ml/hr"),
        ("Propofol ()", "notstated"),
        ("Propofol", "notstated"),
        ("Propofol (Unknown)", "unknown"),
    ],
)
def test_a_rate_without_a_dose_is_observed_without_a_value(tmp_path, name, unit):
    found, counts = rates_of(tmp_path, infused(name, "8"), admissionweight=80)
    assert [found[f"propofol/{part}"] for part in ("count", "observed")] == [0, 1]
    assert math.isnan(found["propofol/last"])
    assert counts == {f"propofol unknown unit {unit}": 1}


def test_a_rate_out_of_range_is_counted_and_leaves_the_equivalent_without_a_value(tmp_path):
    found, counts = rates_of(tmp_path, infused("Norepinephrine (mcg/min)", "900"), admissionweight=80)
    assert [found[f"norepinephrine{part}"] for part in ("/observed", "_equivalents/count")] == [1, 0]
    assert counts == {"norepinephrine out of range": 1, "norepinephrine_equivalents unreadable": 1}


@pytest.mark.parametrize("rate", ["ERROR", ""])
def test_a_rate_that_is_no_number_is_observed_without_a_value(tmp_path, rate):
    found, counts = rates_of(tmp_path, infused("Propofol (mcg/kg/min)", rate))
    assert [found[f"propofol/{part}"] for part in ("count", "observed")] == [0, 1]
    assert counts == {"propofol unreadable": 1}


def test_a_pause_is_a_rate_of_zero(tmp_path):
    rows = [infused("Propofol (mcg/kg/min)", rate, at=DAY + at) for rate, at in (("20", -120), ("0", -60), ("90", 1))]
    found, _ = rates_of(tmp_path, *rows)
    assert [found[f"propofol/{part}"] for part in ("count", "first", "last", "max")] == [2, 20, 0, 20]


@pytest.mark.parametrize("name", ["Propofol (ml/hr)", "Propofol ()", "Propofol (mcg/kg/min)"])
def test_a_rate_of_zero_is_zero_in_every_unit(tmp_path, name):
    found, counts = rates_of(tmp_path, infused(name, "0"))
    assert [found[f"propofol/{part}"] for part in ("count", "last")] == [1, 0]
    assert counts == {}


@pytest.mark.parametrize(
    "row", [infused("Propofol (mcg/kg/min)", "20", at=DAY + 1), infused("Volume (ml) Propofol (ml/hr)", "9")]
)
def test_later_rows_volumes_and_other_drugs_are_absent(tmp_path, row):
    assert rates_of(tmp_path, row) == (None, {})


def total_of(folder, *rows):
    found, _ = rates_of(folder, *rows, admissionweight=80)
    parts = (found[f"norepinephrine_equivalents/{part}"] for part in ("count", "first", "last", "max"))
    return [round(float(part), 4) for part in parts]


def test_equivalents_add_the_rates_that_hold(tmp_path):
    rows = [
        infused("Norepinephrine (mcg/kg/min)", "0.2", at=DAY - 300),
        infused("Vasopressin (units/min)", "0.04", at=DAY - 240),
        infused("Dopamine (mcg/kg/min)", "10", at=DAY - 60),
        infused("Dobutamine (mcg/kg/min)", "5", at=DAY - 30),
    ]
    # 0.2; 0.2 + 0.04 * 2.5; at -60 the norepinephrine of -300 holds, for 4 h exactly: 0.2 + 0.1 + 10 / 100.
    assert total_of(tmp_path / "held", *rows) == [3, 0.2, 0.4, 0.4]
    early = [{**rows[0], "infusionoffset": DAY - 301}, *rows[1:]]
    assert total_of(tmp_path / "over", *early) == [3, 0.2, 0.2, 0.3]


def test_the_next_row_ends_a_rate(tmp_path):
    rows = [
        infused("Norepinephrine (mcg/kg/min)", "0.2", at=DAY - 120),
        infused("Norepinephrine (mcg/kg/min)", "0", at=DAY - 60),
        infused("Phenylephrine (mcg/kg/min)", "1", at=DAY - 30),
    ]
    assert total_of(tmp_path, *rows) == [3, 0.2, 0.1, 0.2]


def test_no_equivalent_has_a_value_while_the_rate_of_a_vasopressor_is_unknown(tmp_path):
    rows = [
        infused("Norepinephrine (ml/hr)", "9", at=DAY - 120),
        infused("Phenylephrine (mcg/kg/min)", "1", at=DAY - 60),
        infused("Norepinephrine (mcg/kg/min)", "0.3", at=DAY - 30),
    ]
    assert total_of(tmp_path, *rows) == [1, 0.4, 0.4, 0.4]


@pytest.mark.parametrize(
    ("drug", "present"), [("Milrinone (mcg/kg/min)", [True, False]), ("Insulin (units/hr)", [False, True])]
)
def test_vasoactive_and_other_drugs_are_two_modalities(tmp_path, drug, present):
    release = write_release(tmp_path / "raw", [stay(1), stay(2)], infusionDrug=[infused(drug, "0.5")])
    context = sources_of(release, build_rows(release, EICUCohortConfig()).rows, tmp_path / "scratch")
    tables = {name: table_of(context, name, tmp_path / name)[1] for name in ("vasoactives", "infusion_rates")}
    assert list(tables.values()) == [[present[0], False], [present[1], False]]


def test_another_stay_adds_nothing(tmp_path):
    rows = [
        infused("Norepinephrine (mcg/kg/min)", "0.2", at=DAY - 60),
        infused("Phenylephrine (mcg/kg/min)", "9", at=DAY - 90, stay_id=2),
    ]
    assert total_of(tmp_path, *rows) == [1, 0.2, 0.2, 0.2]
