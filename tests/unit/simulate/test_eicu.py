"""The simulated eICU: read as the real one is, its outcomes and orders found again, its dirt where it should be."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, build_cohort
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.header import read_header
from data_modules.raw.reader import Release
from data_modules.simulate import latent
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, simulate
from mmnar_lightning.config.compose import load

STAY = "patientunitstayid"
MODALITIES = ("diagnoses", "text", "treatments")


@pytest.fixture(scope="module")
def eicu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("simulated") / "release"
    assert simulate(SimulateConfig(databases=["eicu"], subjects=1200), target)
    return target


@pytest.fixture(scope="module")
def eicu_release(eicu_folder: Path) -> Release:
    return Release(EICU, [eicu_folder])


def known_at(release: Release, landmark: str, data: Path) -> pl.DataFrame:
    words = ["experiment=eicu", "cohort.index=first", f"cohort.landmark={landmark}", "paths.eicu_root=given"]
    config = load(words).cohort
    assert isinstance(config, ReleaseCohortConfig)
    cohort = pl.read_parquet(build_cohort(database("eicu"), release, config, data) / COHORT)
    return cohort.join(read_truth(release.roots[0], "eicu"), left_on="stay_id", right_on=STAY, suffix="/drawn")


def test_every_table_has_the_declared_header_and_reads_in_its_dtypes(eicu_release: Release) -> None:
    assert set(eicu_release.schema.core_tables) <= set(eicu_release.files)
    for name in eicu_release.files:
        declared = eicu_release.schema.tables[name]
        assert read_header(eicu_release.files[name]) == list(declared.columns), name
        frame = eicu_release.scan(name, list(declared.columns)).collect()
        assert frame.height > 0, name
        if declared.key:
            assert frame.select(declared.key).is_unique().all(), name


def test_headers_equal_those_of_the_open_demo(eicu_release: Release, eicu_demo: Path) -> None:
    demo = Release(EICU, [eicu_demo])
    shared = sorted(set(demo.files) & set(eicu_release.files))
    assert len(shared) >= 12
    for name in shared:
        simulated, real = (read_header(release.files[name]) for release in (eicu_release, demo))
        assert [column.lower() for column in simulated] == [column.lower() for column in real], name


def test_outcomes_and_orders_are_found_again_id_by_id(eicu_release: Release, tmp_path: Path) -> None:
    joined = known_at(eicu_release, "unit_24h", tmp_path)
    assert joined.height > 700
    assert not joined["excluded"].any()
    for task in ("in_hospital_mortality", "unit_mortality"):
        assert joined[f"label/{task}"].to_list() == joined[f"outcome/{task}"].to_list(), task
    for modality in MODALITIES:
        assert joined[f"present/{modality}"].to_list() == joined[f"present/{modality}/drawn"].to_list(), modality
    left = known_at(eicu_release, "unit_discharge", tmp_path)
    assert left["label/icu_readmission"].to_list() == left["outcome/icu_readmission"].to_list()


@pytest.mark.parametrize("rho", [0.0, 1.0, 2.0])
def test_rates_are_those_asked_for_among_those_who_stay_a_day(rho: float) -> None:
    people = latent.draw(latent.solve(SimulateConfig(rho=rho), latent.EICU), 60_000, np.random.default_rng(5))
    stays = ~people.excluded
    asked = latent.EICU.order_rates
    error = 3 * np.sqrt(np.array(asked) * (1 - np.array(asked)) / stays.sum()) + 0.003
    assert (abs(people.present[stays].mean(0) - asked) < error).all()
    rates = np.array(latent.EICU.outcome_rates)
    assert (abs(people.outcome[stays].mean(0) - rates) < 3 * np.sqrt(rates / stays.sum()) + 0.003).all()


def test_a_hospital_has_orders_of_its_own() -> None:
    def spread(effect: float) -> float:
        world = latent.solve(SimulateConfig(rho=0, gamma=0), replace(latent.EICU, group_effect=effect))
        people = latent.draw(world, 60_000, np.random.default_rng(5))
        return float(np.std([people.present[people.group == g, 1].mean() for g in range(len(world.setting.groups))]))

    assert spread(0.0) < 0.02
    assert spread(1.0) > 0.06


def test_the_dirt_of_the_real_release_is_there(eicu_folder: Path) -> None:
    with gzip.open(eicu_folder / "eicu-crd/2.0/patient.csv.gz", "rt") as handle:
        text = handle.read()
    rows = list(csv.DictReader(text.splitlines()))
    assert ',"",' in text
    assert any(row["age"] == "> 89" for row in rows)
    assert any(row["unitstaytype"] == "stepdown/other" for row in rows)
    physiology = pl.read_csv(eicu_folder / "eicu-crd/2.0/apacheApsVar.csv.gz")
    assert 0.15 < (physiology["albumin"] == -1).mean() < 0.35
    versions = pl.read_csv(eicu_folder / "eicu-crd/2.0/apachePatientResult.csv.gz").group_by(STAY).len()
    assert set(versions["len"]) == {2}


def test_what_is_known_after_the_landmark_would_show_the_outcome(eicu_release: Release) -> None:
    late = eicu_release.scan("admissionDx", [STAY, "admitdxenteredoffset", "admitdxpath"]).collect()
    assert (late["admitdxenteredoffset"] > 1440).all()
    joined = read_truth(eicu_release.roots[0], "eicu").join(late, on=STAY)
    arrest = joined["admitdxpath"].str.contains("arrest")
    assert arrest.to_list() == joined["outcome/in_hospital_mortality"].to_list()


def test_the_truth_shows_what_absent_entries_would_have_said(eicu_folder: Path) -> None:
    known = read_truth(eicu_folder, "eicu")
    for modality in MODALITIES:
        absent = known.filter(~pl.col(f"present/{modality}"))
        assert absent.height > 100
        assert (absent[f"content/{modality}"].str.len_chars() > 20).all()
    assert (known["oracle_all/unit_mortality"] <= known["oracle_all/in_hospital_mortality"]).all()
