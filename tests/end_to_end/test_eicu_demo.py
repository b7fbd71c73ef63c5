"""The open eICU demo, from raw files to results.json, by the commands that the README names."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mmnar_lightning.cli import main
from tests.helpers.paths import ROOT, shared

pytestmark = pytest.mark.demo
QUICK = [
    "trainer.max_epochs=2", "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false",
    "evaluation.num_replicates=100",
]  # fmt: skip
COUNTS = "cohort.landmark=unit_24h cohort.index=every paths.data=data"


@pytest.fixture(scope="module")
def built(eicu_demo_roots, tmp_path_factory) -> Iterator[Path]:
    """`paths.data` with the cohort that a command of COUNTS left; read-only."""
    data = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EICU_ROOT", eicu_demo_roots)
        assert main(["cohort", "dataset=eicu", *COUNTS.split(), f"paths.data={data}"]) == 0
    with shared(data):
        yield data


def test_eicu_runs_from_raw_files_to_results_on_the_cohort_that_another_build_gave(
    built, workplace, eicu_demo_roots, monkeypatch, capsys
):
    monkeypatch.setenv("EICU_ROOT", eicu_demo_roots)
    assert main(["train", "dataset=eicu", *QUICK]) == 0
    (file,) = workplace.glob("runs/eicu/*/results.json")
    results = json.loads(file.read_text())
    assert results["dataset"] == "eicu"
    assert results["versions"] == {"eicu-crd": "2.0.1"}
    assert set(results["tasks"]) == {"in_hospital_mortality", "unit_mortality"}
    assert {"demographics", "apache", "labs", "vitals", "diagnoses"} <= set(results["modalities"])
    assert len(results["tasks"]["in_hospital_mortality"]["patterns"]) > 10
    printed = capsys.readouterr().out
    for title in ("attrition", "patterns of demographics, apache", "presence by hospital, of 186"):
        assert title in printed
    # The largest hospital has no lab; of the rows of the 178 smaller ones 97 % do.
    shares = next(line for line in printed.splitlines() if line.startswith("│ labs ")).split("│")[3:-1]
    assert [share.strip() for share in shares] == ["0%", *["100%"] * 7, "97%"]
    groups = results["groups"]
    assert groups["by"] == "hospital"
    found = groups["tasks"]["in_hospital_mortality"]
    scored = sum(cell["count"] for cell in found["groups"].values()) + found["pooled"]["count"]
    assert scored == results["tasks"]["in_hospital_mortality"]["all"]["count"]
    assert main(["show", f"run={file.parent}", "groups"]) == 0
    assert "in_hospital_mortality by hospital" in capsys.readouterr().out
    suffixes = {".npy", ".parquet", ".json"}
    files = sorted(path.relative_to(built) for path in built.rglob("*") if path.suffix in suffixes)
    assert len(files) > 20
    for name in files:
        assert (built / name).read_bytes() == (workplace / "data" / name).read_bytes(), name


def test_presence_alone_is_scored_by_hospital_under_k_folds(workplace, eicu_demo, monkeypatch):
    monkeypatch.setenv("EICU_ROOT", str(eicu_demo))
    words = ["evaluation.protocol=kfold", "cohort.split.num_folds=3", "cohort.tasks=[in_hospital_mortality]"]
    few = "cohort.modalities=[demographics,apache,medications,infusions,treatments]"
    assert main(["train", "experiment=eicu,baselines/mask_only", few, "embed.text.encoder=none", *words, *QUICK]) == 0
    (file,) = workplace.glob("runs/eicu-mask_only/*/results.json")
    predicted = pl.read_parquet(file.with_name("predictions.parquet")).drop_nulls("label/in_hospital_mortality")
    risk = pl.col("probability/in_hospital_mortality")
    assert predicted.group_by("fold", "pattern").agg(risk.max() - risk.min())[risk.meta.output_name()].max() < 1e-6
    groups = json.loads(file.read_text())["groups"]["tasks"]["in_hospital_mortality"]
    assert sum(cell["count"] for cell in groups["groups"].values()) + groups["pooled"]["count"] == 1602
    assert (len(groups["groups"]), groups["within"]["groups"]) == (63, 86)
    scored = {name: cell for name, cell in groups["groups"].items() if cell["auroc"]["value"] is not None}
    assert len(scored) == 33
    for name, cell in scored.items():
        rows = predicted.filter(group=name)
        pairs = rows.filter("label/in_hospital_mortality").join(
            rows.filter(~pl.col("label/in_hospital_mortality")), on="fold", suffix="/alive"
        )
        other = pl.col("probability/in_hospital_mortality/alive")
        won = pairs.group_by("fold").agg((risk > other).mean() + (risk == other).mean() / 2).mean()
        expected = won["probability/in_hospital_mortality"].item()
        assert (cell["count"], cell["auroc"]["value"]) == (rows.height, pytest.approx(expected, abs=1e-6))


def test_the_cohort_command_leaves_exactly_one_cohort(built):
    (file,) = built.glob("cohorts/*/cohort.parquet")
    cohort = pl.read_parquet(file)
    keys = ["row_id", "subject_id", "subject", "admission_id", "stay_id", "hospital_id", "prediction_offset_minutes"]
    assert cohort.columns[: len(keys) + 2] == [*keys, "split", "fold"]
    known = cohort["label/in_hospital_mortality"].drop_nulls()
    assert (cohort.height, len(known), known.sum()) == (1622, 1602, 140)
    assert cohort["stay_id"].is_unique().all()
    assert cohort["prediction_offset_minutes"].unique().to_list() == [1440]


def test_the_manifest_shows_presence_by_hospital_and_pools_the_small(built):
    (file,) = built.glob("cohorts/*/manifest.json")
    counts = json.loads(file.read_text())["counts"]
    cohort = pl.read_parquet(file.with_name("cohort.parquet"))
    assert counts["subjects in several hospitals"] == 19
    assert counts["next unit stay begins as the stay ends"] == 246
    assert counts["hospitals with"]["infusions"] == cohort.filter("present/infusions")["hospital_id"].n_unique() < 130
    entries = counts["presence by hospital"]
    assert [entry["hospital_id"] for entry in entries].count(None) == 1
    assert sum(entry["rows"] for entry in entries) == 1622
    assert min(entry["rows"] for entry in entries) >= 10
    assert sum(entry["hospitals"] for entry in entries) == counts["hospitals"] == 186
    for entry in entries[:20]:
        of = cohort.filter(pl.col("hospital_id") == entry["hospital_id"])
        assert (of.height, of["present/labs"].sum()) == (entry["rows"], entry["labs"])


def test_make_passes_its_variables_on_to_the_letter(eicu_demo_roots):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "-n", "-s", "cohort", "DATASET=eicu", f"EICU_ROOT={eicu_demo_roots}", f"ARGS={COUNTS}"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if "mmnar cohort" in line)
    assert shlex.split(line.split("mmnar cohort", 1)[1]) == ["dataset=eicu", *COUNTS.split()]


def test_the_doctor_shows_what_is_missing_and_what_it_costs(workplace, eicu_demo, capsys):
    assert main(["doctor", "dataset=eicu", f"paths.eicu_root={eicu_demo}"]) == 0
    reported = capsys.readouterr().out
    assert "a cohort can be built, without the modalities labs, vitals_periodic" in reported
    assert "baselines/published_score" in reported
    assert main(["doctor", "dataset=eicu", f"paths.eicu_root={workplace}"]) == 1
    assert "no cohort can be built: the core tables patient, hospital are missing" in capsys.readouterr().out
