"""The worlds of docs/phases.md as cohorts, what is trained in them, and how they are scored."""

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.phases import cohorts, full, page, plan, run, score
from benchmarks.phases.predictions import BEST, PARTS, PREDICTIONS, Prediction
from data_modules.simulate import latent
from data_modules.simulate.latent import MIMIC
from mmnar_lightning.config.compose import flatten, load, to_plain
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.metrics.paired import paired_difference
from tests.helpers.paths import ROOT

KNOBS = {"phi": 2.5, "nuisance": 2.5, "label_share": 0.3, "shift": 1.0}
ROWS = {"train": 480, "val": 80, "calibration": 120, "test": 50}
VECTORS = {"cxr": (5, 6), "discharge_note": (3, 4), "radiology_report": (7,)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A cell with every property, and where its cohort lies."""
    cell = plan.Cell(knobs=KNOBS, train_rows=ROWS["train"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "TEST_ROWS", ROWS["test"])
        folder = tmp_path_factory.mktemp("cell")
        cohorts.write(cell, 3, folder)
        yield cell, folder / cell.cohort(3)


def columns_of(place: Path, name: str) -> np.ndarray:
    """Readings, and further columns, of the vectors of a modality: a least-squares fit of each row by itself."""
    placement = cohorts.placements()[name]
    vectors = np.load(place / "modalities" / name / "vectors.npy")
    basis = np.vstack([placement.readings, placement.nuisance])
    return np.array([np.linalg.lstsq(basis.T, row[: basis.shape[1]], rcond=None)[0] for row in vectors])


def test_a_cohort_is_what_was_drawn_row_by_row(written) -> None:
    cell, place = written
    frame = pl.read_parquet(place / "cohort.parquet")
    table = pl.read_parquet(place / "modalities" / "structured" / "table.parquet")
    note = np.load(place / "modalities" / "discharge_note" / "vectors.npy")
    row = 0
    for split, world, patients in cohorts.drawn(cell, 3):
        assert world.config.shift == (1.0 if split in {"calibration", "test"} else 0.0)
        assert len(patients.worry) == ROWS[split]
        assert not patients.excluded.any()
        for number in range(ROWS[split]):
            found = frame.row(row, named=True)
            assert (found["row_id"], found["split"]) == (row, split)
            assert [found[f"present/{name}"] for name in MIMIC.modalities] == patients.present[number].tolist()
            known = split in {"calibration", "test"} or patients.labelled[number]
            labels = [found[f"label/{task}"] for task in MIMIC.tasks]
            assert labels == (patients.outcome[number].tolist() if known else [None] * 3)
            assert table.row(row)[:3] == tuple(patients.readings[number, :3])
            assert note[row, 16] == patients.phrase[number]
            row += 1
    assert row == frame.height == sum(ROWS.values())
    assert frame["present/structured"].all()


def test_readings_are_found_under_the_nuisance_but_those_of_the_report(written) -> None:
    cell, place = written
    readings = np.concatenate([patients.readings for _, _, patients in cohorts.drawn(cell, 3)])
    for name, own in VECTORS.items():
        error = (columns_of(place, name)[:, : len(own)] - readings[:, own]).std(0)
        assert (error < 0.3).all() if name != "radiology_report" else (error > 0.3).all(), (name, error)
        placed = cohorts.placements()[name].readings
        np.testing.assert_allclose(placed @ placed.T, np.eye(len(own)), atol=1e-12)


def test_nuisance_and_words_carry_what_the_page_says(written) -> None:
    _, place = written
    table = pl.read_parquet(place / "modalities" / "structured" / "table.parquet")
    others = table.select(pl.col("^other_.*$")).to_numpy()
    assert others.shape[1] == 12
    assert np.linalg.matrix_rank(others - others.mean(0)) == 3
    factors = columns_of(place, "cxr")[:, 2:]
    assert factors.shape[1] == 8
    np.testing.assert_allclose(factors.std(0), 2.5, rtol=0.1)
    words = np.load(place / "modalities" / "discharge_note" / "vectors.npy")[:, 16:]
    assert words.shape[1] == 200
    assert set(np.unique(words)) == {0.0, 1.0}
    assert words.mean() == pytest.approx(0.04, abs=0.003)
    known = pl.read_parquet(place / "cohort.parquet").filter(pl.col("split") == "train")[f"label/{MIMIC.tasks[0]}"]
    assert known.is_not_null().mean() == pytest.approx(0.3, abs=0.07)


def test_without_a_phrase_in_the_world_the_first_word_is_there_all_the_same() -> None:
    words = cohorts.rare_words(None, 20_000, np.random.default_rng(0))
    assert words[:, 0].mean() == pytest.approx(0.04, abs=0.005)


def test_the_oracle_is_that_of_the_test_rows_in_the_world_of_the_target(written) -> None:
    cell, place = written
    frame = pl.read_parquet(place / "cohort.parquet")
    oracle = pl.read_parquet(place / cohorts.TRUTH)
    assert oracle["row_id"].to_list() == frame.filter(pl.col("split") == "test")["row_id"].to_list()
    *_, (_, world, patients) = cohorts.drawn(cell, 3)
    exact = 1 / (1 + np.exp(-world.outcome_logit(patients.health, patients.worry, patients.pattern, patients.phrase)))
    home = latent.solve(cohorts.configurations(cell)["train"])
    other = 1 / (1 + np.exp(-home.outcome_logit(patients.health, patients.worry, patients.pattern, patients.phrase)))
    for number, task in enumerate(MIMIC.tasks):
        said = oracle[f"oracle/{task}"].to_numpy()
        assert np.abs(said - exact[:, number]).mean() < np.abs(said - other[:, number]).mean()


def test_a_cohort_has_another_name_in_another_world() -> None:
    names = {cell.cohort(replicate) for cell in plan.CELLS.values() for replicate in plan.REPLICATES}
    worlds = {json.dumps([dict(cell.knobs), cell.train_rows]) for cell in plan.CELLS.values()}
    assert len(names) == len(worlds) * len(plan.REPLICATES)


def test_everything_predicted_is_measured() -> None:
    for entry in PREDICTIONS:
        assert entry.part in plan.CELLS[entry.cell].pairs, entry
        assert entry.part in PARTS
        assert entry.low < entry.high
    assert len({(entry.cell, entry.part) for entry in PREDICTIONS}) == len(PREDICTIONS)
    assert set(BEST) <= set(plan.CELLS)
    assert set(BEST.values()) <= set(plan.BASELINES.values())


def test_predictions_on_the_page_are_those_of_the_harness() -> None:
    whole = (ROOT / "docs" / "phases.md").read_text(encoding="utf-8").split(page.MARKER)[0]
    text = whole.split("## Predictions")[1].split("\n## ")[0]
    cells = [line.split("|")[3].replace("\N{MINUS SIGN}", "-") for line in text.splitlines() if line.startswith("|")]
    ranges = set()
    for cell in cells[2:]:
        low, high = re.match(r" (?:(-?[\d.]+) to |above |at most |below )?(-?[\d.]+)", cell).groups()
        if " to " in cell:
            ranges.add((float(low), float(high)))
        else:
            ranges.add((-math.inf, float(high)) if "most" in cell or "below" in cell else (float(high), math.inf))
    assert ranges == {(entry.low, entry.high) for entry in PREDICTIONS}


RUNS = [(cell, method) for cell, world in plan.CELLS.items() for method in world.methods]


def config_of(cell: str, method: str) -> ExperimentConfig:
    return loaded(*(word for word in plan.words(cell, method, 1, "out") if not word.startswith("paths.")))


@cache
def loaded(*words: str) -> ExperimentConfig:
    return load(words)


EXPECTED = {
    "no_conditioning": {"model.fusion.conditioned", "model.additive.slopes"},
    "no_reconstruction": {"objective.reconstruction"},
    "no_contrast": {"objective.contrast"},
    "no_rectifier": {"rectifier.fit"},
    "no_additive": {"model.additive.inverse_penalties", "model.additive.slopes", "model.additive.canonical"},
    "no_piecewise": {"model.encoder.bins"},
    "components_only": {"model.encoder.components"},
    "pretrained": {"objective.pretrain_epochs", "trainer.max_epochs"},
    "no_canonical": {"model.additive.canonical"},
}


def changed(cell: str, method: str) -> set[str]:
    ours, theirs = (flatten(to_plain(config_of(cell, name))) for name in (method, "full"))
    return {key for key in ours | theirs if ours.get(key) != theirs.get(key)} - {"experiment", "paths.runs"}


def test_an_ablation_differs_from_the_full_method_in_its_part_alone() -> None:
    seen = set()
    for cell, method in RUNS:
        if method in EXPECTED:
            assert changed(cell, method) == EXPECTED[method], (cell, method)
            seen.add(method)
    assert seen == set(EXPECTED)


def test_every_run_is_of_its_cell_and_reads_its_settings() -> None:
    for cell, method in RUNS:
        config = config_of(cell, method)
        assert not [line for line in check_ignored(config) if "start_epoch" not in line], (cell, method)
        assert config.evaluation.inner_folds == (3 if cell.endswith(("-few", "-fewest")) else 0)
        assert f"paths.cohort=out/{plan.CELLS[cell].cohort(1)}" in plan.words(cell, method, 1, "out")
        if method not in {"trees", "components_only"}:
            assert config.model.encoder.components == (0 if cell.startswith(("phi", "shared", "unshared")) else 8)
        if method in {"full", *EXPECTED}:
            assert config.rectifier.loss_offset is not cell.startswith("shift")
            assert config.trainer.max_epochs == (
                20 if method == "pretrained" else 8 if cell.endswith(("30k", "60k")) else 12
            )
    slopes = {
        name: config_of("base", name).model.additive.slopes
        for name in ("linear", "piecewise", "products", "hierarchical")
    }
    assert slopes == {"linear": "shared", "piecewise": "shared", "products": "presence", "hierarchical": "pattern"}
    assert [config_of("base", name).model.encoder.bins for name in ("linear", "piecewise")] == [0, 8]


def test_the_runs_on_releases_load() -> None:
    listed = [(cell, "full") for cell in full.CELLS] + [("shared", name) for name in full.CELLS["shared"].methods]
    for cell, method in listed:
        plain = to_plain(load(full.words(cell, method, 1, 1000, "out")))
        knobs = full.CELLS[cell].knobs
        assert {name: plain["simulate"][name] for name in knobs} == dict(knobs)
        assert plain["cohort"]["pretraining_rows"] is (cell in {"shared", "shared-all"})
        assert plain["evaluation"]["inner_folds"] == (3 if 600 * knobs.get("label_share", 1.0) < 1500 else 0)


def test_a_run_is_done_with_its_settings_alone(tmp_path, monkeypatch) -> None:
    config = load(plan.words("base", "full", 1, "out"))
    (tmp_path / run.DONE).write_text(json.dumps({"run": "x", "settings": run.settings("full", config)}))
    assert run.is_done(tmp_path, "full", config)
    assert run.run_of(tmp_path) == tmp_path / "x"
    assert run.is_done(tmp_path, "full", load(plan.words("base", "full", 1, "elsewhere")))
    assert not run.is_done(tmp_path, "full", config_of("base", "no_contrast"))
    other_world = load(plan.words("kappa-0.4", "full", 1, "out"))
    assert not run.is_done(tmp_path, "full", other_world)
    assert not run.is_done(tmp_path, "full", replace(config, seed=2))
    assert not run.is_done(tmp_path, "full", replace(config, model=replace(config.model, modality_dropout=0.1)))
    monkeypatch.setitem(plan.METHODS, "full", replace(plan.METHODS["full"], version=plan.METHODS["full"].version + 1))
    assert not run.is_done(tmp_path, "full", config)


def test_the_first_replicate_of_every_cell_comes_first() -> None:
    assert run.jobs(["a", "b"], [1, 2]) == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


TASKS = ("x", "y")


@pytest.fixture(scope="module")
def toy() -> score.Cell:
    """Two methods and the oracle on three replicates; probabilities with ties."""
    generator, frames = np.random.default_rng(0), []
    for replicate in (1, 2, 3):
        health = generator.standard_normal(120)
        frame = pl.DataFrame({"replicate": np.full(120, replicate)})
        for task in TASKS:
            columns = {f"label/{task}": (health + generator.standard_normal(120) > 0.5).astype(float)}
            for name, noise in (("full", 0.5), ("linear", 1.5), ("oracle", 0.0)):
                said = 1 / (1 + np.exp(-health - noise * generator.standard_normal(120)))
                columns[f"{name}/{task}"] = said.round(2)
            frame = frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
        frames.append(frame)
    return score.Cell(TASKS, pl.concat(frames), {1: "linear", 2: "linear", 3: "trees"})


def by_hand(cell: score.Cell, method: str) -> float:
    return np.mean(
        [
            roc_auc_score(rows[f"label/{task}"], rows[f"{method}/{task}"])
            for _, rows in cell.rows.group_by("replicate")
            for task in TASKS
        ]
    )


def test_scores_are_means_over_tasks_and_replicates(toy) -> None:
    found = score.aurocs(toy, num_replicates=2)
    assert set(found) == {"full", "linear", "oracle"}
    for method, values in found.items():
        assert float(values[0]) == pytest.approx(by_hand(toy, method), abs=1e-12)


def test_intervals_are_those_of_the_paired_difference(toy) -> None:
    (row,) = (row for row in score.rows("base", toy, {"headroom": ("oracle", "linear")}) if row["part"])
    columns = {
        name: torch.cat([torch.from_numpy(toy.rows[f"{name}/{task}"].to_numpy(writable=True)) for task in TASKS])
        for name in ("oracle", "linear", "label")
    }
    height = toy.rows.height
    fold = torch.from_numpy(toy.rows["replicate"].to_numpy(writable=True)).repeat(2)
    expected = paired_difference(
        columns["oracle"], columns["linear"], columns["label"], torch.arange(height).repeat(2),
        fold=fold, repeat=torch.arange(2).repeat_interleave(height), num_replicates=score.NUM_REPLICATES,
    )["auroc"]  # fmt: skip
    assert (row["value"], row["low"], row["high"]) == pytest.approx((expected.value, expected.low, expected.high))
    assert row["rows"] == height
    assert row["replicates"] == 3


def test_a_part_is_judged_by_its_own_prediction(toy) -> None:
    found = list(score.rows("base-60k", toy, {"headroom": ("oracle", "linear"), "trees": ("full", "linear")}))
    judged = {row["part"]: (row["verdict"], row["predicted_high"]) for row in found if row["part"]}
    assert judged == {"headroom": ("fails", 0.0045), "trees": (None, None)}
    assert {row["minus"] for row in found if not row["part"]} == {"oracle"}


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.003, 0.001, 0.009), "holds"), ((0.006, 0.004, 0.008), "open"), ((0.008, 0.006, 0.01), "fails"),
     ((-0.004, -0.005, -0.0005), "open"), ((-0.004, -0.005, -0.002), "fails")],
)  # fmt: skip
def test_verdicts(interval, verdict) -> None:
    assert Prediction("a", "b", -0.001, 0.005).verdict(*interval) == verdict


def test_what_a_method_says_is_after_its_rectifier_and_before_it_apart(tmp_path) -> None:
    for name, columns in {"full": {"rectified/x": [2.0, 0.0]}, "linear": {}}.items():
        (tmp_path / name).mkdir()
        own = {"row_id": [8, 7], "label/x": [True, False], "logit/x": [1.0, -1.0], **columns}
        pl.DataFrame(own).write_parquet(tmp_path / name / "predictions.parquet")
    oracle = pl.DataFrame({"row_id": [7, 8], "oracle/x": [0.3, 0.6]})
    runs = {name: tmp_path / name for name in ("full", "linear")}
    found = score.predictions(runs, oracle, "row_id", "linear").sort("row_id")
    sigmoid = [1 / (1 + math.exp(1.0)), 1 / (1 + math.exp(-1.0))]
    assert found["label/x"].to_list() == [0.0, 1.0]
    assert found["full/x"].to_list() == pytest.approx([0.5, 1 / (1 + math.exp(-2.0))])
    for name in ("before_rectifier", "linear", "best"):
        assert found[f"{name}/x"].to_list() == pytest.approx(sigmoid)


def test_the_best_baseline_is_that_of_val(tmp_path) -> None:
    for number, name in enumerate(plan.BASELINES):
        place = tmp_path / name / "run"
        place.mkdir(parents=True)
        best = 0.9 if name == "hierarchical" else 0.5 + number / 100
        (place / "metrics.csv").write_text(f"step,val/auroc\n1,{best}\n2,0.4\n")
        (tmp_path / name / run.DONE).write_text(json.dumps({"run": "run", "settings": ""}))
    assert score.best_on_val(tmp_path) == "hierarchical"


def test_a_failed_prediction_stays_on_the_page_below_the_text(tmp_path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "phases.md").write_text(f"# By hand\n\n{page.MARKER}\n\nformerly\n")
    common = {"cell": "base-2k", "replicates": 3, "rows": 60, "auroc": 0.7, "low": -0.02, "high": -0.01}
    rows = [
        {**common, "part": "", "method": name, "minus": "oracle", "value": -0.01 - number / 1000}
        for number, name in enumerate(["full", *plan.BASELINES])
    ]
    judged = {"predicted_low": -0.003, "predicted_high": 0.003, "verdict": "fails"}
    rows.append({**common, "part": "lead", "method": "full", "minus": "best", "value": -0.015, **judged})
    others = {**common, "method": "full", "minus": "piecewise", "value": -0.015}
    rows += [{**others, "part": part} for part in ("fusion", "gap", "headroom")]
    rows.append({"cell": "base-2k", "part": "chosen", "method": "trees", "replicates": 1})
    page.write(pl.DataFrame(rows, infer_schema_length=None), tmp_path)
    text = (tmp_path / "phases.md").read_text()
    assert text.startswith(f"# By hand\n\n{page.MARKER}\n\n## Predictions")
    assert "formerly" not in text
    assert (
        "| base-2k | full minus best fair baseline | -0.003 to +0.003 | -0.0150 (-0.0200 to -0.0100) | **fails** |"
        in text
    )
    assert f"Of {len(PREDICTIONS)} ranges: 0 holds, 0 open, 1 fails, {len(PREDICTIONS) - 1} not run." in text
    assert "of: base (0), base-30k (0)," in text
    assert "| nu-0.4 | full minus without piecewise encoding | +0.001 to +0.005 |  | not run |" in text
    assert "| pi-0.9 | hierarchical slopes |  |  | not run |" in text
    assert "| base-2k | linear regression | linear regression | piecewise regression (-0.0010) | holds |" in text
    assert "| base-2k (3) | 0.7100 | -0.0100 |" in text
    assert (tmp_path / "figures" / "phases.png").stat().st_size > 0
    assert pl.read_csv(tmp_path / "phases.csv").height == len(rows)


def test_a_replicate_is_scored_once_it_has_the_full_method_and_all_baselines(tmp_path) -> None:
    for replicate, methods in ((1, score.NEEDED), (2, plan.CELLS["base"].methods[1:]), (3, ())):
        place = tmp_path / "base" / str(replicate)
        for name in methods:
            config = load(plan.words("base", name, replicate, str(place)))
            (place / "runs" / name).mkdir(parents=True)
            content = {"run": "x", "settings": run.settings(name, config)}
            (place / "runs" / name / run.DONE).write_text(json.dumps(content))
    assert {number: set(own) for number, own in score.finished(tmp_path, "base").items()} == {1: set(score.NEEDED)}
