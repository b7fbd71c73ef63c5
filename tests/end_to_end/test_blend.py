"""The mean logit of a network and boosted trees, reported beside the network, on a small custom cohort."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders, protocols, single
from tests.conftest import write_custom_cohort
from tests.helpers.results import check_clusters
from tests.helpers.small_runs import SMALL, results_of

TASKS = ("first", "second")
METRICS = {"auroc": roc_auc_score, "average_precision": average_precision_score, "brier": brier_score_loss}
COMMON = (
    "trainer.progress_bar=false",
    "wandb.enabled=false",
    "evaluation.num_replicates=100",
    "cohort.split.train=0.4",
    "cohort.split.calibration=0.3",
    "cohort.split.test=0.2",
)
RECTIFIED = ("rectifier.min_rows=8", "rectifier.gate=false", "rectifier.start_epoch=1")
NETWORK = (*SMALL, *RECTIFIED, "trainer.max_epochs=2", "optim.lr=0.003")
FOLDS = "evaluation.inner_folds=2"
RATE = "baseline.boosted_trees.learning_rate=0.2"
BLEND = ("evaluation.blend=true", RATE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort whose table has values that were not measured."""
    place = tmp_path_factory.mktemp("blend")
    path = write_custom_cohort(place / "given", num_subjects=240) / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    measured = pl.Series(np.random.default_rng(5).random(table.height) < 0.6)
    table.with_columns(c0=pl.when(measured).then("c0")).write_parquet(path)
    return place


def settings(place: Path, runs: str, *words: str):
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    paths = [f"paths.cohort={place / 'given'}", f"paths.data={place / 'data'}", f"paths.runs={place / runs}"]
    return load(["dataset=custom", *paths, *COMMON, *words])


@pytest.fixture(scope="module")
def blended(place: Path) -> Path:
    """A run of the network with a blend."""
    return single.train(settings(place, "blended", *NETWORK, FOLDS, *BLEND))


def predictions(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "predictions.parquet").sort("row_id")


def check_scores(blend: dict[str, Any], sets: list[tuple[pl.DataFrame, pl.DataFrame]]) -> None:
    """Make every score of a blend again from the predictions of a network and of trees, as means over test sets."""
    for task in TASKS:
        counts, values = set(), []
        for network, trees in sets:
            known = network[f"label/{task}"].is_not_null()
            label = network.filter(known)[f"label/{task}"].to_numpy()
            logit = {
                "network": network.filter(known)[f"rectified/{task}"].to_numpy(),
                "trees": trees.filter(known)[f"logit/{task}"].to_numpy(),
            }
            logit["blend"] = (logit["network"] + logit["trees"]) / 2
            risk = {method: 1 / (1 + np.exp(-own)) for method, own in logit.items()}
            values.append({(name, of): metric(label, risk[of]) for name, metric in METRICS.items() for of in risk})
            counts.add((len(label), label.sum()))
        mean = {key: np.mean([own[key] for own in values]) for key in values[0]}
        for name in METRICS:
            assert blend["tasks"][task]["all"][name]["value"] == pytest.approx(mean[name, "blend"], abs=1e-9)
            assert blend["trees"][task][name]["value"] == pytest.approx(mean[name, "trees"], abs=1e-9)
            for one, other in (("blend", "network"), ("network", "trees")):
                found = blend[f"{one}_minus_{other}"][task]
                assert found[name]["value"] == pytest.approx(mean[name, one] - mean[name, other], abs=1e-9)
                assert found[name]["low"] < found[name]["high"]
                assert {(found["count"], found["positives"])} == counts
        assert mean["brier", "blend"] != pytest.approx(mean["brier", "network"], abs=1e-4), "one is as good as nothing"


def test_a_blend_is_the_mean_logit_of_a_run_of_each_method_on_the_same_folds(place: Path, blended: Path) -> None:
    layer = "experiment=custom,baselines/boosted_trees"
    trees = single.train(settings(place, "trees", layer, FOLDS, RATE))
    grown, both, blend = predictions(trees), predictions(blended), results_of(blended)["blend"]
    for task in TASKS:
        assert both[f"trees/{task}"].to_list() == pytest.approx(grown[f"logit/{task}"].to_list(), abs=1e-12)
        mean = (both[f"rectified/{task}"] + grown[f"logit/{task}"]) / 2
        assert both[f"blend/{task}"].to_list() == pytest.approx(mean.to_list(), abs=1e-12)
        for label in ("11", "10"):
            rows = both.filter(pattern=label).with_columns(pl.col(f"blend/{task}").alias(f"logit/{task}"))
            check_clusters(blend["tasks"][task]["patterns"][label], rows, task, num_replicates=100)
    check_scores(blend, [(both, grown)])
    assert blend["iterations"] == json.loads((trees / "fit.json").read_text())["iterations"]


def test_a_blend_changes_no_bit_of_what_is_reported_of_the_network(place: Path, blended: Path) -> None:
    alone = single.train(settings(place, "alone", *NETWORK, FOLDS))
    found = results_of(blended)
    assert found.pop("blend")
    assert json.dumps(found) == json.dumps(results_of(alone))
    network = predictions(alone)
    assert not [name for name in network.columns if name.startswith(("blend/", "trees/"))]
    assert predictions(blended).select(network.columns).equals(network)


def test_seeds_evaluated_later_fit_the_same_trees_again_and_their_parent_gathers_the_blends(place, blended) -> None:
    seeds = "evaluation.num_seeds=2"
    parent = protocols.train(settings(place, "seeds", *NETWORK, FOLDS, *BLEND, seeds, "evaluate=false"))
    assert not list(parent.rglob("results.json"))
    protocols.evaluate(settings(place, "seeds", *COMMON, f"run={parent}", "trainer.accelerator=cpu"))
    assert results_of(parent / "seed0")["blend"] == results_of(blended)["blend"]
    apart = [predictions(parent / name) for name in ("seed0", "seed1")]
    grown = [own.with_columns(pl.col(f"trees/{task}").alias(f"logit/{task}") for task in TASKS) for own in apart]
    check_scores(results_of(parent)["blend"], list(zip(apart, grown, strict=True)))


def test_settings_of_trees_that_nothing_fits_are_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate=0\.2 is not read: .*evaluation\.blend = true"):
        single.train(settings(place, "refused", *NETWORK, RATE))
    other = ("experiment=custom,baselines/late_fusion", *SMALL[:4], BLEND[0])
    with pytest.raises(ConfigError, match=r"evaluation\.blend=True is not read: it needs baseline\.name = none"):
        single.train(settings(place, "refused", *other))
