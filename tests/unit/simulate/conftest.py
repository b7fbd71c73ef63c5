"""One simulated release, its truth and its cohort for all tests of the simulator."""

from pathlib import Path

import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, build_cohort
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, simulate
from mmnar_lightning.config.compose import load

SUBJECTS = 2000


@pytest.fixture(scope="session")
def simulated() -> SimulateConfig:
    """The knobs of the shared release: the defaults, of MIMIC-IV alone, without pictures."""
    return SimulateConfig(databases=["mimic_iv"], subjects=SUBJECTS, images=False)


@pytest.fixture(scope="session")
def folder(simulated: SimulateConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("simulated") / "release"
    assert simulate(simulated, target)
    return target


@pytest.fixture(scope="session")
def release(folder: Path) -> Release:
    return Release(MIMIC_IV, [folder])


@pytest.fixture(scope="session")
def truth(folder: Path) -> pl.DataFrame:
    return read_truth(folder)


@pytest.fixture(scope="session")
def survivors(truth: pl.DataFrame) -> pl.DataFrame:
    """The truth of those who leave the hospital alive."""
    return truth.filter(~pl.col("excluded")).sort("hadm_id")


@pytest.fixture(scope="session")
def cohort_folder(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort of experiments/mimic.yaml, built from the files as from a real release."""
    config = load(["experiment=mimic"]).cohort
    assert isinstance(config, ReleaseCohortConfig)
    return build_cohort(database("mimic"), release, config, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def cohort(cohort_folder: Path) -> pl.DataFrame:
    return pl.read_parquet(cohort_folder / COHORT).sort("admission_id")
