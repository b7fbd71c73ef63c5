"""Predictions of several runs as one table."""

import math

import polars as pl
import pytest
import torch

from mmnar_lightning.evaluation import prediction_table, scores
from mmnar_lightning.evaluation.results import TaskRisks
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.runs import gather
from mmnar_lightning.runs.gather import PoolingError
from mmnar_lightning.runs.plan import Child
from tests.helpers.results import results_of


def predictions(rows: range, shift: float, rectified: bool = False) -> pl.DataFrame:
    logit = [shift + row / 10 for row in rows]
    frame = pl.DataFrame(
        {
            "row_id": list(rows),
            "subject_id": [f"s{row // 2}" for row in rows],
            "split": ["test"] * len(rows),
            "fold": [row // 2 % 5 for row in rows],
            "pattern": [("11", "10")[row % 2] for row in rows],
            "label/death": [None if row == 3 else row % 3 == 0 for row in rows],
            "logit/death": logit,
            "probability/death": [1 / (1 + math.exp(-value)) for value in logit],
        }
    )
    return frame.with_columns(pl.col("logit/death").alias("rectified/death") + 1) if rectified else frame


def children(*numbers: tuple[int, int | None]) -> list[Child]:
    return [Child("one", seed=seed, fold=fold) for seed, fold in numbers]


def test_averaged_folds_are_means_of_logits_row_by_row_before_and_after_the_rectifier() -> None:
    frames = [predictions(range(6), shift, rectified=True) for shift in (-1.0, 0.0, 4.0)]
    mixed = [frame.sample(fraction=1, shuffle=True, seed=number) for number, frame in enumerate(frames)]
    mean = gather.average_folds(gather.pool(children((0, 0), (0, 1), (0, 2)), mixed))
    assert mean["row_id"].to_list() == list(range(6))
    assert mean["logit/death"].to_list() == pytest.approx([1 + row / 10 for row in range(6)])
    assert mean["rectified/death"].to_list() == pytest.approx([2 + row / 10 for row in range(6)])
    logit = torch.tensor(mean["logit/death"].to_list(), dtype=torch.float64)
    assert mean["probability/death"].to_list() == pytest.approx(logit.sigmoid().tolist())
    for name in ("subject_id", "pattern", "label/death"):
        assert mean[name].equals(frames[0][name])


def test_seeds_are_averaged_apart() -> None:
    frames = [predictions(range(4), shift) for shift in (0.0, 2.0, 10.0, 20.0)]
    mean = gather.average_folds(gather.pool(children((0, 0), (0, 1), (1, 0), (1, 1)), frames))
    assert mean.filter(seed=0)["logit/death"][0] == pytest.approx(1)
    assert mean.filter(seed=1)["logit/death"][0] == pytest.approx(15)


def test_a_logit_without_end_does_not_swallow_the_others() -> None:
    frames = [
        predictions(range(4), 0.0),
        predictions(range(4), 0.0).with_columns(pl.lit(math.inf).alias("logit/death")),
    ]
    mean = gather.average_folds(gather.pool(children((0, 0), (0, 1)), frames))
    assert mean["logit/death"][0] == pytest.approx(gather.MAX_LOGIT / 2)


def test_a_row_that_some_fold_lacks_is_refused() -> None:
    pooled = gather.pool(children((0, 0), (0, 1)), [predictions(range(4), 0.0), predictions(range(5), 0.0)])
    with pytest.raises(PoolingError, match="1 test rows are not predicted in every fold"):
        gather.average_folds(pooled)


def test_a_row_tested_in_two_folds_or_by_one_seed_alone_is_refused() -> None:
    apart = gather.pool(children((0, 0), (0, 1)), [predictions(range(4), 0.0), predictions(range(4, 7), 0.0)])
    gather.require_once(apart)
    overlapping = gather.pool(children((0, 0), (0, 1)), [predictions(range(4), 0.0), predictions(range(3, 7), 0.0)])
    with pytest.raises(PoolingError, match="1 test rows are not predicted once per seed"):
        gather.require_once(overlapping)
    uneven = gather.pool(children((0, None), (1, None)), [predictions(range(4), 0.0), predictions(range(6), 0.0)])
    with pytest.raises(PoolingError, match="2 test rows are not predicted once per seed"):
        gather.require_once(uneven)


def test_predictions_read_back_are_the_rows_that_were_scored() -> None:
    frame = predictions(range(8), -0.5)
    rows = gather.as_rows(frame, ["death"], "logit/")
    cohort = frame.select("row_id", "subject_id", "split", "fold")
    again = prediction_table.predictions(rows, cohort, ["death"], torch.tensor([1, 3])).drop("unseen_pattern")
    assert again.drop("probability/death", "logit/death").equals(
        frame.select(again.columns).drop("probability/death", "logit/death")
    )
    assert again["logit/death"].to_list() == pytest.approx(frame["logit/death"].to_list())
    assert rows.label_mask[:, 0].tolist() == [row != 3 for row in range(8)]


def test_counts_are_of_rows_and_not_of_repeats_of_them() -> None:
    frames = [predictions(range(8), shift) for shift in (0.0, 1.0, 2.0)]
    pooled = gather.pool(children((0, None), (1, None), (2, None)), frames)
    repeat = gather.tensor(pooled["seed"])
    rows = gather.as_rows(pooled, ["death"], "logit/")
    scoring = scores.Scoring(num_replicates=100, seed=0, min_count=10)
    scored = to_json(scores.score(rows, ["death"], [3, 1, 2], scoring, repeat=repeat))["death"]
    assert (scored["all"]["count"], scored["all"]["positives"], scored["all"]["subjects"]) == (7, 2, 4)
    assert scored["patterns"]["10"]["count"] == 3
    assert scored["patterns"]["01"]["count"] == 0
    assert scored["all"]["auroc"]["num_parts"] == 3
    assert sum(scored["all"]["reliability"]["count"]) == 7


def risk(value: float | None, count: int) -> dict:
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.1, "high": value + 0.2}
    return {"value": value, **ends, "count": count, "labelled": count // 2}


def test_an_estimate_is_averaged_over_the_runs_that_have_it_and_says_how_many_these_are() -> None:
    reported = [
        {"all": risk(0.2, 100), "patterns": {"11": risk(0.1, 60), "10": risk(None, 0)}},
        {"all": risk(0.4, 120), "patterns": {"11": risk(None, 4), "10": risk(None, 2)}},
        {"all": risk(0.6, 110), "patterns": {"11": risk(0.3, 80), "10": risk(None, 4)}},
    ]
    risks = [{"death": from_json(TaskRisks, one)} for one in reported]
    _, found = gather.average_rectifiers([results_of(rectifier={}, mean_risk=one) for one in risks])
    mean = to_json(found["death"])
    expected = {"value": 0.4, "low": 0.3, "high": 0.6, "count": 110, "labelled": 55, "runs": 3}
    assert mean["all"] == pytest.approx(expected)
    some = {"value": 0.2, "low": 0.1, "high": 0.4, "count": 70, "labelled": 35, "runs": 2}
    assert mean["patterns"]["11"] == pytest.approx(some)
    assert mean["patterns"]["10"] == {**risk(None, 2), "runs": 0}


def test_a_pattern_is_unseen_if_one_of_the_averaged_models_has_not_seen_it() -> None:
    frames = [predictions(range(4), 0.0).with_columns(unseen_pattern=pl.lit(unseen)) for unseen in (False, True)]
    assert gather.average_folds(gather.pool(children((0, 0), (0, 1)), frames))["unseen_pattern"].all()
