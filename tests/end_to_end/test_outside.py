"""What a package outside of the project adds, a database or a baseline, is used without editing a file of ours."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.helpers import forked
from tests.helpers.paths import ROOT

EXPERIMENT = """
dataset: tiny
cohort:
  name: tiny
  tasks: [death]
  modalities: [person, results]
trainer: {max_epochs: 3, progress_bar: false}
model: {fusion: {dim: 16, num_heads: 2}}
evaluation: {num_replicates: 100}
wandb: {enabled: false}
"""
QUICK = ["experiment=tiny.yaml", "rectifier.fit=none"]


def write_release(folder: Path, subjects: int = 400) -> None:
    generator = np.random.default_rng(0)
    risk = generator.normal(size=subjects)
    stays = pl.DataFrame(
        {
            "stay": np.arange(subjects) + 7,
            "patient": np.arange(subjects),
            "admitted": ["2130-05-06 07:08:09"] * subjects,
            "died": (risk + generator.normal(size=subjects) > 0.8).astype(int),
        }
    )
    measured = generator.random(subjects) < 0.7
    results = pl.DataFrame({"stay": stays["stay"], "name": "lactate", "value": risk + 2}).filter(pl.Series(measured))
    more = results.with_columns(name=pl.lit("sodium"), value=pl.col("value") * -3 + 140)
    folder.mkdir()
    birth = 2130 - generator.integers(10, 90, subjects)
    pl.DataFrame({"patient": np.arange(subjects), "birth_year": birth}).write_csv(folder / "patients.csv")
    stays.write_csv(folder / "stays.csv")
    pl.concat([results, more]).write_csv(folder / "results.csv")


@pytest.fixture
def installed(workplace: Path) -> dict[str, str]:
    """The environment of a process in which the database's package is installed; the release lies beside it."""
    site = workplace / "site"
    (site / "tiny_hospital-1.dist-info").mkdir(parents=True)
    (site / "tiny_hospital-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-hospital\nVersion: 1\n"
    )
    (site / "tiny_hospital-1.dist-info" / "entry_points.txt").write_text("[mmnar.databases]\ntiny = tiny_hospital\n")
    (site / "tiny_hospital").mkdir()
    for file in (ROOT / "tests/helpers/outside_database").glob("*.py"):
        own = file.read_text().replace("tests.helpers.outside_database", "tiny_hospital")
        (site / "tiny_hospital" / file.name).write_text(own)
    write_release(workplace / "release")
    (workplace / "tiny.yaml").write_text(EXPERIMENT)
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "TINY_ROOT": str(workplace / "release")}


def run(command: str, *words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    given = ["-m", "mmnar_lightning", command, *QUICK, *words]
    return forked.finished(given, Path.cwd(), os.environ | environment)


def test_a_database_outside_of_the_project_is_trained_on(installed: dict[str, str], workplace: Path) -> None:
    examined = run("doctor", environment=installed)
    assert examined.returncode == 0, examined.stdout + examined.stderr
    assert "a cohort can be built with every modality" in examined.stdout
    trained = run("train", environment=installed)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (file,) = workplace.glob("runs/tiny/*/results.json")
    results = json.loads(file.read_text())
    assert (results["dataset"], results["modalities"]) == ("tiny", ["person", "results"])
    assert set(results["tasks"]["death"]["patterns"]) == {"11", "10"}
    cohort = pl.read_parquet(*workplace.glob("data/cohorts/tiny-*/cohort.parquet"))
    ages = pl.read_csv(workplace / "release" / "patients.csv")["birth_year"]
    assert cohort.height == ((2130 - ages) >= 18).sum()


def test_without_its_release_it_is_refused_with_the_names_of_its_settings(installed: dict[str, str]) -> None:
    refused = run("train", environment=installed | {"TINY_ROOT": ""})
    assert refused.returncode == 1
    assert "paths.roots.tiny or TINY_ROOT" in refused.stdout
    assert "Traceback" not in refused.stderr


def test_its_settings_are_checked_like_ours(installed: dict[str, str]) -> None:
    refused = run("train", "cohort.min_agee=3", environment=installed)
    assert refused.returncode == 1
    assert "cohort.min_agee=3: unknown setting 'cohort.min_agee'; did you mean cohort.min_age?" in refused.stdout


def test_a_baseline_outside_of_the_project_is_trained_and_scored(installed: dict[str, str], workplace: Path) -> None:
    terms = "objective={reconstruction: 0, contrast: 0, assignment: 0}"
    words = ["baseline.name=tests.helpers.outside_baselines:Network", "baseline.settings.width=8", terms]
    trained = run("train", *words, environment=installed)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (file,) = workplace.glob("runs/tiny/*/results.json")
    assert json.loads(file.read_text())["tasks"]["death"]["all"]["auroc"]["value"] > 0.5
    unknown = run("train", words[0], terms, "baseline.settings.widht=8", environment=installed)
    assert unknown.returncode == 1
    assert "baseline.settings={'widht': 8}: Network: got an unexpected keyword argument 'widht'" in unknown.stdout
    refused = run("train", *words[:2], environment=installed)
    assert refused.returncode == 1
    assert "does not have this; set objective.reconstruction=0.0" in refused.stdout
    missing = run("train", "baseline.name=no_such_package:Network", terms, environment=installed)
    assert missing.returncode == 1
    assert "No module named 'no_such_package'" in missing.stdout
