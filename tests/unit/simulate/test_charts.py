"""Flow sheets of simulated eICU: written when they are asked for, read by the modalities, and nothing else changes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from data_modules.stage import read_json
from tests.unit.simulate.test_bytes import digests

TABLES = {"nurseCharting", "intakeOutput", "respiratoryCharting"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("charted") / "release"
    simulate(SimulateConfig(databases=["eicu"], subjects=60, charting=True), target)
    return target


def test_every_other_file_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    simulate(SimulateConfig(databases=["eicu"], subjects=60), tmp_path / "plain")
    plain, charted = digests(tmp_path / "plain"), digests(folder)
    more = {name for name in charted if name not in plain}
    assert {Path(name).name.partition(".")[0] for name in more} == TABLES
    assert [name for name in plain if plain[name] != charted[name]] == ["manifest.json"]


def test_the_setting_names_the_release_only_where_it_is_on() -> None:
    assert "charting" not in SimulateConfig().identity()
    assert SimulateConfig(charting=True).identity()["charting"] is True


def test_tables_read_in_their_dtypes_with_unique_keys(folder: Path) -> None:
    release = Release(EICU, [folder])
    for name in TABLES:
        declared = EICU.tables[name]
        frame = release.scan(name, list(declared.columns)).collect()
        assert frame.select(declared.key).is_unique().all(), name
        assert frame.height > 300, name


def test_the_modalities_find_values_in_them(folder: Path, tmp_path: Path) -> None:
    names = ["neurology", "nurse_vitals", "fluids", "respiration"]
    config = EICUCohortConfig(index="every", modalities=names)
    built = build_cohort(database("eicu"), Release(EICU, [folder]), config, tmp_path)
    rows = pl.read_parquet(built / "cohort.parquet")
    assert rows.height > 30
    assert all(rows[f"present/{name}"].all() for name in names)
    for name, column in (
        ("neurology", "gcs_total/last"),
        ("fluids", "balance_ml/24h"),
        ("respiration", "ventilated/last"),
    ):
        columns = read_json(built / "modalities" / name / "columns.json")
        values = np.load(built / "modalities" / name / "values.npy")[:, columns.index(column)]
        assert np.isfinite(values).all(), column
        assert values.std() > 0, column
