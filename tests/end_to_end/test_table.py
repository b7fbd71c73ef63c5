"""A table of two estimators on a small simulated release, by the installed program, and again without training."""

import csv
import shutil
from pathlib import Path

import pytest

from mmnar_lightning.commands import table
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import single
from mmnar_lightning.tables.declared import TableError
from tests.end_to_end.test_cli import run

DECLARED = """
words:
  - simulate.subjects=300
  - simulate.images=false
  - cohort.modalities=[demographics, labs]
  - cohort.split.train=0.4
  - cohort.split.test=0.35
  - evaluation.num_replicates=100
cohorts:
  simulated:
    experiment: mimic_structured
    simulated: true
    tasks: [readmission_30d]
methods:
  regression: baselines/logistic_regression
  trees: baselines/boosted_trees
  score: baselines/published_score
family: {reference: regression}
"""
FILES = ("table.csv", "table.md", "table.tex", "table.pdf", "table.svg", "table.png")


def test_a_table_is_made_by_one_command_and_again_from_its_predictions(workplace: Path, monkeypatch) -> None:
    (workplace / "own.yaml").write_text(DECLARED)
    words = ["table.name=own.yaml", "privacy.min_count=5"]
    done = run("table", *words, "table.processes=2", place=workplace)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as an array of jobs: sbatch --array=0-2 experiments/slurm/table.sbatch table.name=own.yaml" in done.stdout
    assert "table.processes" not in done.stdout, "a job of an array runs one entry"
    folder = workplace / "runs" / "tables" / "own"
    assert (folder / "process-2.log").is_file()
    with (folder / "table.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    whole = {row["method"]: row for row in rows if row["pattern"] == "all"}
    assert 0.4 < float(whole["regression"]["auroc"]) < 1
    assert float(whole["trees"]["cpu_seconds"]) > 0
    assert whole["trees"]["verdict"] in {"better", "level", "worse"}
    assert whole["regression"]["verdict"] == "not tested"
    assert "this cohort has none" in whole["score"]["not_applicable"]

    assert not list(folder.rglob("figures"))
    before = {name: (folder / name).read_bytes() for name in FILES}
    for name in FILES:
        (folder / name).unlink()
    shutil.rmtree(workplace / "data")
    monkeypatch.setattr(single, "train", lambda config: pytest.fail("trained again"))
    again = [*words, "table.source=predictions", "table.page=page.md"]
    table.make_table(load(again), again)
    assert {name: (folder / name).read_bytes() for name in FILES} == before
    assert "](figures/table_own.png)" in (workplace / "page.md").read_text()
    assert (workplace / "figures" / "table_own.png").is_file()
    next(folder.glob("simulated/trees/*/*/predictions.parquet")).unlink()
    with pytest.raises(TableError, match=r"1 of 3 entries have no stored predictions \(simulated, trees, seed 0\)"):
        table.make_table(load(again), again)
