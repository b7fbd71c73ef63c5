"""The scores of MIMIC-IV on rows written by hand; the landmark is at hour 24 of day 1, the admission began on day 0."""

import math

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features import store
from data_modules.features.oasis import oasis_mortality
from data_modules.features.saps import saps_mortality
from data_modules.raw.reader import Release
from tests.helpers.mimic_iv import admission, cells_in_the_unit, moment, patient, stay

OTHER = {"subject_id": 900, "hadm_id": 9000}


def charted(itemid, number="", *, hours=20, **cells):
    at = moment(1, hours=hours)
    usual = {"subject_id": 1, "hadm_id": 1, "charttime": at, "storetime": at, "value": number}
    return {**usual, "itemid": itemid, "valuenum": number, **cells}


def lab(itemid, number="", *, hours=20, specimen=7, **cells):
    return charted(itemid, number, hours=hours, specimen_id=specimen, **cells)


def drug(itemid, start, end, rate, unit="mcg/kg/min"):
    times = {"starttime": moment(1, hours=start), "endtime": moment(1, hours=end), "storetime": moment(1, hours=start)}
    return {
        "subject_id": 1,
        "hadm_id": 1,
        "itemid": itemid,
        "rate": rate,
        "rateuom": unit,
        "patientweight": 80,
        **times,
    }


def urine(hours, volume):
    at = moment(1, hours=hours)
    cells = {"subject_id": 1, "hadm_id": 1, "charttime": at, "storetime": at, "itemid": 226559}
    return {**cells, "value": volume, "valueuom": "ml"}


def service(name, *, hours=0, hadm_id=1, subject_id=1):
    cells = {"subject_id": subject_id, "hadm_id": hadm_id, "transfertime": moment(1, hours=hours)}
    return {**cells, "curr_service": name}


def code(hadm_id, icd_code, version=10, subject_id=1):
    return {"subject_id": subject_id, "hadm_id": hadm_id, "seq_num": 1, "icd_code": icd_code, "icd_version": version}


CALM = charted(220045, 80)
"""A heart rate without points."""


def scores(folder, *, vitals=(CALM,), labs=(), drugs=(), out=(), services=(), codes=(), **tables):
    return cells_in_the_unit(
        folder,
        "scores",
        chartevents=[*vitals, charted(220045, 70, **OTHER)],
        labevents=[*labs, lab(50912, 1, **OTHER)],
        inputevents=[*drugs, drug(221906, 1, 2, 0.1) | OTHER],
        outputevents=[*out, urine(1, 50) | OTHER],
        services=[*services, service("MED") | OTHER],
        diagnoses_icd=[*codes, code(9000, "I10", subject_id=900)],
        **tables,
    )


def test_without_a_value_in_the_24_hours_there_are_no_scores(tmp_path):
    early = charted(220045, 80, hours=-0.1)
    assert scores(tmp_path, vitals=[early]) is None


def test_values_without_points_leave_the_points_of_age_and_admission(tmp_path):
    found = scores(tmp_path)
    assert [found[name] for name in ("sofa", "saps_ii", "oasis")] == [0, 7 + 6, 3 + 0 + 6]
    assert all(math.isnan(found[f"sofa/{organ}"]) for organ in ("respiration", "renal", "nervous", "cardiovascular"))
    assert math.isnan(found["charlson"])


def test_labs_and_vitals_have_points_in_their_organs(tmp_path):
    labs = [lab(51265, 45), lab(50885, 7), lab(50912, 2.5), lab(51006, 30), lab(50882, 18)]
    coma = [charted(220739, 2), charted(223900, 3), charted(223901, 5), charted(220052, 60)]
    found = scores(tmp_path, vitals=coma, labs=labs)
    organs = ("coagulation", "liver", "renal", "nervous", "cardiovascular")
    assert [found[f"sofa/{organ}"] for organ in organs] == [3, 3, 2, 2, 1]
    assert found["sofa"] == 11
    # Age 7, medical 6, urea 6, bicarbonate 3, bilirubin 9, coma scale of 10 7.
    assert found["saps_ii"] == 7 + 6 + 6 + 3 + 9 + 7


GAS = [lab(50821, 90, specimen=5), lab(52033, value="ART.", specimen=5)]


@pytest.mark.parametrize(
    ("vitals", "labs", "points"),
    [
        ([CALM], [*GAS, lab(50816, 60, specimen=5)], 2),
        ([charted(226732, value="Endotracheal tube", hours=10)], [*GAS, lab(50816, 60, specimen=5)], 3),
        ([charted(226732, value="Endotracheal tube", hours=5)], [*GAS, lab(50816, 60, specimen=5)], 2),
        ([charted(226732, value="Bipap mask ", hours=10)], [*GAS, lab(50816, 100, specimen=5)], 4),
        ([charted(223835, 40, hours=17)], GAS, 2),
        ([charted(223835, 40, hours=15.9)], GAS, None),
        ([CALM], [lab(50821, 90, specimen=5), lab(52033, value="VEN.", specimen=5), lab(50816, 60, specimen=5)], None),
        ([CALM], [*GAS, lab(50816, 60, specimen=6)], None),
    ],
)
def test_respiration_is_that_of_an_arterial_gas_its_oxygen_and_the_last_support(tmp_path, vitals, labs, points):
    found = scores(tmp_path, vitals=[CALM, *vitals], labs=labs)["sofa/respiration"]
    assert (None if math.isnan(found) else found) == points


@pytest.mark.parametrize(
    ("rows", "points"),
    [
        ([drug(221906, 10, 12, 0.05)], 3), ([drug(221906, 10, 12, 0.2)], 4), ([drug(221653, 10, 12, 2)], 2),
        ([drug(221906, -5, 3, 0.2)], 4), ([drug(221906, -5, -1, 0.2)], None),
        ([drug(222315, 10, 12, 2.4, "units/hour")], None),
    ],
)  # fmt: skip
def test_a_drug_counts_while_it_runs_in_the_24_hours(tmp_path, rows, points):
    found = scores(tmp_path, drugs=rows)["sofa/cardiovascular"]
    # A drug that ended before the window leaves a rate of 0, which is not given.
    assert (None if math.isnan(found) else found) == points


def test_urine_has_points_in_every_score(tmp_path):
    found = scores(tmp_path, out=[urine(10, 300)])
    assert (found["sofa/renal"], found["saps_ii"], found["oasis"]) == (3, 13 + 11, 9 + 10)


@pytest.mark.parametrize(("end", "is_present"), [(-1, False), (0, False), (0.1, True), (30, True)])
def test_a_drug_makes_scores_present_if_it_ran_in_the_24_hours(tmp_path, end, is_present):
    found = scores(tmp_path, vitals=(), drugs=[drug(221906, -5, end, 0.2)])
    assert (found is not None) == is_present


@pytest.mark.parametrize("end", [47.9, None])
def test_urine_of_less_than_24_hours_in_the_unit_has_no_points(tmp_path, end):
    short = [stay(1, 1, moment(1), moment(hours=end) if end else end)]
    found = scores(tmp_path, out=[urine(10, 300)], icustays=short)
    left = end is not None
    assert math.isnan(found["sofa/renal"]) == left
    assert (found["saps_ii"], found["oasis"]) == ((13, 9) if left else (13 + 11, 9 + 10))


def test_urine_alone_of_less_than_24_hours_is_no_score(tmp_path):
    short = [stay(1, 1, moment(1), moment(hours=47.9))]
    assert scores(tmp_path, vitals=(), out=[urine(10, 300)], icustays=short) is None


@pytest.mark.parametrize(
    ("kind", "services", "saps", "oasis"),
    [
        ("EW EMER.", ["MED"], 6, 6), ("EW EMER.", ["MED", "CSURG"], 8, 6), ("ELECTIVE", ["CSURG"], 0, 0),
        ("ELECTIVE", ["MED"], 6, 6), ("SURGICAL SAME DAY ADMISSION", [], 0, 0),
    ],
)  # fmt: skip
def test_an_operation_is_reported_by_the_service_and_the_kind_of_admission(tmp_path, kind, services, saps, oasis):
    one = admission(1, 1, moment(0), moment(9), admission_type=kind)
    found = scores(tmp_path, services=[service(name) for name in services], admissions=[one])
    assert (found["saps_ii"], found["oasis"]) == (7 + saps, 3 + oasis)


def test_a_service_after_the_landmark_is_not_known(tmp_path):
    assert scores(tmp_path, services=[service("CSURG", hours=25)])["saps_ii"] == 7 + 6


def test_diseases_are_those_of_admissions_that_ended_before(tmp_path):
    admissions = [
        admission(1, 1, moment(0), moment(9)), admission(1, 2, moment(-40), moment(-30)),
        admission(1, 3, moment(20), moment(30)),
    ]  # fmt: skip
    codes = [code(1, "B20"), code(2, "C7800"), code(2, "5712", 9), code(3, "G309")]
    found = scores(tmp_path, admissions=admissions, codes=codes)
    assert (found["charlson"], found["charlson_with_age"]) == (6 + 1, 6 + 1 + 1)
    assert found["saps_ii"] == 7 + 6 + 9


def test_a_value_that_was_stored_after_the_landmark_has_no_points(tmp_path):
    late = {"storetime": moment(2, seconds=1)}
    found = scores(tmp_path, vitals=[CALM, charted(220052, 40, **late)], labs=[lab(50912, 9, **late)])
    assert found["sofa"] == 0


def test_who_was_ventilated_has_points_in_oasis(tmp_path):
    assert scores(tmp_path, vitals=[CALM, charted(223849, 2, value="CMV/ASSIST")])["oasis"] == 9 + 9


def test_without_drugs_urine_services_and_codes_the_scores_are_those_of_values(tmp_path):
    found = cells_in_the_unit(
        tmp_path,
        "scores",
        patients=[patient(1, anchor_age=82)],
        icustays=[stay(1, 1, moment(1), moment(8))],
        chartevents=[CALM, charted(220052, 60)],
        labevents=[lab(50912, 2.5)],
    )
    assert [found[name] for name in ("sofa", "saps_ii", "oasis")] == [3, 18 + 6, 9 + 2 + 6]


PUBLISHED = ("saps_ii", "oasis")


@pytest.mark.demo
def test_a_cohort_with_the_scores_holds_what_is_published_of_them_and_no_other_cohort_does(mimic_demo_roots, tmp_path):
    release = Release.parse(MIMIC_IV, mimic_demo_roots)
    with_scores, without = (
        build_cohort(database("mimic"), release, MIMICCohortConfig(landmark="discharge", modalities=names), tmp_path)
        for names in (["demographics", "scores"], ["demographics"])
    )
    assert not (without / "scores.parquet").exists()
    table = pl.read_parquet(with_scores / "scores.parquet").sort("row_id")
    cohort = pl.read_parquet(with_scores / "cohort.parquet").sort("row_id")
    present = cohort["present/scores"]
    assert 0 < present.sum() < cohort.height
    for name in (*PUBLISHED, "sofa"):
        assert (table[f"{name}/points"].is_not_null() == present).all(), name
    for name, mortality in (("saps_ii", saps_mortality), ("oasis", oasis_mortality)):
        known = table.filter(present)
        expected = mortality(known[f"{name}/points"].to_numpy())
        assert known[f"{name}/in_hospital_mortality"].to_numpy() == pytest.approx(expected)
    columns = store.read_columns(with_scores / "modalities" / "scores")
    values = store.open_values(with_scores / "modalities" / "scores")
    assert table["sofa/points"].to_numpy()[present] == pytest.approx(values[:, columns.index("sofa")][present])
