"""`train` where no release was named: a simulated one is drawn once, used whole, and named wherever a person looks."""

import json
from pathlib import Path

import pytest

from data_modules.simulate import release
from mmnar_lightning.cli import main
from mmnar_lightning.runs import folders

WORDS = [
    "simulate.subjects=400",
    "trainer.max_epochs=2",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "evaluation.num_replicates=100",
]


def results_of(folder: Path) -> dict[str, object]:
    content = json.loads((folder / folders.RESULTS).read_text())
    return {key: value for key, value in content.items() if key != "run_id"}


def test_training_without_a_release_says_simulated_everywhere_and_repeats(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *WORDS]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    spoken = [number for number, line in enumerate(lines) if "simulated data: no release was named" in line]
    assert len(spoken) == 2
    assert spoken[0] <= 1
    assert spoken[1] >= len(lines) - 3  # the hint to mmnar show and the folder follow
    (made,) = (workplace / "data" / "releases").glob("simulated-*/")
    (run,) = (workplace / "runs" / "mimic").iterdir()
    assert run.name.endswith("-simulated")
    results = results_of(run)
    assert results["simulated"] is True
    assert results["modalities"] == ["structured", "cxr", "discharge_note", "radiology_report"]
    assert results["dropped"] == []
    (cohort,) = (workplace / "data" / "cohorts").glob("mimic-*/manifest.json")
    assert json.loads(cohort.read_text())["simulated"] is True

    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    monkeypatch.setattr(release, "_write", lambda *_: pytest.fail("a release was drawn again"))
    folders.forget_run()
    assert main(["train", f"experiment={run / folders.CONFIG}", "paths.runs=again"]) == 0
    folders.forget_run()
    (again,) = (workplace / "again" / "mimic").iterdir()
    assert again.name.endswith("-simulated")
    assert results_of(again) == results
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_root_that_was_named_is_never_replaced_by_simulated_data(workplace: Path, capsys) -> None:
    (workplace / "empty").mkdir()
    words = [word for word in WORDS if not word.startswith("simulate.")]
    assert len(words) < len(WORDS)
    assert main(["train", *words, "paths.mimic_root=empty"]) == 1
    out = capsys.readouterr().out
    assert "hosp/patients.csv.gz" in out
    assert "simulated" not in out
    assert not (workplace / "data" / "releases").exists()
