"""Simulated arrivals and electrocardiograms: written when asked for, read by the modalities; nothing else changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features import store
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from tests.unit.simulate.test_bytes import digests

TABLES = ("edstays", "triage", "ed_vitalsign", "ecg_measurements")
PLAIN = SimulateConfig(databases=["mimic_iv"], subjects=80, images=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("arrivals") / "release"
    simulate(replace(PLAIN, emergency=True), target)
    return target


def test_every_other_file_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    simulate(PLAIN, tmp_path / "plain")
    plain, found = digests(tmp_path / "plain"), digests(folder)
    more = {Path(name).name for name in found if name not in plain}
    assert more == {"edstays.csv.gz", "triage.csv.gz", "vitalsign.csv.gz", "machine_measurements.csv.gz"}
    assert [name for name in plain if plain[name] != found[name]] == ["manifest.json"]


def test_the_setting_names_the_release_only_where_it_is_on() -> None:
    assert "emergency" not in SimulateConfig().identity()
    assert SimulateConfig(emergency=True).identity()["emergency"] is True


def test_tables_read_in_their_dtypes_with_their_keys_and_known_subjects(folder: Path) -> None:
    release = Release(MIMIC_IV, [folder])
    assert release.versions().items() >= {"mimic-iv-ed": "2.2", "mimic-iv-ecg": "1.0"}.items()
    patients = release.scan("patients", ["subject_id"]).collect()
    for name in TABLES:
        declared = MIMIC_IV.tables[name]
        frame = release.scan(name, list(declared.columns)).collect()
        assert frame.height > 50, name
        assert not declared.key or frame.select(declared.key).is_unique().all()
        assert frame["subject_id"].is_in(patients["subject_id"].implode()).all()


@pytest.mark.parametrize("landmark", ["discharge", "icu_24h"])
def test_the_modalities_find_values_and_texts_in_them(folder: Path, tmp_path: Path, landmark: str) -> None:
    names = ["emergency", "ecg", "chief_complaint", "ecg_report"]
    config = MIMICCohortConfig(index="every", landmark=landmark, modalities=names)  # type: ignore[arg-type]
    built = build_cohort(database("mimic"), Release(MIMIC_IV, [folder]), config, tmp_path)
    rows = pl.read_parquet(built / "cohort.parquet")
    for name, column in (("emergency", "acuity/last"), ("ecg", "qt_interval/last")):
        place = built / "modalities" / name
        chosen = [one.endswith(column) for one in store.read_columns(place)].index(True)
        values = store.open_values(place)[rows[f"present/{name}"].to_numpy()][:, chosen]
        assert 0.2 < rows[f"present/{name}"].mean() < 1, name
        assert np.isfinite(values).mean() > 0.9
        assert np.nanstd(values) > 0.1
    for name in ("chief_complaint", "ecg_report"):
        texts = pl.read_parquet(built / "modalities" / name / "documents.parquet")
        assert (rows.filter(f"present/{name}")["row_id"].is_in(texts["row_id"].implode())).all()
        assert (texts["hours"] <= 0).all()


def test_severe_subjects_have_worse_signs(folder: Path) -> None:
    release = Release(MIMIC_IV, [folder])
    triage = release.scan("triage", ["acuity", "heartrate", "o2sat"]).collect()
    urgent = pl.col("acuity") <= 2
    means = [triage.filter(group).select(pl.col("heartrate", "o2sat").mean()).row(0) for group in (urgent, ~urgent)]
    assert means[0][0] > means[1][0]
    assert means[0][1] < means[1][1]
