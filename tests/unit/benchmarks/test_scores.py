"""What docs/results.md says of a setting: means over tasks and releases, differences on the same rows, shifts."""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from benchmarks.results import score

TASKS, RELEASES, ROWS = ("first", "second"), (1, 2), 150


@pytest.fixture(scope="module")
def setting() -> score.Setting:
    """Two methods on two releases; of a few rows the second label is unknown."""
    generator, frames = np.random.default_rng(0), []
    for release in RELEASES:
        health = generator.standard_normal(ROWS)
        columns = {"release": np.full(ROWS, release), "row_id": np.arange(ROWS), "subject": np.arange(ROWS) // 2}
        columns["subject"] = columns["subject"] + release * score.BLOCK
        frame = pl.DataFrame(columns).with_columns(pattern=pl.Series(generator.choice(["11", "10"], ROWS)))
        for task in TASKS:
            label = pl.Series(health + generator.standard_normal(ROWS) > 0.5)
            unknown = pl.Series(np.arange(ROWS) < (7 if task == "second" else 0))
            frame = frame.with_columns(label.set(unknown, None).alias(f"label/{task}"))
            for method, noise in (("full", 0.3), ("baseline", 1.5)):
                said = expit(health + noise * generator.standard_normal(ROWS))
                frame = frame.with_columns(pl.Series(f"{method}/{task}", said))
        frames.append(frame)
    return score.Setting("one", TASKS, pl.concat(frames), ("full", "baseline"))


def auroc(rows: pl.DataFrame, method: str, task: str) -> float:
    known = rows.drop_nulls(f"label/{task}")
    return roc_auc_score(known[f"label/{task}"], known[f"{method}/{task}"])


def found(rows, **where) -> dict:
    (row,) = (entry for entry in rows if all(entry[key] == value for key, value in where.items()))
    return row


@pytest.mark.parametrize("pattern", ["all", "10"])
def test_scores_are_those_of_each_release_averaged_and_the_mean_that_over_tasks(setting, pattern) -> None:
    reported = list(score.scores(setting, num_replicates=20, by_pattern=True))
    rows = setting.rows if pattern == "all" else setting.rows.filter(pattern=pattern)
    by_release = [rows.filter(release=release) for release in RELEASES]
    row = found(reported, task="second", pattern=pattern, method="baseline", metric="auroc")
    assert row["value"] == pytest.approx(np.mean([auroc(part, "baseline", "second") for part in by_release]))
    assert row["rows"] == rows.drop_nulls("label/second").height
    both = [part.drop_nulls([f"label/{task}" for task in TASKS]) for part in by_release]
    row = found(reported, task="mean", pattern=pattern, method="full", metric="auroc")
    assert row["value"] == pytest.approx(np.mean([auroc(part, "full", task) for part, task in product(both, TASKS)]))
    assert row["low"] < row["value"] < row["high"]


def test_a_mean_is_over_the_releases_in_which_every_task_has_both_classes(setting) -> None:
    lost = (pl.col("release") == 2) & (pl.col("pattern") == "10")
    kept = pl.when(lost).then(pl.lit(value=False)).otherwise(pl.col("label/second"))
    rows = setting.rows.with_columns(kept.alias("label/second"))
    reported = list(score.scores(replace(setting, rows=rows), num_replicates=20, by_pattern=True))
    cell = {"pattern": "10", "method": "full", "metric": "auroc"}
    part = rows.filter(release=1, pattern="10").drop_nulls("label/second")
    row = found(reported, task="mean", **cell)
    assert row["value"] == pytest.approx(np.mean([auroc(part, "full", task) for task in TASKS]))
    assert (row["releases"], row["rows"]) == (1, part.height)
    assert found(reported, task="second", **cell)["releases"] == 1
    assert found(reported, task="first", **cell)["releases"] == 2
    assert found(reported, task="second", **{**cell, "metric": "brier"})["releases"] == 2


def test_differences_are_paired(setting) -> None:
    reported = list(score.differences(setting, [("full", "baseline")], num_replicates=200))
    both = [setting.rows.filter(release=r).drop_nulls([f"label/{task}" for task in TASKS]) for r in RELEASES]
    gains = [auroc(part, "full", task) - auroc(part, "baseline", task) for part, task in product(both, TASKS)]
    row = found(reported, task="mean", metric="auroc")
    assert row["value"] == pytest.approx(np.mean(gains))
    assert 0 < row["low"] < row["value"] < row["high"]
    alone = found(
        score.scores(setting, num_replicates=200, by_pattern=False), task="mean", method="baseline", metric="auroc"
    )
    assert row["high"] - row["low"] < alone["high"] - alone["low"]


def test_at_a_tipping_point_the_baseline_is_as_good(setting) -> None:
    reported = list(score.tipping_points(setting, "full", "baseline"))
    assert {(row["task"], row["pattern"]) for row in reported} == set(product(TASKS, ("11", "10")))
    for row in reported:
        known = setting.rows.drop_nulls(f"label/{row['task']}")
        moved = logit(known[f"full/{row['task']}"].to_numpy())
        own = (known["pattern"] == row["pattern"]).to_numpy()
        assert row["rows"] == own.sum()
        label, baseline = (
            known[f"label/{row['task']}"],
            roc_auc_score(known[f"label/{row['task']}"], known[f"baseline/{row['task']}"]),
        )
        assert roc_auc_score(label, moved) > baseline
        if row["shift"] is not None:
            assert roc_auc_score(label, moved + row["shift"] * own) <= baseline
    assert any(row["shift"] is not None for row in reported)
