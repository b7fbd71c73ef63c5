"""Phenotypes: the table of blocks, and labels against plain loops over the raw codes of small and open releases."""

import csv
import gzip
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.icd_blocks import BLOCKS, PREFIX, TASKS
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.errors import UserError
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release
from tests.conftest import demo_folder
from tests.helpers import eicu, mimic_iv
from tests.helpers.mimic_iv import admission, moment, patient

DAY = 24 * 60
HEART, LIVER, KIDNEY = (f"label/phenotype_{name}" for name in ("heart_failure", "liver", "kidney_failure"))


def test_no_category_is_in_two_blocks():
    ranges = sorted(ends for block in BLOCKS for ends in block.ranges)
    assert len(BLOCKS) >= 25
    assert all(first <= last for first, last in ranges)
    assert [pair for pair in pairwise(ranges) if pair[0][1] >= pair[1][0]] == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_ranges_of_a_revision_have_its_form_and_no_factors_or_external_causes(block):
    assert re.fullmatch(r"(\d{3}(-\d{3})? ?)+", block.icd9)
    assert re.fullmatch(r"([A-U]\d\d(-[A-U]\d\d)? ?)+", block.icd10)


def coded(hadm: int, number: int, code: str, version: int) -> dict[str, Any]:
    return {"subject_id": 1, "hadm_id": hadm, "seq_num": number, "icd_code": code, "icd_version": version}


def hospital(folder: Path, *codes: dict[str, Any]) -> Release:
    stays = [admission(1, 1, moment(), moment(3)), admission(1, 2, moment(10), moment(12))]
    bystander = {**coded(9000, 1, "4280", 9), "subject_id": 900}
    return mimic_iv.write_release(folder, patients=[patient(1)], admissions=stays, diagnoses_icd=[bystander, *codes])


def test_codes_of_the_index_admission_in_either_revision_are_its_phenotypes(tmp_path):
    release = hospital(tmp_path, coded(1, 1, "K7030", 10), coded(1, 2, "5849", 9), coded(2, 1, "I509", 10))
    found = mimic_iv.cohort_rows(release, tasks=["phenotypes"], index="every")
    assert [[found[hadm][name] for name in (HEART, LIVER, KIDNEY)] for hadm in (1, 2)] == [
        [False, True, True],
        [True, False, False],
    ]


def test_an_admission_without_a_code_is_unknown_and_one_with_codes_of_no_block_is_not(tmp_path):
    release = hospital(tmp_path, coded(2, 1, "E8700", 9))  # a category of ICD-10 in another revision
    found = mimic_iv.cohort_rows(release, tasks=["phenotypes", "icu_90d"], index="every")
    assert {found[1][f"label/{task}"] for task in TASKS} == {None}
    assert {found[2][f"label/{task}"] for task in TASKS} == {False}
    assert found[1]["label/icu_90d"] is False


ADVERSE = ["T383X6A", "T50.2X5A", "t4275XA", "T451X6S"]
POISONED = ["T383X1A", "T50.901A", "T4270XA", "T4271XA", "T43.65", "T5195XA", "T65.895A"]


@pytest.mark.parametrize("code", [*ADVERSE, *POISONED])
def test_an_adverse_effect_or_underdosing_is_no_poisoning_as_in_icd_9(tmp_path, code):
    release = hospital(tmp_path / "mimic", coded(1, 1, code, 10), coded(2, 1, "E9320", 9))
    found = mimic_iv.cohort_rows(release, tasks=["phenotypes"], index="every")
    assert [found[hadm]["label/phenotype_poisoning"] for hadm in (1, 2)] == [code in POISONED, False]
    pointed = code if "." in code else f"{code[:3]}.{code[3:]}"
    written = eicu.write_release(tmp_path / "eicu", [eicu.stay(1)], diagnosis=[entry(1, 1, 60, f"E932.0, {pointed}")])
    assert eicu.cohort_rows(written, tasks=["phenotypes"])[1]["label/phenotype_poisoning"] is (code in POISONED)


@pytest.mark.parametrize(
    ("icd9", "icd10", "block"),
    [
        ("4359", "G459", "cerebrovascular"),
        ("4359", "G467", "cerebrovascular"),
        ("4550", "K640", "venous"),
        ("2749", "M109", None),
        ("2749", "M1A00X0", None),
        ("3209", "G009", "central_nervous"),
        ("32723", "G4733", "central_nervous"),
        ("7140", "M069", "musculoskeletal"),
        ("7242", "M545", "musculoskeletal"),
    ],
)
def test_a_disease_is_in_the_same_block_in_either_revision(tmp_path, icd9, icd10, block):
    release = hospital(tmp_path, coded(1, 1, icd9, 9), coded(2, 1, icd10, 10))
    found = mimic_iv.cohort_rows(release, tasks=["phenotypes"], index="every")
    expected = {task: task == f"{PREFIX}{block}" for task in TASKS}
    assert [{task: found[hadm][f"label/{task}"] for task in TASKS} for hadm in (1, 2)] == [expected, expected]


def test_phenotypes_can_be_listed_one_by_one_and_at_either_landmark():
    config = MIMICCohortConfig(landmark="icu_24h", tasks=["phenotype_liver", "in_hospital_mortality"])
    assert config.tasks == ["phenotype_liver", "in_hospital_mortality"]
    assert EICUCohortConfig(tasks=["phenotypes"]).tasks == list(TASKS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MIMICCohortConfig(tasks=["phenotype_lungs"]), "unknown phenotype 'phenotype_lungs'"),
        (lambda: EICUCohortConfig(tasks=["phenotype_lungs"]), "unknown phenotype 'phenotype_lungs'"),
        (lambda: MIMICCohortConfig(tasks=["phenotypes", "phenotype_liver"]), "has duplicates"),
        (
            lambda: MIMICCohortConfig(tasks=["phenotypes"], modalities=["labs", "diagnosis_codes", "drg_codes"]),
            "diagnosis_codes, drg_codes holds the codes that phenotypes are derived from",
        ),
        (
            lambda: EICUCohortConfig(tasks=["phenotype_liver"], modalities=["labs", "diagnoses"]),
            "diagnoses holds the entries that phenotypes are derived from",
        ),
        (
            lambda: EICUCohortConfig(tasks=["phenotypes"], landmark="unit_discharge"),
            "phenotypes do not fit cohort.landmark=unit_discharge",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(make: Callable[[], Any], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("name", ["mimic", "eicu"])
def test_a_release_without_diagnoses_is_refused_for_phenotypes_alone(tmp_path, name):
    config = {"mimic": MIMICCohortConfig, "eicu": EICUCohortConfig}[name]
    if name == "mimic":
        stays = [admission(1, 1, moment(), moment(3))]
        release = mimic_iv.write_release(tmp_path, patients=[patient(1)], admissions=stays)
    else:
        release = eicu.write_release(tmp_path, [eicu.stay(1)])
    with pytest.raises(SourceError, match=r"diagnos\w+\.csv\.gz: this table of .* is missing"):
        build_cohort(database(name), release, config(tasks=["phenotypes"], modalities=["demographics"]), tmp_path)


def entry(number: int, stay: int, offset: int, codes: str) -> dict[str, Any]:
    cells = {"diagnosisoffset": offset, "diagnosisstring": "a|b", "icd9code": codes}
    return {"diagnosisid": number, "patientunitstayid": stay, **cells}


def test_entries_of_the_whole_unit_stay_are_phenotypes_and_those_by_the_landmark_are_counted(tmp_path):
    entries = [
        entry(1, 1, 60, "428.0, I50.9"),
        entry(2, 1, 2 * DAY, "584.9, N17.9"),
        entry(3, 2, 90, ""),
        entry(4, 3, 90, "E980.9, V45.1"),
    ]
    release = eicu.write_release(tmp_path, [eicu.stay(number) for number in (1, 2, 3)], diagnosis=entries)
    found = eicu.cohort_rows(release, tasks=["phenotypes"])
    labels = {stay: [row[name] for name in (HEART, LIVER, KIDNEY)] for stay, row in found.items()}
    assert labels == {1: [True, False, True], 2: [None] * 3, 3: [False] * 3}
    counts = eicu.build_rows(release, EICUCohortConfig(tasks=["phenotypes"])).notes
    assert counts["rows without a diagnosis code (phenotypes unknown)"] == 1
    assert counts["phenotypes that are True"] == 2
    assert counts["of these entered by the prediction"] == 1


def by_hand(codes: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Unit -> blocks of its codes, from pairs of unit and category."""
    found: dict[str, set[str]] = defaultdict(set)
    for unit, category in codes:
        found[unit].update(blocks_of(category))
    return found


@cache
def blocks_of(category: str) -> list[str]:
    return [block.name for block in BLOCKS if any(first <= category <= last for first, last in block.ranges)]


def counts(code: str, version: str) -> bool:
    """Whether a code without a point is no external cause, and no adverse effect or underdosing."""
    if version == "9":
        return code[0].isdigit()
    is_drug = "T36" <= code[:3] <= "T50"
    return not (is_drug and (code[5:6] in {"5", "6"} or (code[5:6] == "X" and code[4] in "56")))


def rows_of(folder: Path, file: str) -> Iterable[dict[str, str]]:
    with gzip.open(folder / file, "rt", newline="") as handle:
        yield from csv.DictReader(handle)


def check(found: dict[int, dict[str, Any]], expected: dict[str, set[str]]) -> None:
    for unit, row in found.items():
        labels = {name: row[f"label/{PREFIX}{name}"] for name in (block.name for block in BLOCKS)}
        blocks = expected.get(str(unit))
        assert labels == ({name: name in blocks for name in labels} if blocks is not None else dict.fromkeys(labels))


@pytest.mark.demo
def test_every_phenotype_of_the_open_mimic_demo_agrees_with_a_hand_count():
    folder = demo_folder("mimic-iv-demo")
    rows = rows_of(folder, "hosp/diagnoses_icd.csv.gz")
    expected = by_hand(
        (row["hadm_id"], row["icd_code"][:3] if counts(row["icd_code"], row["icd_version"]) else "") for row in rows
    )
    found = mimic_iv.cohort_rows(Release(MIMIC_IV, [folder]), tasks=["phenotypes"], index="every")
    assert len(found) == 260
    check(found, expected)
    assert sum(row[HEART] for row in found.values()) == 55
    assert sum(row["label/phenotype_poisoning"] for row in found.values()) == 2


@pytest.mark.demo
def test_every_phenotype_of_the_open_eicu_demo_agrees_with_a_hand_count():
    folder = demo_folder("eicu-demo")
    pairs = []
    for row in rows_of(folder, "diagnosis.csv.gz"):
        for code in filter(None, map(str.strip, row["icd9code"].split(","))):
            head = code.split(".")[0]
            external = head[0] == "E" and len(head) == 4
            left_out = external or not (code[0].isdigit() or counts(code.replace(".", ""), "10"))
            pairs.append((row["patientunitstayid"], "" if left_out else head.rjust(3, "0")))
    found = eicu.cohort_rows(Release(EICU, [folder]), tasks=["phenotypes"], index="every")
    assert sum(row[HEART] is None for row in found.values()) == 231
    check(found, by_hand(pairs))
