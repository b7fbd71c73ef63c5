"""Whole runs of baselines on a small custom cohort and on a small simulated release."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.places import experiments_folder
from mmnar_lightning.runs import build, estimator, folders, single
from tests.conftest import write_custom_cohort

EVERY = [
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "evaluation.num_replicates=100",
]
SHIPPED = sorted(
    str(path.relative_to(experiments_folder()).with_suffix(""))
    for folder in ("baselines", "ablations")
    for path in experiments_folder().glob(f"{folder}/*.yaml")
    # A custom cohort has neither published predictions nor a target, and weights are laid over another layer.
    if path.stem not in {"published_score", "joint_refit", "inverse_probability"}
)


@pytest.fixture
def settings(workplace: Path) -> Callable[..., ExperimentConfig]:
    write_custom_cohort(workplace / "given", num_subjects=300)

    def compose(layer: str, *words: str) -> ExperimentConfig:
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        return load([f"experiment=custom,{layer}", f"paths.cohort={workplace / 'given'}", *EVERY, *words])

    return compose


def results_of(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in json.loads((folder / "results.json").read_text()).items() if key != "run_id"}


def auroc_of(folder: Path, task: str) -> float:
    return results_of(folder)["tasks"][task]["all"]["auroc"]["value"]


@pytest.mark.parametrize("layer", SHIPPED)
def test_every_shipped_layer_trains_and_is_evaluated(layer: str, settings) -> None:
    count = 2 if layer.startswith("ablations/") else 1  # the loss offset is fitted after the first one
    epochs = [] if build.is_estimator(settings(layer)) else [f"trainer.max_epochs={count}"]
    folder = single.train(settings(layer, *epochs))
    for name in ("config.yaml", "metrics.csv", "predictions.parquet", "results.json", "DONE", "figures/auroc.png"):
        assert (folder / name).is_file(), name
    assert folder.parent.name == f"custom-{layer.split('/')[1]}"
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    assert {"val/auroc", "val/auroc/first/11", "val/count/second/10"} <= set(logged.columns)


def test_trees_leave_what_every_run_leaves_and_predict_better_than_chance(settings) -> None:
    folder = single.train(settings("baselines/boosted_trees"))
    scored = results_of(folder)
    fit = json.loads((folder / "fit.json").read_text())
    assert scored["checkpoint"] == {"iterations": fit["iterations"], "rows_without_prediction": 0}
    assert auroc_of(folder, "first") > 0.7
    predictions = pl.read_parquet(folder / "predictions.parquet")
    assert predictions["split"].unique().to_list() == ["test"]
    assert scored["tasks"]["second"]["all"]["count"] == predictions["label/second"].drop_nulls().len()
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    losses = logged["val/loss/first"].drop_nulls()
    assert losses.arg_min() + 1 == fit["iterations"]["first"]


def test_labels_of_test_subjects_reach_no_prediction_of_trees(settings, workplace: Path) -> None:
    first = single.train(settings("baselines/boosted_trees", "paths.runs=a"))
    before = pl.read_parquet(first / "predictions.parquet")
    path = workplace / "given" / "cohort.parquet"
    rows = pl.read_parquet(path)
    is_test = rows["row_id"].is_in(before["row_id"].implode())
    turned = pl.when(is_test).then(~pl.col("label/first")).otherwise(pl.col("label/first"))
    rows.with_columns(turned.alias("label/first")).write_parquet(path)
    after = pl.read_parquet(single.train(settings("baselines/boosted_trees", "paths.runs=b")) / "predictions.parquet")
    reported = [column for column in before.columns if not column.startswith("label/")]
    assert after.select(reported).equals(before.select(reported))
    assert not after["label/first"].equals(before["label/first"])


def test_trees_are_fitted_again_to_be_evaluated_and_the_test_rows_are_read_once(settings, monkeypatch, capsys) -> None:
    whole = single.train(settings("baselines/boosted_trees", "paths.runs=whole"))
    folder = single.train(settings("baselines/boosted_trees", "evaluate=false"))
    assert not (folder / "results.json").exists()
    logged = (folder / "metrics.csv").read_bytes()
    assert single.evaluate(settings("baselines/boosted_trees")) == folder
    assert results_of(folder)["tasks"] == results_of(whole)["tasks"]
    assert (folder / "metrics.csv").read_bytes() == logged
    monkeypatch.setattr(estimator, "fit", lambda *_: pytest.fail("fitted again"))
    capsys.readouterr()
    assert single.evaluate(settings("baselines/boosted_trees")) == folder
    assert single.train(settings("baselines/boosted_trees", "resume=last")) == folder
    assert capsys.readouterr().out.count("evaluated before") == 2


def test_a_run_of_trees_that_was_cut_off_is_finished_by_resuming(settings, monkeypatch) -> None:
    usual = estimator.evaluate
    monkeypatch.setattr(estimator, "evaluate", lambda *_: (_ for _ in ()).throw(RuntimeError("stopped on purpose")))
    with pytest.raises(RuntimeError, match="on purpose"):
        single.train(settings("baselines/boosted_trees"))
    monkeypatch.setattr(estimator, "evaluate", usual)
    folder = single.train(settings("baselines/boosted_trees", "resume=last"))
    assert len(list(folder.parent.iterdir())) == 1
    assert (folder / "DONE").is_file()


def test_trees_of_another_cohort_are_not_evaluated(settings, workplace: Path) -> None:
    folder = single.train(settings("baselines/boosted_trees", "evaluate=false"))
    path = workplace / "given" / "cohort.parquet"
    pl.read_parquet(path).with_columns(~pl.col("label/first")).write_parquet(path)
    with pytest.raises(ConfigError, match="was fitted on another cohort"):
        single.evaluate(settings("baselines/boosted_trees", f"run={folder}"))
    assert not (folder / "results.json").exists()


def test_a_refused_setting_leaves_no_folder(settings, workplace: Path) -> None:
    with pytest.raises(ConfigError, match="only one process"):
        single.train(settings("baselines/boosted_trees", "trainer.devices=2"))
    assert not (workplace / "runs").exists()
    assert not (workplace / "data").exists()


def test_a_network_that_is_evaluated_later_gives_what_it_would_have_given_at_once(settings) -> None:
    words = ("trainer.max_epochs=3",)
    whole = single.train(settings("baselines/late_fusion", "paths.runs=whole", *words))
    parts = single.train(settings("baselines/late_fusion", "evaluate=false", *words))
    single.evaluate(settings("baselines/late_fusion"))
    assert results_of(parts) == results_of(whole)


@pytest.mark.parametrize("layer", ["logistic_regression", "late_fusion"])
def test_weights_of_train_rows_change_the_fit_and_a_fit_that_is_repeated_has_the_same(layer: str, settings) -> None:
    found = {}
    few = [] if layer == "logistic_regression" else ["trainer.max_epochs=2"]
    for name, layers in {"plain": layer, "once": f"{layer},baselines/inverse_probability"}.items():
        folder = single.train(settings(f"baselines/{layers}", f"paths.runs={name}", "evaluate=false", *few))
        single.evaluate(settings(f"baselines/{layers}", f"run={folder}"))
        found[name] = pl.read_parquet(folder / "predictions.parquet")["logit/first"].to_numpy()
    again = single.train(settings(f"baselines/{layer},baselines/inverse_probability", "paths.runs=again", *few))
    assert (pl.read_parquet(again / "predictions.parquet")["logit/first"].to_numpy() == found["once"]).all()
    assert abs(found["once"] - found["plain"]).max() > 1e-3


def test_baselines_learn_on_a_simulated_release(workplace: Path) -> None:
    found = {}
    for name in ("boosted_trees", "late_fusion", "mask_only"):
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        epochs = [] if name == "boosted_trees" else ["trainer.max_epochs=4", "optim.lr=3e-3"]
        words = ["simulate.subjects=900", "simulate.images=false", "cohort.split.train=0.5", "cohort.split.test=0.25"]
        words += ["embed.text.encoder=hashed_ngrams", "embed.image.encoder=release"]
        folder = single.train(load([f"experiment=mimic,baselines/{name}", *EVERY, *words, *epochs]))
        found[name] = auroc_of(folder, "mortality_180d")
    assert found["boosted_trees"] > 0.6
    assert found["late_fusion"] > 0.6
    assert found["mask_only"] < max(found["late_fusion"], found["boosted_trees"])
