"""Codes of phenotypes in simulated releases: only where they are asked for, of every block, and in no input."""

import gzip
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.icd_blocks import TASKS
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from mmnar_lightning.config.compose import load

PLAIN = SimulateConfig(subjects=600, images=False)
CHANGED = {"hosp/diagnoses_icd.csv.gz", "diagnosis.csv.gz"}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One without and one with the codes."""
    folders = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("coded")
    simulate(PLAIN, folders[0])
    simulate(replace(PLAIN, phenotypes=True), folders[1])
    return folders


def test_no_other_table_changes(releases):
    plain, coded = ({str(path.relative_to(root)): path for path in root.rglob("*.csv.gz")} for root in releases)
    assert set(plain) == set(coded)
    differ = {
        name for name in plain if gzip.decompress(plain[name].read_bytes()) != gzip.decompress(coded[name].read_bytes())
    }
    assert {"/".join(name.split("/")[2:]) for name in differ} == CHANGED


@pytest.mark.parametrize(("dataset", "experiment"), [("mimic", "mimic_phenotypes"), ("eicu", "eicu_phenotypes")])
def test_every_phenotype_has_both_classes_and_unknown_labels(releases, dataset, experiment, tmp_path):
    config = load([f"experiment={experiment}"]).cohort
    assert isinstance(config, ReleaseCohortConfig)
    spec = database(dataset)
    narrow = replace(config, modalities=["demographics"])
    folder = build_cohort(spec, Release.parse(spec.schema, str(releases[1])), narrow, tmp_path)
    labels = pl.read_parquet(folder / "cohort.parquet").select(f"label/{task}" for task in TASKS)
    assert all(0 < labels[name].sum() < labels.height - labels[name].null_count() for name in labels.columns)
    assert 0 < labels[labels.columns[0]].null_count() < 0.2 * labels.height


def test_the_entries_of_eicu_come_after_the_landmark(releases):
    files = [next(root.rglob("diagnosis.csv.gz")) for root in releases]
    plain, coded = (pl.read_csv(file, infer_schema_length=None) for file in files)
    added = coded.join(plain, on="diagnosisid", how="anti")
    assert added.height == coded.height - plain.height > 0
    assert coded["diagnosisid"].n_unique() == coded.height
    assert added["icd9code"].null_count() == 0
    assert added["diagnosisoffset"].min() > 24 * 60
