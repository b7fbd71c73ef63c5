"""Records of concepts: which value they have, or why they have none."""

from dataclasses import replace

import polars as pl
import pytest

from data_modules.databases.eicu.concepts import LABS as EICU_LABS
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.features.concepts import Concept, convert, lab
from tests.helpers.records import converted

CRP = lab("crp", "mg/L", 0, 100, "CRP")
EXCESS = replace(lab("base_excess", "mEq/L", -50, 50, "excess", "deficit"), negated=("deficit",))


def twice(concept, number, unit, other_number, other_unit):
    """Value, problem and unknown unit of a record with two readings."""
    cells = {"name": [concept.names[0]], "number": [number], "unit": [unit], "text": [None]}
    cells |= {"other_number": [other_number], "other_unit": [other_unit]}
    floats = dict.fromkeys(("number", "other_number"), pl.Float64)
    texts = dict.fromkeys(("unit", "other_unit", "text"), pl.String)
    return convert(pl.LazyFrame(cells, schema_overrides={**floats, **texts}), [concept]).collect()


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ((5.0, "mg/L", 7.0, "mg/L"), (5.0, "usable", None)),
        ((500.0, "mg/L", 7.0, "mg/L"), (7.0, "usable", None)),
        ((5.0, "drops", 7.0, "mg/dL"), (70.0, "usable", None)),
        ((5.0, "drops", None, "mg/dL"), (None, "unknown unit", "drops")),
        ((500.0, "mg/L", 700.0, "mg/L"), (None, "out of range", None)),
        ((500.0, "mg/L", 7.0, "drops"), (None, "out of range", None)),
        ((None, "mg/L", None, "mg/L"), (None, "unreadable", None)),
        ((5.0, None, None, None), (5.0, "usable", None)),
    ],
)
def test_the_first_plausible_reading_counts(readings, expected):
    found = twice(CRP, *readings)
    assert found.select("value", "problem", "unit").rows() == [expected]
    assert not {"text", "number", "other_number", "other_unit"} & set(found.columns)


@pytest.mark.parametrize(("name", "value"), [("excess", 4.0), ("deficit", -4.0)])
def test_a_negated_name_has_the_opposite_sign(name, value):
    assert converted([EXCESS], name, 4.0, "mEq/L") == [("base_excess", value, "usable")]


def test_base_deficit_of_eicu_is_base_excess_with_the_sign_changed():
    assert converted(EICU_LABS, "Base Deficit", 3.0, "mEq/L") == [("base_excess", -3.0, "usable")]
    assert converted(EICU_LABS, "Base Excess", -3.0, "mmol/L") == [("base_excess", -3.0, "usable")]


@pytest.mark.parametrize(
    ("item", "name"), [(51245, "lymphocytes"), (51244, "lymphocytes"), (50915, "d_dimer"), (50816, "fio2")]
)
def test_items_that_the_lists_of_the_community_have(item, name):
    assert [found[0] for found in converted(LABS, item, 30.0)] == [name]


@pytest.mark.parametrize(
    ("unit", "value", "problem"),
    [
        (None, pytest.approx(37.0), "usable"),
        ("°F", pytest.approx(37.0), "usable"),
        ("C", None, "out of range"),
        ("furlong", None, "unknown unit"),
    ],
)
def test_a_unit_that_is_recorded_goes_before_the_usual_one_of_an_item(unit, value, problem):
    assert converted(VITALS, 223761, 98.6, unit) == [("temperature", value, problem)]


def test_states_say_for_every_record_whether_the_text_is_one():
    tube = Concept(name="tube", unit="1", low=0, high=1, names=(1,), states=("ett",))
    texts = ["ETT", "ett", "no", None]
    assert [converted([tube], 1, 5.0, None, text)[0][1] for text in texts[:3]] == [1.0, 1.0, 0.0]


def test_positions_of_concepts_and_names_are_kept():
    events = {"name": ["deficit", "CRP", "excess"], "number": [1.0, 2.0, 3.0], "unit": [None] * 3, "text": [None] * 3}
    schema = {"unit": pl.String, "text": pl.String}
    found = convert(pl.LazyFrame(events, schema_overrides=schema), [CRP, EXCESS]).collect()
    assert sorted(found.select("concept", "source", "value").rows()) == [(0, 0, 2.0), (1, 0, 3.0), (1, 1, -1.0)]
