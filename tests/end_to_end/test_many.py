"""Many modalities and many tasks: cohorts that do not fit an int64 or a screen, through whole runs."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules import patterns
from data_modules.cohorts import presence
from data_modules.cohorts.build import COHORT
from data_modules.stage import MANIFEST, read_json
from mmnar_lightning.cli import main
from mmnar_lightning.runs import single
from mmnar_lightning.saved.read import load
from tests.helpers.small_runs import SMALL, compose, results_of

NUM_ROWS, MANY_TASKS = 240, 200
QUICK = ("trainer.max_epochs=2", "loader.batch_size=64", "rectifier.min_rows=8")


def write_cohort(folder: Path, num_modalities: int, num_tasks: int, num_patterns: int) -> Path:
    """A cohort with some of the patterns of many modalities, of two columns each."""
    generator = np.random.default_rng(0)
    shown = generator.random((num_patterns, num_modalities)) < 0.5
    present = shown[generator.integers(0, num_patterns, NUM_ROWS)]
    health = generator.normal(size=NUM_ROWS)
    rows = {"row_id": np.arange(NUM_ROWS), "subject_id": [f"s{row:04d}" for row in range(NUM_ROWS)]}
    rows |= {f"label/t{task:03d}": health + generator.normal(size=NUM_ROWS) > 0 for task in range(num_tasks)}
    rows |= {f"present/m{place:03d}": present[:, place] for place in range(num_modalities)}
    folder.mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(folder / COHORT)
    for place in range(num_modalities):
        own = folder / "modalities" / f"m{place:03d}"
        own.mkdir(parents=True)
        values = health[:, None] + generator.normal(size=(NUM_ROWS, 2))
        table = pl.DataFrame({"row_id": np.arange(NUM_ROWS), "a": values[:, 0], "b": values[:, 1]})
        table.filter(pl.Series(present[:, place])).write_parquet(own / "table.parquet")
    return folder


@pytest.mark.usefixtures("rendered_figures")
def test_seventy_modalities_train_and_their_patterns_come_back_from_every_file(workplace: Path) -> None:
    cohort = write_cohort(workplace / "given", 70, 1, 6)
    config = compose(cohort, *QUICK, "model.additive.inverse_penalties=[0.01]", "objective.reconstruction=0")
    folder = single.train(config)
    (imported,) = (workplace / "data" / "cohorts").glob("*/" + MANIFEST)
    entries = read_json(imported)["patterns"]
    rows = pl.read_parquet(cohort / COHORT)
    counted = pl.Series(patterns.labels(rows.select(pl.col("^present/.*$")).to_numpy())).value_counts()
    assert {entry["label"]: entry["rows"] for entry in entries} == dict(counted.iter_rows())
    assert [entry["pattern"] for entry in entries] == [patterns.parse(entry["label"]) for entry in entries]
    assert max(entry["pattern"] for entry in entries) >= 2**63
    results = results_of(folder)
    own = results["tasks"]["t000"]["patterns"]
    tested = pl.read_parquet(folder / "predictions.parquet")
    assert {name: cell["count"] for name, cell in own.items()} == {
        entry["label"]: tested.filter(pattern=entry["label"]).height for entry in entries
    }
    offsets = results["rectifier"]["t000"]["patterns"]
    assert sum(entry["count"] for entry in offsets.values()) > 0
    assert not tested["unseen_pattern"].any()
    model = load(folder / "model")
    assert model.rectifier is not None
    assert sorted(model.rectifier.size.tolist()) == sorted(entry["label"].count("1") for entry in entries)
    assert sorted(model.description.patterns) == sorted(entry["pattern"] for entry in entries)


def test_two_hundred_tasks_finish_and_the_patterns_beyond_the_limit_are_pooled(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 2
    monkeypatch.setattr(presence, "MAX_CELLS", (most + 1) * MANY_TASKS - 1)  # 4096 cells take a minute
    cohort = write_cohort(workplace / "given", 6, MANY_TASKS, 4)
    words = ("trainer.max_epochs=1", "objective.reconstruction=0", "rectifier.gate=false", "evaluation.figures=false")
    assert main(["train", "dataset=custom", f"paths.cohort={cohort}", *SMALL, *QUICK[1:], *words]) == 0
    (folder,) = (workplace / "runs" / "custom").iterdir()
    assert (folder / "DONE").is_file()
    assert f"│ t{MANY_TASKS - 1} │" in capsys.readouterr().out
    results = results_of(folder)
    tested = pl.read_parquet(folder / "predictions.parquet").height
    assert len(results["tasks"]) == MANY_TASKS
    for found in results["tasks"].values():
        assert len(found["patterns"]) == most + 1
        assert list(found["patterns"])[-1] == patterns.OTHERS
        assert sum(cell["count"] for cell in found["patterns"].values()) == tested
    public = json.loads((folder / "results.public.json").read_text())
    assert len(public["tasks"]) == MANY_TASKS
