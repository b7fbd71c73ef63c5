"""Vasoactive drugs and fluids of MIMIC-IV, on rows written by hand; the landmark is at hour 24 of day 1."""

import math

import pytest

from tests.helpers.mimic_iv import cells_in_the_unit, moment, stay

NOREPINEPHRINE, PHENYLEPHRINE, VASOPRESSIN, DOBUTAMINE = 221906, 221749, 222315, 221653
FOLEY, VOID, IRRIGANT_IN, IRRIGANT_OUT, CHEST_TUBE = 226559, 226560, 227488, 227489, 226588
SALINE, ORAL = 225158, 226452


def given(itemid, start, end, rate="", unit="mcg/kg/min", **cells):
    """A row of inputevents, stored when it begins; hours of day 1."""
    usual = {"subject_id": 1, "hadm_id": 1, "storetime": moment(1, hours=start), "itemid": itemid, "patientweight": 80}
    times = {"starttime": moment(1, hours=start), "endtime": moment(1, hours=end)}
    return {**usual, **times, "rate": rate, "rateuom": unit, "amountuom": "mg", **cells}


def drugs(folder, *rows):
    return cells_in_the_unit(folder, "vasoactives", inputevents=list(rows))


def of(found, name, *parts):
    return [found[f"{name}/{part}"] for part in parts]


@pytest.mark.parametrize(
    ("item", "name", "rate", "unit", "weight", "value"),
    [
        (NOREPINEPHRINE, "norepinephrine", 0.2, "mcg/kg/min", 80, 0.2),
        (NOREPINEPHRINE, "norepinephrine", 0.2, "mg/kg/min", 1, 0.2),
        (NOREPINEPHRINE, "norepinephrine", 0.0002, "mg/kg/min", 80, 0.2),
        (221289, "epinephrine", 0.05, "mcg/kg/min", 80, 0.05),
        (PHENYLEPHRINE, "phenylephrine", 160, "mcg/min", 80, 2),
        (221662, "dopamine", 5, "mcg/kg/min", 80, 5),
        (VASOPRESSIN, "vasopressin", 2.4, "units/hour", 80, 0.04),
        (VASOPRESSIN, "vasopressin", 0.04, "units/min", 80, 0.04),
        (DOBUTAMINE, "dobutamine", 3, "mcg/kg/min", 80, 3),
        (221986, "milrinone", 0.25, "mcg/kg/min", 80, 0.25),
    ],
)
def test_a_rate_is_read_by_item_in_its_unit(tmp_path, item, name, rate, unit, weight, value):
    found = drugs(tmp_path, given(item, 3, 30, rate, unit, patientweight=weight))
    assert of(found, name, "count", "last", "hours_since_last") == pytest.approx([1, value, 21])
    assert sum(count for column, count in found.items() if column.endswith("/observed")) == (
        1 if name in {"dobutamine", "milrinone"} else 2
    )


def test_a_rate_changes_with_the_next_row_and_is_0_where_the_drug_ends(tmp_path):
    rows = [given(NOREPINEPHRINE, 2, 5, 0.1), given(NOREPINEPHRINE, 5, 8, 0.3), given(NOREPINEPHRINE, 10, 12, 0.2)]
    found = drugs(tmp_path, *rows)
    assert of(found, "norepinephrine", "count", "first", "last", "max", "mean", "hours_since_last") == pytest.approx(
        [5, 0.1, 0, 0.3, (0.1 + 0.3 + 0 + 0.2 + 0) / 5, 12]
    )


def test_two_bags_of_one_drug_are_added(tmp_path):
    found = drugs(tmp_path, given(NOREPINEPHRINE, 2, 6, 0.1), given(NOREPINEPHRINE, 4, 30, 0.3))
    assert of(found, "norepinephrine", "count", "max", "last") == pytest.approx([3, 0.4, 0.3])


def test_vasopressors_that_run_at_one_time_are_added_as_norepinephrine_and_inotropes_are_not(tmp_path):
    rows = [
        given(NOREPINEPHRINE, 2, 6, 0.1), given(PHENYLEPHRINE, 4, 30, 2), given(VASOPRESSIN, 5, 30, 0.04, "units/min"),
        given(DOBUTAMINE, 1, 30, 5),
    ]  # fmt: skip
    found = drugs(tmp_path, *rows)
    assert of(found, "norepinephrine_equivalents", "count", "first", "max", "last") == pytest.approx([4, 0.1, 0.4, 0.3])


def test_an_end_after_the_landmark_is_not_known(tmp_path):
    found = drugs(tmp_path, given(NOREPINEPHRINE, 23, 24.5, 0.1))
    assert of(found, "norepinephrine", "count", "last", "hours_since_last") == pytest.approx([1, 0.1, 1])


@pytest.mark.parametrize(
    ("end", "stored", "more", "last"),
    [
        (22, 21, (), 0.1),
        (20.1, 19, (), 0.1),
        (20, 19, (), 0),
        (22, 22, (), 0),
        (22, 21, [given(NOREPINEPHRINE, 19, 19.5, 0.1, storetime=moment(1, hours=22))], 0),
        (22, 21, [given(NOREPINEPHRINE, 22, 30, 0.3, storetime=moment(1, hours=21))], 0.3),
        (22, 21, [given(NOREPINEPHRINE, 22, 30, 0.3, storetime=moment(1, hours=25))], 0.1),
        (22, 21, [given(DOBUTAMINE, 22, 23, 0.3)], 0.1),
        (22, 21, [given(NOREPINEPHRINE, 22, 22.1, "")], 0.1),
    ],
    ids=["early", "held", "4 h", "own", "older row", "begun", "not stored", "other drug", "no rate"],
)
def test_an_end_counts_once_a_later_row_shows_it_or_after_4_hours(tmp_path, end, stored, more, last):
    found = drugs(tmp_path, given(NOREPINEPHRINE, 18, end, 0.1, storetime=moment(1, hours=stored)), *more)
    assert found["norepinephrine/last"] == pytest.approx(last)
    assert found["norepinephrine_equivalents/last"] == pytest.approx(last)


@pytest.mark.parametrize("cells", [{"storetime": moment(2, seconds=1)}, {"starttime": moment(2, seconds=1)}])
def test_a_drug_that_begins_or_is_stored_after_the_landmark_is_no_act(tmp_path, cells):
    assert drugs(tmp_path, given(NOREPINEPHRINE, 20, 40, 0.1, **cells)) is None


def test_a_rate_out_of_range_or_in_an_unknown_unit_is_observed_without_a_value(tmp_path):
    rows = [given(NOREPINEPHRINE, 3, 5, 99), given(DOBUTAMINE, 3, 5, 2, "furlong"), given(VASOPRESSIN, 3, 5, "")]
    found = drugs(tmp_path, *rows)
    assert [of(found, name, "observed", "count") for name in ("norepinephrine", "dobutamine", "vasopressin")] == [
        [1, 0], [1, 0], [0, 0],
    ]  # fmt: skip


def output(itemid, hour, volume, **cells):
    at = moment(1, hours=hour)
    usual = {"subject_id": 1, "hadm_id": 1, "charttime": at, "storetime": at, "valueuom": "ml"}
    return {**usual, "itemid": itemid, "value": volume, **cells}


def weighed(hour, kilograms, itemid=226512):
    at = moment(1, hours=hour)
    return {"subject_id": 1, "hadm_id": 1, "charttime": at, "storetime": at, "itemid": itemid, "valuenum": kilograms}


LIGHT = [weighed(1, 50)]


def fluids(folder, *, into=(), out=(), weights=LIGHT, **tables):
    other = {"subject_id": 900, "hadm_id": 9000}  # a table without any row is refused
    return cells_in_the_unit(
        folder,
        "fluids",
        inputevents=[*into, given(ORAL, 1, 2, "", "", **other)],
        outputevents=[*out, output(FOLEY, 1, 50, **other)],
        chartevents=[*weights, {**weighed(1, 70), **other}],
        **tables,
    )


def test_urine_of_6_12_and_24_hours_is_added_and_divided_by_weight_and_hours(tmp_path):
    found = fluids(tmp_path, out=[output(FOLEY, 1, 500), output(VOID, 13, 240), output(FOLEY, 20, 120)])
    assert [found[f"urine_ml/{hours}h"] for hours in (6, 12, 24)] == [120, 360, 860]
    per_hour = [found[f"urine_ml_per_kg_hour/{hours}h"] for hours in (6, 12, 24)]
    assert per_hour == pytest.approx([120 / 6 / 50, 360 / 12 / 50, 860 / 24 / 50])


@pytest.mark.parametrize(
    ("stays", "known"),
    [
        ([(24, 48)], (True, True, True)),
        ([(24, None)], (True, True, True)),
        ([(24, 47.9)], (False, False, False)),
        ([(24, 36), (36, 192)], (True, True, False)),
        ([(24, 41.9), (42.1, 192)], (False, False, False)),
        ([(24, 40), (48.5, 192)], (False, False, False)),
    ],
)
def test_a_rate_of_urine_needs_one_unit_stay_over_its_hours(tmp_path, stays, known):
    listed = [
        stay(1, 1, moment(hours=begin), end and moment(hours=end), stay_id=number)
        for number, (begin, end) in enumerate(stays)
    ]
    found = fluids(tmp_path, out=[output(FOLEY, 20, 600)], icustays=listed)
    assert [found[f"urine_ml/{hours}h"] for hours in (6, 12, 24)] == [600] * 3
    assert [found[f"urine_ml_per_kg_hour/{hours}h"] > 0 for hours in (6, 12, 24)] == list(known)


def test_what_an_irrigation_put_in_is_no_urine(tmp_path):
    found = fluids(tmp_path, out=[output(IRRIGANT_IN, 20, 3000), output(IRRIGANT_OUT, 21, 3400)])
    assert (found["urine_ml/24h"], found["output_ml/24h"]) == (400, 400)


def test_the_balance_is_what_went_in_less_what_came_out(tmp_path):
    into = [
        given(SALINE, 17, 19, 100, "mL/hour", amount=200, amountuom="ml"),
        given(ORAL, 10, 10.1, "", "", amount=300, amountuom="ml"),
        given(NOREPINEPHRINE, 20, 22, 0.1, amount=2),
    ]
    found = fluids(tmp_path, into=into, out=[output(CHEST_TUBE, 5, 150)])
    assert (found["intake_ml/24h"], found["output_ml/24h"], found["balance_ml/24h"]) == pytest.approx((500, 150, 350))
    assert found["balance_ml_per_kg/24h"] == pytest.approx(7)
    assert math.isnan(found["urine_ml/24h"])


def test_an_infusion_counts_for_its_hours_within_the_24(tmp_path):
    hourly = {"unit": "mL/hour", "amountuom": "ml"}
    into = [given(SALINE, -5, 2, 10, amount=70, **hourly), given(SALINE, 21, 40, 100, amount=1900, **hourly)]
    assert fluids(tmp_path, into=into)["intake_ml/24h"] == pytest.approx(2 * 10 + 3 * 100)


@pytest.mark.parametrize(
    ("stored", "more", "hours"),
    [
        (21, (), 3),
        (22.5, (), 1),
        (21, [given(SALINE, 23, 40, 10, "mL/hour", amountuom="ml")], 1.1),
        (21, [given(SALINE, 23, 40, 10, "mL/hour", amountuom="ml", storetime=moment(2, hours=1))], 3),
        (21, [given(ORAL, 22.5, 22.6, "", "", amount=0, amountuom="ml")], 3),
        (21, [given(SALINE, 22.5, 22.6, "", "", amount=0, amountuom="ml")], 3),
    ],
    ids=["not shown", "own", "next", "next not stored", "other item", "no rate"],
)
def test_an_end_that_was_stored_before_it_came_counts_once_a_later_row_shows_it(tmp_path, stored, more, hours):
    """A row says at 21:00 that an infusion ends at 22:00; whether it did is not known at midnight."""
    into = [given(SALINE, 21, 22, 100, "mL/hour", amountuom="ml", storetime=moment(1, hours=stored)), *more]
    assert fluids(tmp_path, into=into)["intake_ml/24h"] == pytest.approx(100 * hours)


def test_an_end_of_more_than_four_hours_ago_counts(tmp_path):
    into = [
        given(SALINE, 17, 20, 100, "mL/hour", amountuom="ml"),
        given(SALINE, 17, 20.1, 1, "mL/hour", amountuom="ml"),
    ]
    assert fluids(tmp_path / "one", into=into[:1])["intake_ml/24h"] == pytest.approx(300)
    assert fluids(tmp_path / "two", into=into[1:])["intake_ml/24h"] == pytest.approx(7)


def test_a_drink_after_the_landmark_is_not_known(tmp_path):
    into = [given(ORAL, 23.9, 24.1, "", "", amount=300, amountuom="ml")]
    assert fluids(tmp_path, into=into) is None


@pytest.mark.parametrize("itemid", [226633, 227510])
def test_residues_and_volumes_before_the_admission_are_no_output(tmp_path, itemid):
    assert fluids(tmp_path, out=[output(itemid, 20, 400)]) is None


def test_irrigation_of_the_bladder_is_no_intake(tmp_path):
    assert fluids(tmp_path, into=[given(226401, 20, 21, "", "", amount=300, amountuom="ml")]) is None


def test_the_last_weight_that_was_charted_by_the_landmark_counts(tmp_path):
    weights = [weighed(1, 50), weighed(20, 60, 224639), weighed(25, 90, 224639)]
    found = fluids(tmp_path, out=[output(FOLEY, 20, 600)], weights=weights)
    assert (found["weight_kg"], found["urine_ml_per_kg_hour/6h"]) == pytest.approx((60, 600 / 6 / 60))


def test_without_a_weight_volumes_are_known_and_what_is_divided_by_it_is_not(tmp_path):
    found = fluids(tmp_path, out=[output(FOLEY, 20, 600)], weights=[])
    assert found["urine_ml/6h"] == 600
    assert all(math.isnan(found[name]) for name in ("urine_ml_per_kg_hour/6h", "balance_ml_per_kg/24h", "weight_kg"))


def test_a_volume_in_another_unit_or_out_of_range_is_not_added(tmp_path):
    found = fluids(
        tmp_path, out=[output(FOLEY, 20, 60), output(FOLEY, 21, 99999), output(FOLEY, 22, 5, valueuom="cups")]
    )
    assert found["urine_ml/24h"] == 60
