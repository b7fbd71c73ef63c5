"""Harmonised modalities: the same record gives the same columns and values in both databases."""

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu import infusions, nursing
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.harmonised import hours
from data_modules.databases.mimic_iv import concepts, vasoactives
from data_modules.databases.registry import database
from data_modules.features.concepts import names_of
from tests.helpers.both_databases import assert_alike, chart, charted, eicu_lab, mimic_lab, of_eicu, of_mimic
from tests.helpers.paths import ROOT

MIMIC, EICU_OWN = database("mimic").modalities, database("eicu").modalities
NAMES = sorted(name for name in MIMIC if name.startswith("harmonised_"))
WHOLE = [name for name in NAMES if name not in harmonised.DEMOGRAPHICS]


def test_both_databases_offer_the_same_harmonised_modalities() -> None:
    assert len(NAMES) == 20
    assert sorted(name for name in EICU_OWN if name.startswith("harmonised_")) == NAMES


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (harmonised.MIMIC_LABS, harmonised.EICU_LABS),
        (harmonised.MIMIC_VITALS, harmonised.EICU_VITALS),
        (harmonised.MIMIC_OXYGEN, harmonised.EICU_OXYGEN),
        (harmonised.MIMIC_BODY, harmonised.EICU_BODY),
        (harmonised.MIMIC_RESPIRATION, harmonised.EICU_RESPIRATION),
        (harmonised.MIMIC_NURSE_VITALS, nursing.NURSE_VITALS),
        (vasoactives.WRITTEN, infusions.WRITTEN),
        (concepts.INFUSED, eicu_concepts.INFUSED),
    ],
)
def test_names_order_units_and_ranges_are_the_same(ours, theirs) -> None:
    def reported(listed):
        # In eICU the size of ionized calcium decides its unit.
        return [(one.name, one.unit, one.low, one.high, None if one.above else one.conversions) for one in listed]

    by_size = {one.name for one in theirs if one.above}
    alike = [replace(one, above=(0, 1, 0)) if one.name in by_size else one for one in ours]
    assert reported(alike) == reported(theirs)
    assert all(concept.low < concept.high for concept in ours)


def test_a_range_is_the_narrower_of_the_two() -> None:
    for shared in harmonised.MIMIC_LABS:
        for listed in (
            (*concepts.LABS, *concepts.MORE_LABS, *concepts.SPECIAL_LABS, *concepts.URINALYSIS),
            (*eicu_concepts.LABS, *eicu_concepts.MORE_LABS),
        ):
            own = next(concept for concept in listed if concept.name == shared.name)
            assert own.low <= shared.low < shared.high <= own.high


def test_panels_cut_the_labs_without_gap_or_overlap() -> None:
    slices = [harmonised.of_panel(panel) for panel in harmonised.PANELS]
    assert slices[0].start == 0
    assert all(before.stop == after.start for before, after in itertools.pairwise(slices))
    assert len(harmonised.LAB_NAMES) == len(set(harmonised.LAB_NAMES)) == slices[-1].stop


# ricu's harmonised dictionary, every name that it pairs: ours, items of MIMIC-IV, labels or columns of eICU.
RICU = {
    "hr": ("heart_rate", [220045], ["heartrate"]),
    "sbp": ("sbp", [220050, 220179], ["systemicsystolic"]),
    "dbp": ("dbp", [220051, 220180], ["systemicdiastolic"]),
    "map": ("mbp", [220052, 220181, 225312], ["systemicmean"]),
    "resp": ("respiratory_rate", [220210, 224690], ["respiration"]),
    "temp": ("temperature", [223762, 223761], ["temperature"]),
    "o2sat": ("spo2", [220277], ["sao2"]),
    "o2sat, labs": ("oxygen_saturation", [50817], ["O2 Sat (%)"]),
    "fio2": ("fio2", [223835, 50816], ["FiO2"]),
    "weight": ("weight", [226512], ["admissionweight"]),
    "height": ("height", [226707], ["admissionheight"]),
    "alb": ("albumin", [50862], ["albumin"]),
    "alp": ("alp", [50863], ["alkaline phos."]),
    "alt": ("alt", [50861], ["ALT (SGPT)"]),
    "ast": ("ast", [50878], ["AST (SGOT)"]),
    "basos": ("basophils", [51146], ["-basos"]),
    "be": ("base_excess", [50802], ["Base Excess", "Base Deficit"]),
    "bicar": ("bicarbonate", [50882], ["bicarbonate"]),
    "bili": ("bilirubin_total", [50885], ["total bilirubin"]),
    "bili_dir": ("bilirubin_direct", [50883], ["direct bilirubin"]),
    "bnd": ("bands", [51144], ["-bands"]),
    "bun": ("bun", [51006], ["BUN"]),
    "ca": ("calcium", [50893], ["calcium"]),
    "cai": ("ionized_calcium", [50808], ["ionized calcium"]),
    "ck": ("ck", [50910], ["CPK"]),
    "ckmb": ("ck_mb", [50911], ["CPK-MB"]),
    "cl": ("chloride", [50902], ["chloride"]),
    "crea": ("creatinine", [50912], ["creatinine"]),
    "crp": ("crp", [50889], ["CRP"]),
    "eos": ("eosinophils", [51200], ["-eos"]),
    "fgn": ("fibrinogen", [51214], ["fibrinogen"]),
    "glu": ("glucose", [50809, 50931], ["glucose", "bedside glucose"]),
    "hct": ("hematocrit", [51221], ["Hct"]),
    "hgb": ("hemoglobin", [51222], ["Hgb"]),
    "inr_pt": ("inr", [51237], ["PT - INR"]),
    "k": ("potassium", [50971], ["potassium"]),
    "lact": ("lactate", [50813], ["lactate"]),
    "lymph": ("lymphocytes", [51244], ["-lymphs"]),
    "mch": ("mch", [51248], ["MCH"]),
    "mchc": ("mchc", [51249], ["MCHC"]),
    "mcv": ("mcv", [51250], ["MCV"]),
    "methb": ("methemoglobin", [50814], ["Methemoglobin"]),
    "mg": ("magnesium", [50960], ["magnesium"]),
    "na": ("sodium", [50983], ["sodium"]),
    "neut": ("neutrophils", [51256], ["-polys"]),
    "pco2": ("pco2", [50818], ["paCO2"]),
    "ph": ("ph", [50820], ["pH"]),
    "phos": ("phosphate", [50970], ["phosphate"]),
    "plt": ("platelets", [51265], ["platelets x 1000"]),
    "po2": ("po2", [50821], ["paO2"]),
    "pt": ("pt", [51274], ["PT"]),
    "ptt": ("ptt", [51275], ["PTT"]),
    "rbc": ("rbc", [51279], ["RBC"]),
    "rdw": ("rdw", [51277], ["RDW"]),
    "tnt": ("troponin_t", [51003], ["troponin - T"]),
    "tri": ("troponin_i", [51002], ["troponin - I"]),
    "wbc": ("wbc", [51301], ["WBC x 1000"]),
}
LEFT_OUT = {
    "etco2": "end-tidal CO2", "esr": "sedimentation rate", "hbco": "carboxyhemoglobin",
}  # fmt: skip
"""What it has of one database alone -> as docs/transfer.md says why it is left out."""


@pytest.mark.parametrize("pair", RICU.values(), ids=RICU)
def test_what_ricu_pairs_is_paired(pair) -> None:
    name, items, labels = pair
    ours = [*harmonised.MIMIC_LABORATORY, *harmonised.MIMIC_CHARTED]
    theirs = [*harmonised.EICU_LABORATORY, *harmonised.EICU_VITALS, *harmonised.EICU_BODY]
    assert set(items) <= set(names_of([one for one in ours if one.name == name]))
    assert [one.names for one in theirs if one.name == name] == [tuple(labels)]
    offered = [*harmonised.LAB_NAMES, *harmonised.VITAL_NAMES, *harmonised.BODY_NAMES, "fio2"]
    assert name in offered


@pytest.mark.parametrize("reported", LEFT_OUT.values())
def test_what_is_left_out_is_named(reported) -> None:
    text = (ROOT / "docs" / "transfer.md").read_text()
    assert reported.lower() in text[text.index("Left out") :].lower()


def test_the_same_labs_give_the_same_row_whatever_their_unit(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_chemistry",
        labevents=[
            mimic_lab(2, 50912, 1.0), mimic_lab(20, 50912, 3.0, specimen=2), mimic_lab(5, 50893, 8.016, specimen=3),
            mimic_lab(-3, 50971, 9.0, specimen=4),
        ],
    )  # fmt: skip
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_chemistry",
        lab=[
            eicu_lab(2, "creatinine", 1.0), eicu_lab(20, "creatinine", 3.0), eicu_lab(5, "calcium", 2.0, "mmol/L"),
            eicu_lab(-3, "potassium", 9.0), eicu_lab(1, "sodium", 140, stay_id=2),
        ],
    )  # fmt: skip
    assert_alike(ours, theirs)
    row = dict(zip(*ours, strict=True))
    assert row["creatinine/slope"] == pytest.approx(2 / 18)
    assert row["potassium/observed"] == 0, "measured before the 24 hours"


def test_a_monitor_and_a_nurse_show_the_same(tmp_path) -> None:
    """Every five minutes or every hour, Celsius or Fahrenheit, line or cuff."""
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_vitals",
        chartevents=[
            *(chart(hour, 220045, 80 + hour) for hour in range(1, 25)), chart(6, 223761, 100.4), chart(7, 220050, 120),
            chart(9, 220179, 90),
        ],
    )  # fmt: skip
    minutes = range(5, 24 * 60 + 1, 5)
    pulse = [
        {"patientunitstayid": 1, "observationoffset": minute, "heartrate": 80 + (minute + 59) // 60}
        for minute in minutes
    ]
    others = [
        {"patientunitstayid": 1, "observationoffset": 360, "temperature": 38.0},
        {"patientunitstayid": 1, "observationoffset": 420, "systemicsystolic": 120},
    ]
    cuff = [{"patientunitstayid": 1, "observationoffset": 540, "noninvasivesystolic": 90}]
    theirs = of_eicu(tmp_path / "eicu", "harmonised_vitals", vitalPeriodic=[*pulse, *others], vitalAperiodic=cuff)
    assert_alike(ours, theirs)
    row = dict(zip(*theirs, strict=True))
    assert (row["heart_rate/count"], row["heart_rate/max"], row["sbp/count"]) == (24, 104, 2)
    assert row["heart_rate/slope"] == pytest.approx(1)
    assert row["temperature/mean"] == pytest.approx(38)


def test_inspired_oxygen_is_the_same_as_share_or_percent_charted_or_with_a_blood_gas(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_oxygen",
        chartevents=[chart(2, 223835, 0.4), chart(4, 223835, 60), chart(5, 223835, 5)],
        labevents=[mimic_lab(8, 50816, 80.0, "%"), mimic_lab(9, 50820, 7.2, "units")],
    )
    lab = [eicu_lab(8, "FiO2", 80.0, "%"), eicu_lab(10, "FiO2", 40.0, "lpm"), eicu_lab(11, "FiO2", 90.0, "mm(hg)")]
    care = [
        charted(2, "40%"), charted(4, " 0.6"), charted(5, "5"), charted(6, "21", entered=25), charted(7, "room air"),
        charted(9, "30", label="O2 Percentage"),
    ]  # fmt: skip
    theirs = of_eicu(tmp_path / "eicu", "harmonised_oxygen", lab=lab, respiratoryCharting=care)
    assert_alike(ours, theirs)
    row = dict(zip(*theirs, strict=True))
    assert (row["fio2/count"], row["fio2/min"], row["fio2/last"]) == (3, 40, 80)


def test_height_and_weight_are_reported_alike_whatever_their_unit_and_age(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_body",
        chartevents=[
            chart(-20, 226707, 60), chart(1, 226707, 70), chart(2, 226512, 81.5), chart(3, 224639, 99),
            chart(25, 226512, 70),
        ],
    )  # fmt: skip
    theirs = of_eicu(tmp_path / "eicu", "harmonised_body", admissionheight=177.8, admissionweight=81.5)
    assert_alike(ours, theirs)
    assert ours[0] == ["height", "weight"]
    assert of_eicu(tmp_path / "none", "harmonised_body", admissionheight=90, admissionweight=401)[1] is None


def test_a_meter_at_the_bedside_and_the_laboratory_show_one_glucose_without_contradiction(tmp_path) -> None:
    ours = of_mimic(
        tmp_path / "mimic",
        "harmonised_chemistry",
        labevents=[mimic_lab(2, 50931, 100.0), mimic_lab(2, 50809, 120.0, specimen=2), mimic_lab(9, 50931, 180.16)],
    )
    theirs = of_eicu(
        tmp_path / "eicu",
        "harmonised_chemistry",
        lab=[
            eicu_lab(2, "glucose", 100.0), eicu_lab(2, "bedside glucose", 120.0),
            eicu_lab(9, "bedside glucose", 10.0, "mmol/L"),
        ],
    )  # fmt: skip
    assert_alike(ours, theirs)


def test_several_values_of_an_hour_are_one_and_the_hours_end_on_the_landmark() -> None:
    frame = pl.DataFrame({"hours": [-24.0, -23.99, -1.0, -0.99, -0.01, 0.0]})
    assert hours.hourly(frame)["hours"].to_list() == [-23, -1, 0, 0, 0]
    assert not np.signbit(hours.hourly(frame)["hours"].to_numpy()[-1])


@pytest.mark.parametrize(
    ("ours", "theirs", "reported"),
    [
        ((60, "F"), ("60", "Female"), [60, 1]),
        ((91, "M"), ("> 89", "Male"), [90, 0]),
        ((40, ""), ("40", "Unknown"), [40, np.nan]),
    ],
)
def test_age_and_sex_are_reported_alike(tmp_path, ours, theirs, reported) -> None:
    one = of_mimic(tmp_path / "mimic", "harmonised_person", age=ours[0], gender=ours[1])
    other = of_eicu(tmp_path / "eicu", "harmonised_person", age=theirs[0], gender=theirs[1])
    assert_alike(one, other)
    np.testing.assert_array_equal(one[1], np.array(reported, np.float32))


@pytest.mark.parametrize("drawn", [[], [eicu_lab(-1, "lactate", 2.0, "mmol/L")], [eicu_lab(3, "sodium", 140.0)]])
def test_a_panel_of_which_nothing_was_drawn_in_the_day_is_absent(tmp_path, drawn) -> None:
    labs = [*drawn, eicu_lab(1, "lactate", 2.0, stay_id=2)]
    assert of_eicu(tmp_path, "harmonised_blood_gas", lab=labs)[1] is None


def test_a_panel_that_was_drawn_is_present_without_a_plausible_value(tmp_path) -> None:
    labs = [eicu_lab(3, "lactate", 900.0, "mmol/L"), eicu_lab(1, "lactate", 2.0, stay_id=2)]
    row = dict(zip(*of_eicu(tmp_path, "harmonised_blood_gas", lab=labs), strict=True))
    assert (row["lactate/ordered"], row["lactate/observed"], row["lactate/count"]) == (1, 1, 0)
