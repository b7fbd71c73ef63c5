"""The optional labs and charted values of MIMIC-IV, on rows written by hand."""

import math

import pytest

from tests.helpers.mimic_iv import cells_in_the_unit, moment


def lab(itemid, number="", unit="", **cells):
    usual = {"subject_id": 1, "hadm_id": 1, "specimen_id": 7, "charttime": moment(1, hours=9)}
    return {**usual, "storetime": moment(1, hours=10), "itemid": itemid, "valuenum": number, "valueuom": unit, **cells}


def last(folder, modality, *rows):
    """Concept -> its last value, for those that have one."""
    found = cells_in_the_unit(folder, modality, labevents=list(rows))
    values = {name.removesuffix("/last"): value for name, value in (found or {}).items() if name.endswith("/last")}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def test_special_labs_are_read_by_item_in_their_units(tmp_path):
    rows = [
        lab(50956, 60, "IU/L"), lab(50852, 6.5, "%"), lab(50993, 1.6, "uIU/mL"),
        lab(52075, 5.1, "K/uL"), lab(52769, 840, "#/uL"), lab(52074, 0.6, "K/uL"), lab(51199, 0.2, "K/uL"),
        lab(52069, 0.03, "K/uL"),
        lab(50824, 137, "mEq/L"), lab(50822, 4.1, "mmol/L"), lab(50806, 104, "mEq/L"), lab(50803, 24, "mEq/L"),
        lab(50804, 26, "mEq/L"), lab(50811, 9.5, "g/dL"), lab(50810, 29, "%"),
    ]  # fmt: skip
    assert last(tmp_path, "special_labs", *rows) == pytest.approx({
        "lipase": 60, "hba1c": 6.5, "tsh": 1.6, "neutrophils_absolute": 5.1, "lymphocytes_absolute": 0.84,
        "monocytes_absolute": 0.6, "eosinophils_absolute": 0.2, "basophils_absolute": 0.03,
        "sodium_gas": 137, "potassium_gas": 4.1, "chloride_gas": 104, "bicarbonate_gas": 24, "total_co2_gas": 26,
        "hemoglobin_gas": 9.5, "hematocrit_gas": 29,
    })  # fmt: skip


def test_the_numbers_of_a_urinalysis_are_read_by_item(tmp_path):
    rows = [
        lab(51491, 6, "units"), lab(51498, 1.02, " "), lab(51492, 30, "mg/dL"), lab(51478, 300, "mg/dL"),
        lab(51484, 10, "mg/dL"), lab(51514, 2, "mg/dL"), lab(51493, 3, "#/hpf"), lab(51516, 7, "#/hpf"),
        lab(51476, 1, "/hpf"),
    ]  # fmt: skip
    assert last(tmp_path, "urinalysis", *rows) == pytest.approx({
        "urine_ph": 6, "urine_specific_gravity": 1.02, "urine_protein": 30, "urine_glucose": 300, "urine_ketones": 10,
        "urine_urobilinogen": 2, "urine_red_cells": 3, "urine_white_cells": 7, "urine_epithelial_cells": 1,
    })  # fmt: skip


@pytest.mark.parametrize("cells", [{"value": "{}"}, {"comments": "{}."}, {"comments": "{}*."}, {"comments": "{} ."}])
@pytest.mark.parametrize(
    "found",
    [
        [
            ("NEG", 51486, "urine_leukocyte_esterase", 0),
            ("TR", 51466, "urine_blood", 1),
            ("SM", 51464, "urine_bilirubin", 2),
            ("POS", 51487, "urine_nitrite", 1),
            ("FEW", 51463, "urine_bacteria", 2),
            ("MANY", 51519, "urine_yeast", 4),
            ("NEG", 51492, "urine_protein", 0),
            ("TR", 51478, "urine_glucose", 50),
            ("TR", 51484, "urine_ketones", 5),
            ("NONE", 51516, "urine_white_cells", 0),
        ],
        [
            ("LG", 51486, "urine_leukocyte_esterase", 4),
            ("MOD", 51466, "urine_blood", 3),
            ("TR", 51492, "urine_protein", 15),
        ],
    ],
    ids=["ten", "others of the same items"],
)
def test_a_word_of_a_urinalysis_is_a_grade_in_the_text_or_the_comment(tmp_path, cells, found):
    rows = [lab(item, **{column: text.format(word) for column, text in cells.items()}) for word, item, _, _ in found]
    assert last(tmp_path, "urinalysis", *rows) == {name: grade for _, _, name, grade in found}


@pytest.mark.parametrize(("cells", "expected"), [({"valuenum": 100}, 100), ({"comments": ">300."}, 300)])
def test_a_number_or_limit_of_a_urinalysis_is_no_grade(tmp_path, cells, expected):
    assert last(tmp_path, "urinalysis", lab(51492, **{"valueuom": "mg/dL", **cells})) == {"urine_protein": expected}


def test_a_word_that_is_no_grade_is_observed_without_a_value(tmp_path):
    found = cells_in_the_unit(tmp_path, "urinalysis", labevents=[lab(51486, comments="SEE NOTE")])
    assert [found[f"urine_leukocyte_esterase/{part}"] for part in ("ordered", "observed", "count")] == [1, 1, 0]


@pytest.mark.parametrize("modality", ["special_labs", "urinalysis"])
def test_a_lab_of_another_set_does_not_make_a_modality_present(tmp_path, modality):
    other = {"special_labs": lab(51491, 6, "units"), "urinalysis": lab(50956, 60, "IU/L")}[modality]
    assert cells_in_the_unit(tmp_path, modality, labevents=[other, lab(50912, 1, "mg/dL")]) is None


def test_a_further_lab_counts_when_it_was_drawn_and_its_result_when_it_was_stored(tmp_path):
    late = lab(50956, 60, "IU/L", storetime=moment(2, seconds=1))
    found = cells_in_the_unit(tmp_path, "special_labs", labevents=[late])
    assert [found[f"lipase/{part}"] for part in ("ordered", "observed", "count")] == [1, 0, 0]


def charted(itemid, number="", unit="", *, hours=9, **cells):
    at = moment(1, hours=hours)
    usual = {"subject_id": 1, "hadm_id": 1, "charttime": at, "storetime": at}
    return {**usual, "itemid": itemid, "valuenum": number, "valueuom": unit, "value": number, **cells}


def of_charted(folder, modality, *rows, part="last"):
    """Concept -> one of its columns, where it has a value."""
    found = cells_in_the_unit(folder, modality, chartevents=list(rows)) or {}
    values = {name.removesuffix(f"/{part}"): value for name, value in found.items() if name.endswith(f"/{part}")}
    return {name: value for name, value in values.items() if not math.isnan(value)}


EYE, VERBAL, MOTOR, RASS = 220739, 223900, 223901, 228096


def test_the_total_of_the_coma_scale_is_the_sum_of_parts_charted_together(tmp_path):
    parts = [charted(EYE, 3), charted(VERBAL, 4), charted(MOTOR, 6), charted(EYE, 1, hours=10), charted(RASS, -4)]
    assert of_charted(tmp_path / "last", "neurology", *parts) == {"gcs_total": 13, "intubated": 0, "rass": -4}
    assert of_charted(tmp_path / "count", "neurology", *parts, part="count")["gcs_total"] == 1


def test_who_cannot_speak_because_of_a_tube_is_intubated_without_a_total(tmp_path):
    parts = [charted(EYE, 3), charted(VERBAL, 1, value="No Response-ETT"), charted(MOTOR, 6)]
    assert of_charted(tmp_path / "tube", "neurology", *parts) == {"intubated": 1}
    silent = [charted(EYE, 3), charted(VERBAL, 1, value="No Response"), charted(MOTOR, 6)]
    assert of_charted(tmp_path / "silent", "neurology", *silent) == {"gcs_total": 10, "intubated": 0}


def test_a_part_out_of_range_leaves_a_total_without_a_value(tmp_path):
    parts = [charted(EYE, 9), charted(VERBAL, 4), charted(MOTOR, 6)]
    found = cells_in_the_unit(tmp_path, "neurology", chartevents=parts)
    assert [found[f"gcs_total/{part}"] for part in ("observed", "count")] == [1, 0]


def test_a_part_that_was_stored_after_the_landmark_belongs_to_no_total(tmp_path):
    parts = [charted(EYE, 3), charted(VERBAL, 4), charted(MOTOR, 6, storetime=moment(2, seconds=1))]
    assert "gcs_total" not in of_charted(tmp_path, "neurology", *parts)


def test_a_revision_of_a_part_is_settled_before_the_sum(tmp_path):
    parts = [charted(EYE, 1), charted(VERBAL, 4), charted(MOTOR, 6), charted(EYE, 4, storetime=moment(1, hours=10))]
    assert of_charted(tmp_path, "neurology", *parts)["gcs_total"] == 14


SETTINGS = {
    "oxygen_flow": (223834, 4, "L/min"),
    "oxygen_flow_additional": (227287, 2, "L/min"),
    "peep_set": (220339, 8, "cmH2O"),
    "peep_total": (224700, 9, "cmH2O"),
    "pressure_support": (224701, 10, "cmH2O"),
    "peak_pressure": (224695, 25, "cmH2O"),
    "plateau_pressure": (224696, 20, "cmH2O"),
    "mean_airway_pressure": (224697, 12, "cmH2O"),
    "tidal_volume_set": (224684, 450, "mL"),
    "tidal_volume": (224685, 440, "mL"),
    "tidal_volume_spontaneous": (224686, 430, "mL"),
    "respiratory_rate_set": (224688, 16, "insp/min"),
    "respiratory_rate_spontaneous": (224689, 4, "insp/min"),
    "minute_volume": (224687, 7.5, "L/min"),
}


def test_settings_of_a_ventilator_are_read_by_item(tmp_path):
    rows = [charted(item, value, unit) for item, value, unit in SETTINGS.values()]
    assert of_charted(tmp_path, "respiration", *rows) == {name: value for name, (_, value, _) in SETTINGS.items()}


@pytest.mark.parametrize(
    ("text", "device", "ventilated", "noninvasive"),
    [
        ("None", "none", 0, 0),
        ("Nasal cannula", "nasal_cannula", 0, 0),
        ("Venti mask ", "mask", 0, 0),
        ("High flow nasal cannula", "high_flow", 0, 0),
        ("Bipap mask ", "pressure_mask", 0, 1),
        ("Endotracheal tube", "tube", 1, 0),
        ("Tracheostomy tube", "tracheostomy", None, None),
        ("Other", None, None, None),
    ],
)
def test_a_device_says_who_is_ventilated_unless_it_is_unclear(tmp_path, text, device, ventilated, noninvasive):
    found = of_charted(tmp_path, "respiration", charted(226732, value=text))
    assert [name for name, value in found.items() if name.startswith("device_") and value] == (
        [f"device_{device}"] if device else []
    )
    assert (found.get("ventilated"), found.get("noninvasive_ventilation")) == (ventilated, noninvasive)


@pytest.mark.parametrize(
    ("item", "text", "ventilated", "noninvasive"),
    [
        (223849, "CMV/ASSIST/AutoFlow", 1, 0),
        (223849, "CPAP/PSV", None, None),
        (223849, "Standby", None, None),
        (229314, "APV (cmv)", 1, 0),
        (229314, "NIV-ST", 0, 1),
        (229314, "SPONT", None, None),
    ],
)
def test_a_mode_says_who_is_ventilated_unless_it_is_unclear(tmp_path, item, text, ventilated, noninvasive):
    found = of_charted(tmp_path, "respiration", charted(item, 5, value=text))
    assert (found.get("ventilated"), found.get("noninvasive_ventilation")) == (ventilated, noninvasive)
