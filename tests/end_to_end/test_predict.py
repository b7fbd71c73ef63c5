"""`mmnar predict`: rows without labels, of a cohort folder or of another release, by the installed program.

The program itself is started where new rows are predicted; elsewhere its module is, in a process that has imported it.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import polars as pl
import pytest

from data_modules.loading.opened import OpenedCohort
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from data_modules.vocabulary import Kind, Modality
from mmnar_lightning.runs.new_rows import other_encoders
from mmnar_lightning.saved.read import load
from tests.conftest import write_custom_cohort
from tests.helpers import forked
from tests.helpers.paths import ROOT

PROGRAM = str(Path(sys.executable).with_name("mmnar"))
QUIET = (
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "wandb.enabled=false",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "evaluation.num_replicates=100",
    "evaluation.figures=false",
)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def mmnar(place: Path, *words: str, status: int = 0, installed: bool = False) -> str:
    """What the program prints, started in a folder; `installed` starts its console script."""
    if installed:
        done = subprocess.run(
            [PROGRAM, *words], cwd=place, capture_output=True, text=True, timeout=600, env=ENVIRONMENT, check=False
        )
    else:
        done = forked.finished(["-m", "mmnar_lightning", *words], place, ENVIRONMENT, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a custom cohort, whose data are gone, and new rows without labels."""
    place = tmp_path_factory.mktemp("predict")
    write_custom_cohort(place / "given")
    mmnar(place, "train", "dataset=custom", "paths.cohort=given", *QUIET)
    shutil.rmtree(place / "given")
    shutil.rmtree(place / "data")
    write_custom_cohort(place / "new", num_subjects=7, seed=5)
    path = place / "new" / "cohort.parquet"
    pl.read_parquet(path).drop("label/first", "label/second").write_parquet(path)
    return place


def test_new_rows_without_labels_are_predicted(place: Path) -> None:
    said = mmnar(place, "predict", "dataset=custom", "paths.cohort=new", "out=here", installed=True)
    rows = pl.read_parquet(place / "new" / "cohort.parquet")
    found = pl.read_parquet(place / "here" / "predictions.parquet")
    assert f"{rows.height} rows predicted" in said
    assert "the terms of those records apply" in said
    assert found["row_id"].to_list() == list(range(rows.height))
    assert found["subject_id"].to_list() == rows["subject_id"].to_list()
    for task in ("first", "second"):
        assert found[f"rectified/{task}"].is_between(0, 1, closed="none").all()
        assert found[f"probability/{task}"].n_unique() > rows.height // 2
    assert "exists; remove it" in mmnar(place, "predict", "dataset=custom", "paths.cohort=new", "out=here", status=1)
    assert not list(place.glob("here/**/*label*"))
    (folder,) = (place / "runs" / "custom").iterdir()
    mmnar(place, "predict", "paths.cohort=new", f"run={folder / 'model'}", "out=again")
    assert pl.read_parquet(place / "again" / "predictions.parquet").equals(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "predict needs paths.cohort=/path"),
        (("paths.cohort=new", "run=new"), "is no model folder"),
        (("paths.cohort=missing",), "cohort.parquet"),
    ],
)
def test_what_cannot_be_predicted_is_refused(place: Path, words: tuple[str, ...], said: str) -> None:
    assert said in mmnar(place, "predict", "dataset=custom", *words, status=1).replace("\n", " ")


@pytest.mark.parametrize("column", ["row_id", "present/table", "label/first", "subject_id", "c0"])
def test_no_cell_of_rows_that_cannot_be_predicted_is_shown(place: Path, column: str, tmp_path: Path) -> None:
    canary = "Mrs-Canary-2171-03-04"
    shutil.copytree(place / "new", tmp_path / "new")
    path = tmp_path / "new" / ("modalities/table/table.parquet" if column == "c0" else "cohort.parquet")
    table = pl.read_parquet(path)
    others = [None if column == "subject_id" else "0"] * (table.height - 1)
    table.with_columns(pl.Series(column, [canary, *others])).write_parquet(path)
    said = mmnar(place, "predict", "dataset=custom", f"paths.cohort={tmp_path / 'new'}", "out=refused", status=1)
    assert "this is a defect" not in said
    assert canary not in said
    written = (*place.rglob("*.txt"), *place.rglob("*.log"), *place.rglob("*.csv"))
    assert not [file for file in written if canary.encode() in file.read_bytes()]
    assert not (place / "refused").exists()


def test_modalities_that_are_encoded_otherwise_than_in_training_are_named(place: Path) -> None:
    (folder,) = (place / "runs" / "custom").iterdir()
    described = replace(load(folder).description, encoders={"note": "a", "own": "b", "same": "c"})
    described.settings["embed"]["text"]["encoder"] = "hashed_ngrams"
    described.settings["embed"]["modalities"] = {
        "own": {"encoder": "vectors", "path": "own.parquet"},
        "same": {"encoder": "release"},
    }
    kinds = {"note": "documents", "own": "images", "same": "images"}
    modalities = [Modality(name=name, kind=cast("Kind", kind)) for name, kind in kinds.items()]
    cohort = SimpleNamespace(modalities=modalities, encoders={"note": "x", "own": "y", "same": "c"})
    (line,) = other_encoders(described, cast("OpenedCohort", cohort))
    assert line.startswith("note is encoded otherwise than in training")


def test_a_cohort_without_labels_cannot_be_trained_on(place: Path) -> None:
    assert "there is no label column" in mmnar(place, "train", "dataset=custom", "paths.cohort=new", *QUIET, status=1)


@pytest.mark.parametrize(("dataset", "database"), [("mimic", "mimic_iv"), ("eicu", "eicu")])
def test_another_release_is_read_with_the_vocabularies_of_the_model(
    dataset: str, database: str, tmp_path: Path
) -> None:
    for number, name in enumerate(("old", "new")):
        knobs = SimulateConfig(subjects=200, seed=number, databases=[database])
        simulate(knobs, tmp_path / name, processes=1)
    experiment = {"mimic": "mimic_structured", "eicu": "eicu"}[dataset]
    words = (f"experiment={experiment}", "cohort.min_vocabulary_subjects=2", *QUIET)
    mmnar(tmp_path, "train", f"dataset={dataset}", f"paths.{dataset}_root=old", *words)
    (run,) = (tmp_path / "runs" / experiment).iterdir()
    content = json.loads((run / "model" / "model.json").read_text())
    columns = [name for entry in content["modalities"] for name in entry["columns"]]
    assert any(name.endswith("/distinct") for name in columns), "there is a vocabulary"
    said = mmnar(tmp_path, "predict", f"run={run}", f"paths.{dataset}_root=new")
    assert "rows predicted" in said
    (written,) = (run / "predictions").glob("[!.]*")
    found = pl.read_parquet(written / "predictions.parquet")
    (cohort,) = (
        folder
        for folder in (tmp_path / "data" / "cohorts").glob("[!.]*")
        if written.name in (folder / "manifest.json").read_text()
    )
    assert found.height == pl.read_parquet(cohort / "cohort.parquet").height
    for entry in content["modalities"]:
        path = cohort / "modalities" / entry["name"] / "columns.json"
        if path.is_file():
            assert json.loads(path.read_text()) == entry["columns"]
    described = load(run).description
    assert described.dataset == dataset
    assert described.usual_outside is not None
    flagged = found["out_of_range"] > described.usual_outside
    assert (found["out_of_range"] > 0).mean() > 0.5, "most rows have a value beyond some column"
    assert flagged.mean() < 0.2, "9 of the 120 train subjects are beyond"
    assert (f"{flagged.sum()} rows have more than {described.usual_outside} values" in said) is flagged.any()


@pytest.mark.parametrize("rectifier", ["carried", "refitted"])
def test_a_model_is_scored_on_another_cohort_beside_its_own_results(place: Path, rectifier: str) -> None:
    write_custom_cohort(place / "other", num_subjects=150, seed=9)
    (run,) = (place / "runs" / "custom").iterdir()
    before = (run / "results.json").read_bytes()
    words = (f"run={run}", "dataset=custom", "paths.cohort=other", f"evaluation.elsewhere={rectifier}")
    mmnar(place, "evaluate", *words, "evaluation.num_replicates=100")
    (folder,) = (run / "elsewhere").glob(f"*-{rectifier}")
    scores = json.loads((folder / "results.json").read_text())
    rows = pl.read_parquet(folder / "predictions.parquet")
    labelled = pl.read_parquet(place / "other" / "cohort.parquet")
    assert (rows.height == labelled.height) == (rectifier == "carried"), "rows that fit the rectifier are not scored"
    joined = rows.join(labelled.with_columns(pl.col("row_id").cast(pl.Int64)), on="row_id", suffix="/given")
    assert joined["label/first"].equals(joined["label/first/given"])
    assert scores["tasks"]["first"]["all"]["count"] == rows["label/first"].drop_nulls().len()
    assert scores["checkpoint"] == {"rectifier": {"carried": "source", "refitted": "target"}[rectifier]}
    assert scores["rectified"]["first"]["all"]["auroc"]["value"] > 0.55
    assert (run / "results.json").read_bytes() == before
    again = mmnar(place, "evaluate", *words)
    assert "was evaluated before" in again
    assert "trained on the cohort" in mmnar(place, "evaluate", *words[:-1], status=1)
