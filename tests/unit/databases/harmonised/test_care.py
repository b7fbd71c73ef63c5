"""Harmonised breathing support, coma scale, vitals of nurses, drugs, fluids and SOFA: one row of the same care."""

import numpy as np
import pytest

from data_modules.databases.eicu import respiration as eicu_respiration
from data_modules.databases.harmonised import concepts as harmonised
from tests.helpers import mimic_iv as mimic
from tests.helpers.both_databases import MIMIC_ROW, assert_alike, chart, charted, eicu_lab, mimic_lab, of_eicu, of_mimic

NOREPINEPHRINE, VASOPRESSIN, PROPOFOL, FENTANYL, NICARDIPINE = 221906, 222315, 222168, 221744, 222042
COMA, CUFF = "Glasgow coma score", "Non-Invasive BP"


def row_of(found):
    return dict(zip(*found, strict=True))


def stated(hour, item, text):
    return {**chart(hour, item, ""), "value": text}


def nursed(hour, label, name, value):
    times = {"nursingchartoffset": int(60 * hour), "nursingchartentryoffset": int(60 * hour)}
    labels = {"nursingchartcelltypevallabel": label, "nursingchartcelltypevalname": name}
    return {"patientunitstayid": 1, "nursingchartcelltypecat": "x", **times, **labels, "nursingchartvalue": value}


def given(item, start, end, rate, unit="mcg/kg/min", **cells):
    """A row of inputevents, stored when it begins; hours after the admission to the unit."""
    times = {"starttime": mimic.moment(hours=start), "endtime": mimic.moment(hours=end)}
    times["storetime"] = times["starttime"]
    return {**MIMIC_ROW, "itemid": item, "patientweight": 80, "rate": rate, "rateuom": unit, **times, **cells}


def infused(hour, name, rate):
    return {"patientunitstayid": 1, "infusionoffset": int(60 * hour), "drugname": name, "drugrate": rate}


def output(item, hour, volume):
    at = mimic.moment(hours=hour)
    return {**MIMIC_ROW, "charttime": at, "storetime": at, "itemid": item, "value": volume, "valueuom": "ml"}


def cell(path, hour, volume):
    at = {"intakeoutputoffset": int(60 * hour), "intakeoutputentryoffset": int(60 * hour)}
    return {
        "patientunitstayid": 1, **at, "cellpath": f"flowsheet|Flowsheet Cell Labels|I&O|{path}",
        "cellvaluenumeric": volume,
    }  # fmt: skip


def test_the_concepts_of_respiration_are_those_of_the_file_that_eicu_keeps() -> None:
    own = {concept.name: concept for concept in eicu_respiration.RECORDED}
    assert [own[concept.name] for concept in harmonised.EICU_RESPIRATION] == list(harmonised.EICU_RESPIRATION)


def test_the_same_machine_and_devices_give_the_same_row(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_respiration",
        chartevents=[
            stated(2, 226732, "Nasal cannula"), chart(2, 223834, 4), stated(5, 223849, "CMV"), chart(5, 220339, 8),
            chart(5, 224684, 450), chart(6, 224685, 0), chart(7, 224689, 0), chart(-2, 224696, 30),
        ],
    )  # fmt: skip
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_respiration",
        respiratoryCharting=[
            charted(2, "Nasal cannula", label="O2 Device"), charted(2, "4", label="LPM O2"),
            charted(5, "Start", label="RT Vent On/Off"), charted(5, "8", label="PEEP"),
            charted(5, "450", label="Tidal Volume (set)"), charted(6, "0", label="Tidal Volume, Delivered"),
            charted(7, "0", label="Spontaneous Respiratory Rate"), charted(-2, "30", label="Plateau Pressure"),
        ],
    )  # fmt: skip
    assert_alike(ours, theirs)
    row = row_of(theirs)
    assert [row[f"ventilated/{part}"] for part in ("first", "last")] == [0, 1]
    assert row["device_nasal_cannula/last"] == row["device_mask/count"] == 1
    assert row["tidal_volume/observed"] == row["plateau_pressure/observed"] == 0


def test_the_same_coma_scale_and_agitation_give_the_same_row(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_neurology",
        chartevents=[chart(4, 220739, 3), chart(4, 223900, 4), chart(4, 223901, 6), chart(9, 220739, 1),
                     chart(9, 228096, -2)],
    )  # fmt: skip
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_neurology",
        nurseCharting=[nursed(4, COMA, "Eyes", "3"), nursed(4, COMA, "Verbal", "4"), nursed(4, COMA, "Motor", "6"),
                       nursed(9, COMA, "Eyes", "1"), nursed(9, "RASS", "Value", "-2")],
    )  # fmt: skip
    assert_alike(ours, theirs)
    row = row_of(ours)
    assert [row[f"{name}/last"] for name in ("gcs_total", "gcs_eye", "rass")] == [13, 1, -2]


def test_nurses_of_both_chart_the_same_vitals_and_an_arterial_line_is_no_cuff(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_nurse_vitals",
        chartevents=[chart(3, 223761, 100.4), chart(3, 220179, 120), chart(3, 220181, 80), chart(5, 223791, 4),
                     chart(6, 220050, 90)],
    )  # fmt: skip
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_nurse_vitals",
        nurseCharting=[nursed(3, "Temperature", "Temperature (C)", "38"),
                       nursed(3, CUFF, "Non-Invasive BP Systolic", "120"),
                       nursed(3, CUFF, "Non-Invasive BP Mean", "80"), nursed(5, "Pain Score/Goal", "Pain Score", "4")],
    )  # fmt: skip
    assert_alike(ours, theirs)
    assert row_of(ours)["noninvasive_sbp/count"] == 1


def test_a_rate_that_changes_twice_and_one_that_is_charted_hourly_give_the_same_row(tmp_path) -> None:
    """One record a change or one an hour; a drug that began before the 24 h; and one whose end is its last record."""
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_vasoactives",
        inputevents=[given(NOREPINEPHRINE, 2, 6, 0.1), given(NOREPINEPHRINE, 6, 9, 0.2),
                     given(VASOPRESSIN, -3, 2, 2.4, "units/hour")],
    )  # fmt: skip
    hourly = [infused(hour, "Norepinephrine (mcg/min)", "8") for hour in (2, 3, 5)]
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_vasoactives",
        admissionweight=80,
        infusionDrug=[
            *hourly, *(infused(hour, "Levophed (mcg/kg/min)", "0.2") for hour in (6, 7)),
            infused(9, "Norepinephrine (ml/hr)", "0"), infused(-1, "Vasopressin (units/min)", "0.04"),
            infused(2, "Vasopressin (units/min)", "0"),
        ],
    )  # fmt: skip
    assert_alike(ours, theirs)
    row = row_of(ours)
    assert [row[f"norepinephrine/{part}"] for part in ("count", "max", "last")] == pytest.approx([8, 0.2, 0])
    assert [row[f"vasopressin/{part}"] for part in ("count", "first")] == pytest.approx([2, 0.04])
    assert row["norepinephrine_equivalents/first"] == pytest.approx(0.1)


def test_a_rate_of_eicu_holds_for_four_hours_and_one_of_mimic_iv_until_its_end(tmp_path) -> None:
    ours = row_of(of_mimic(tmp_path / "a", "harmonised_vasoactives", inputevents=[given(NOREPINEPHRINE, 10, 30, 0.1)]))
    assert ours["norepinephrine/count"] == 15
    charted_once = [infused(10, "Norepinephrine (mcg/kg/min)", "0.1")]
    theirs = row_of(of_eicu(tmp_path / "b", "harmonised_vasoactives", infusionDrug=charted_once))
    assert theirs["norepinephrine/count"] == 5


def test_sedatives_and_others_are_converted_by_weight_where_their_unit_needs_it(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_infusion_rates",
        inputevents=[given(PROPOFOL, 20, 30, 30), given(FENTANYL, 20, 30, 1.5, "mcg/kg/hour"),
                     given(NICARDIPINE, 20, 30, 1), given(NICARDIPINE, 10, 11, 1, "furlong")],
    )  # fmt: skip
    hours = range(20, 25)
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_infusion_rates",
        admissionweight=80,
        infusionDrug=[
            *(infused(hour, "Propofol (mcg/kg/min)", "30") for hour in hours),
            *(infused(hour, "Fentanyl (mcg/hr)", "120") for hour in hours),
            *(infused(hour, "Nicardipine (mg/hr)", "4.8") for hour in hours),
            infused(10, "Nicardipine (ml/hr)", "5"),
        ],
    )  # fmt: skip
    assert_alike(ours, theirs)
    assert row_of(ours)["nicardipine/last"] == pytest.approx(4.8)


def test_the_same_volumes_give_the_same_row_and_no_sum_of_what_was_not_recorded(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_fluids",
        outputevents=[output(226559, 4, 500), output(226559, 20, 120), output(226588, 9, 50), output(226559, 9, 9000)],
        inputevents=[given(225158, 2, 4, 100, "mL/hour", amount=200, amountuom="ml")],
        chartevents=[chart(2, 226512, 60), chart(20, 224639, 99)],
    )
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_fluids",
        admissionweight=60,
        intakeOutput=[cell("Output (ml)|Urine", 4, 500), cell("Output (ml)|Foley cath", 20, 120),
                      cell("Output (ml)|Chest Tube A Amount", 9, 50), cell("Output (ml)|Urine", 9, 9000),
                      cell("Intake (ml)|Generic Intake (ml)|P.O.", 4, 200)],
    )  # fmt: skip
    assert_alike(ours, theirs)
    row = row_of(ours)
    assert (row["urine_ml/24h"], row["balance_ml/24h"], row["weight_kg"]) == (620, -470, 60)
    drained = of_mimic(
        tmp_path / "drain",
        "harmonised_fluids",
        outputevents=[output(226588, 9, 50)],
        inputevents=[given(225158, 30, 31, 100, "mL/hour", amount=200, amountuom="ml")],
        chartevents=[chart(2, 226512, 60)],
    )
    assert np.isnan([row_of(drained)[name] for name in ("urine_ml/24h", "intake_ml/24h", "balance_ml/24h")]).all()


def test_the_same_day_has_the_same_sofa(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_scores",
        labevents=[mimic_lab(3, 51265, 40, "K/uL"), mimic_lab(4, 50912, 3.0, specimen=2)],
        chartevents=[chart(5, 220052, 60), chart(6, 220739, 3), chart(6, 223900, 4), chart(6, 223901, 6)],
        inputevents=[given(NOREPINEPHRINE, 10, 30, 0.2)],
        outputevents=[output(226559, 9, 800)],
    )
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_scores",
        lab=[eicu_lab(3, "platelets x 1000", 40, "K/mcL"), eicu_lab(4, "creatinine", 3.0)],
        vitalPeriodic=[{"patientunitstayid": 1, "observationoffset": 300, "systemicmean": 60}],
        infusionDrug=[infused(10, "Norepinephrine (mcg/kg/min)", "0.2")],
        intakeOutput=[cell("Output (ml)|Urine", 9, 800)],
        nurseCharting=[nursed(6, COMA, "GCS Total", "13")],
    )
    assert_alike(ours, theirs)
    assert row_of(ours)["sofa"] == 3 + 4 + 1 + 2


def test_a_subject_of_whom_no_organ_is_known_has_no_sofa(tmp_path) -> None:
    """Other scores of MIMIC-IV read the heart rate; SOFA does not."""
    rows = {"labevents": [mimic_lab(-30, 50912, 3.0)], "chartevents": [chart(5, 220045, 90)]}
    assert of_mimic(tmp_path, "harmonised_scores", **rows)[1] is None


def test_lipase_thyrotropin_and_urine_are_panels_of_both(tmp_path) -> None:
    for panel, ours, theirs in (
        ("special_labs", (50993, 1.5, "uIU/mL"), ("TSH", 1.5, "mcU/mL")),
        ("special_labs", (50956, 30, "IU/L"), ("lipase", 30, "Units/L")),
        ("urinalysis", (51498, 1.02, ""), ("urinary specific gravity", 1.02, "")),
        ("urinalysis", (51516, 8, "#/hpf"), ("WBC's in urine", 8, "/HPF")),
    ):
        folder = tmp_path / str(ours[0])
        one = of_mimic(folder / "mimic", f"harmonised_{panel}", labevents=[mimic_lab(3, *ours)])
        other = of_eicu(folder / "eicu", f"harmonised_{panel}", lab=[eicu_lab(3, *theirs)])
        assert_alike(one, other)
        assert sum(row_of(one)[column] for column in one[0] if column.endswith("/count")) == 1
