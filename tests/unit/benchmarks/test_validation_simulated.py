"""The second derivation of tables that the open demos lack, on simulated releases: no cell disagrees."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.validation import demo_care, demo_harmonised, mimic_iv, mimic_iv_arrivals
from benchmarks.validation.compare import Part
from benchmarks.validation.plain import read
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from tests.helpers.paths import ROOT

SUBJECTS = 60
CELLS = {
    "unit_24h": {
        "neurology": (2_070, 1_755), "nurse_vitals": (2_070, 1_755), "scores": (360, 277),
        "harmonised_neurology": (2_070, 1_755), "harmonised_nurse_vitals": (2_070, 1_755),
    },
    "icu_24h": {
        "ed_triage": (2_482, 1_928), "ed_vitals": (2_176, 1_895), "ecg": (2_482, 1_170), "chief_complaint": (34, 34),
        "ecg_report": (34, 34),
    },
    "discharge": {
        "ed_triage": (5_694, 4_140), "ed_vitals": (4_992, 4_026), "ecg": (5_694, 3_816), "chief_complaint": (78, 78),
        "ecg_report": (78, 78),
    },
}  # fmt: skip
"""Landmark -> part -> cells, and cells with a value."""


def assert_agree(found: Iterable[Part], landmark: str) -> None:
    parts = {part.name: part for part in found}
    assert {name: part.reasons for name, part in parts.items() if part.disagree} == {}
    assert {name: (parts[name].cells, parts[name].filled) for name in CELLS[landmark]} == CELLS[landmark]


def test_flow_sheets_of_eicu_and_the_score_that_reads_them(tmp_path: Path) -> None:
    simulate(SimulateConfig(databases=["eicu"], subjects=SUBJECTS, charting=True), tmp_path / "release", processes=1)
    release = Release.parse(EICU, str(tmp_path / "release"))
    stays = {int(row["patientunitstayid"]): row for row in read(release.files["patient"])}
    rows = database("eicu").build_rows(release, EICUCohortConfig(index="every", landmark="unit_24h")).rows
    tables = demo_care.recorded(release)
    care = demo_care.parts("simulated", release, rows, stays, tables, tmp_path / "scratch")
    derived = [
        demo_harmonised.stay_rows({name: found.get(stay, []) for name, found in tables.items()}, stays[stay])
        for stay in rows["stay_id"]
    ]
    shared = demo_harmonised.compared("eicu", "simulated", release, rows, derived, tmp_path / "shared")
    assert_agree([*care, *shared], "unit_24h")


@pytest.mark.parametrize("landmark", ["icu_24h", "discharge"])
def test_arrivals_and_electrocardiograms_of_mimic_iv(tmp_path: Path, landmark) -> None:
    knobs = SimulateConfig(databases=["mimic_iv"], subjects=SUBJECTS, images=False, emergency=True)
    simulate(knobs, tmp_path / "release", processes=1)
    release = Release.parse(MIMIC_IV, str(tmp_path / "release"))
    hospital = mimic_iv.Hospital(release.files["patients"].parents[1])
    admissions = {int(row["hadm_id"]): row for some in hospital.admissions.values() for row in some}
    rows = database("mimic").build_rows(release, MIMICCohortConfig(index="every", landmark=landmark)).rows
    of_rows = [(admissions[row["hadm_id"]], row["landmark_at"]) for row in rows.iter_rows(named=True)]
    assert_agree(mimic_iv_arrivals.parts("simulated", release, rows, of_rows, tmp_path / "scratch"), landmark)


def test_the_page_has_the_counts_of_the_test() -> None:
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if "| simulated " in line
    ]
    shown: dict[str, dict[str, tuple[int, int]]] = {}
    for cohort, part, _, cells, filled, disagree, _ in table:
        assert disagree == "0"
        shown.setdefault(cohort.split(", ")[1], {})[part] = (int(cells.replace(",", "")), int(filled.replace(",", "")))
    assert shown == CELLS
