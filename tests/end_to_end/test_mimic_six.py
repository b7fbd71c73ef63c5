"""`experiment=mimic_six`, as a program: six modalities on a simulated release, two of which have no open demo."""

import json
from pathlib import Path

import polars as pl

from tests.end_to_end.test_predict import QUIET, mmnar

MODALITIES = ("structured", "cxr", "discharge_note", "radiology_report", "emergency", "ecg")


def test_six_modalities_are_simulated_embedded_and_trained_on(tmp_path: Path) -> None:
    said = mmnar(tmp_path, "train", "experiment=mimic_six", "simulate.subjects=150", *QUIET)
    assert "simulated" in said
    (run,) = (tmp_path / "runs" / "mimic_six").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert (run / "DONE").is_file()
    assert results["simulated"] is True
    assert tuple(results["modalities"]) == MODALITIES
    assert results["dropped"] == []
    described = json.loads((run / "model" / "model.json").read_text())
    assert tuple(entry["name"] for entry in described["modalities"]) == MODALITIES
    columns = {entry["name"]: entry["columns"] for entry in described["modalities"]}
    assert "acuity/last" in columns["emergency"]
    assert "qt_interval/last" in columns["ecg"]
    (cohort,) = (tmp_path / "data" / "cohorts").glob("mimic_six-*")
    rows = pl.read_parquet(cohort / "cohort.parquet")
    for name in ("emergency", "ecg"):
        assert 0.1 < rows[f"present/{name}"].mean() < 1, name
