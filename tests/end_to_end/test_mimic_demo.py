"""The open MIMIC-IV demo, from raw files to results.json, by the commands that the README names."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from mmnar_lightning.cli import main
from tests.helpers import forked
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.demo
QUICK = [
    "trainer.max_epochs=2", "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false",
    "evaluation.num_replicates=100",
]  # fmt: skip


def test_the_structured_experiment_runs_from_raw_files_to_results(
    workplace: Path, mimic_demo_roots: str, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("MIMIC_ROOT", mimic_demo_roots)
    assert main(["train", "experiment=mimic_structured", *QUICK]) == 0
    (results,) = workplace.glob("runs/mimic_structured/*/results.json")
    content = json.loads(results.read_text())
    assert len(content["modalities"]) == 6
    assert len(content["tasks"]["readmission_30d"]["patterns"]) > 1
    assert content["simulated"] is False
    assert "attrition" in capsys.readouterr().out


def test_a_missing_table_drops_its_modality_and_every_place_says_so(
    workplace: Path, mimic_demo: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("MIMIC_ROOT", str(mimic_demo))  # without the rebuilt chartevents
    assert main(["train", "experiment=mimic_structured", *QUICK]) == 0
    line = "vitals is dropped: icu/chartevents.csv.gz is missing"
    assert capsys.readouterr().out.count(line) == 2
    (results,) = workplace.glob("runs/mimic_structured/*/results.json")
    assert json.loads(results.read_text())["dropped"] == [line]
    (manifest,) = workplace.glob("data/cohorts/*/manifest.json")
    assert json.loads(manifest.read_text())["dropped"] == [line]
    assert main(["cohort", "experiment=mimic_structured", "cohort.missing_tables=error"]) == 1
    assert "icu/chartevents.csv.gz" in capsys.readouterr().out


def test_the_paper_s_experiment_trains_what_has_vectors_and_names_the_rest(
    workplace: Path, mimic_demo_roots: str, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("MIMIC_ROOT", mimic_demo_roots)
    assert main(["train", "dataset=mimic", *QUICK]) == 0
    output = capsys.readouterr().out
    for modality in ("cxr", "discharge_note", "radiology_report"):
        assert output.count(f"{modality} is dropped") == 2


def test_make_passes_its_variables_on_to_the_letter(mimic_demo_roots: str, tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    words = f"experiment=mimic_structured cohort.index=every cohort.landmark=discharge paths.data={tmp_path}"
    command = ["make", "-n", "-s", "cohort", "DATASET=mimic", f"MIMIC_ROOT={mimic_demo_roots}", f"ARGS={words}"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if "mmnar cohort" in line)
    assert shlex.split(line.split("mmnar cohort", 1)[1]) == ["dataset=mimic", *words.split()]


def test_the_cohort_command_leaves_exactly_one_cohort(mimic_demo_roots: str, tmp_path: Path) -> None:
    words = ["experiment=mimic_structured", "cohort.index=every", "cohort.landmark=discharge", f"paths.data={tmp_path}"]
    command = ["-m", "mmnar_lightning", "cohort", "dataset=mimic", *words]
    environment = {
        "MIMIC_ROOT": mimic_demo_roots,
        "PATH": "/usr/bin:/bin",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = forked.finished(command, tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (cohort,) = tmp_path.glob("cohorts/*/cohort.parquet")
    assert cohort.parent.name.startswith("mimic_structured-")
    frame = pl.read_parquet(cohort)
    assert frame.columns[:6] == ["row_id", "subject_id", "subject", "admission_id", "stay_id", "hospital_id"]
    assert frame.columns[6:10] == ["prediction_at", "year_group", "split", "fold"]
    assert set(frame["year_group"]) == {"2011 - 2013", "2014 - 2016"}
    assert frame.height == 260


def test_the_doctor_shows_what_is_missing_and_what_it_costs(mimic_demo: Path, workplace: Path, capsys) -> None:
    assert main(["doctor", f"paths.mimic_root={mimic_demo}"]) == 0
    output = capsys.readouterr().out
    (listed,) = [line for line in output.splitlines() if line.startswith("a cohort can be built")]
    missing = listed.removeprefix("a cohort can be built, without the modalities ").split(", ")
    assert {"vitals", "ecg", "cxr", "discharge_note", "radiology_report"} <= set(missing)
    assert not {"labs", "medications", "vasoactives"} & set(missing), "their tables are there"
    assert main(["doctor", f"paths.mimic_root={workplace}"]) == 1
    assert (
        "no cohort can be built: the core tables patients, admissions, icustays are missing" in capsys.readouterr().out
    )
