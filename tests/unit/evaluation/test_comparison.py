"""Comparisons of predictions: who is better, what is refused, what is masked."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from data_modules.errors import UserError
from mmnar_lightning.evaluation.comparison import compare
from mmnar_lightning.evaluation.scores import Scoring

SCORING = Scoring(num_replicates=200, seed=0, min_count=10)


def predictions(strength: float, seed: int = 0, num_rows: int = 600, rate: float = 0.3) -> pl.DataFrame:
    """Rows whose labels do not depend on strength; the logit reads that much of them."""
    truth = np.random.default_rng(1)
    label = truth.random(num_rows) < rate
    shared = truth.normal(size=num_rows)
    noise = np.random.default_rng((seed, 2)).normal(size=num_rows)
    return pl.DataFrame(
        {
            "row_id": np.arange(num_rows),
            "subject_id": [str(number // 2) for number in range(num_rows)],
            "fold": np.arange(num_rows) // 2 % 3,
            "label/death": pl.Series(label).set(pl.Series(np.arange(num_rows) == 7), None),
            "logit/death": strength * label + shared + noise,
        }
    )


def mean_auroc(folds: list[pl.DataFrame]) -> float:
    return float(np.mean([roc_auc_score(rows["label/death"], rows["logit/death"]) for rows in folds]))


def test_a_better_method_is_better_and_an_equal_one_level() -> None:
    methods = {"good": predictions(3.0), "poor": predictions(0.3, seed=1), "alike": predictions(3.0, seed=2)}
    good, poor, alike = compare(methods, SCORING)
    assert (good.verdict, poor.verdict, alike.verdict) == ("not tested", "better", "level")
    first, second = (rows.drop_nulls("label/death").partition_by("fold") for rows in (methods["good"], methods["poor"]))
    assert poor.difference.value == pytest.approx(mean_auroc(first) - mean_auroc(second))
    assert (good.difference, good.p) == (None, None)
    assert poor.difference.low > 0
    assert poor.corrected == pytest.approx(2 * poor.p)
    assert alike.corrected == pytest.approx(alike.p)
    (_, worse) = compare({"poor": predictions(0.3), "good": predictions(3.0, seed=1)}, SCORING)
    assert worse.verdict == "worse"


def test_the_final_prediction_is_compared() -> None:
    shifted = predictions(0.0, seed=3).with_columns(predictions(3.0)["logit/death"].alias("rectified/death"))
    _, second = compare({"after": shifted, "same": predictions(3.0)}, SCORING)
    assert (second.difference.value, second.p, second.verdict) == (0.0, 1.0, "level")


def test_a_task_without_positives_is_not_tested() -> None:
    found = compare({"one": predictions(1.0, rate=0.0), "two": predictions(1.0, seed=1, rate=0.0)}, SCORING)
    assert [(entry.p, entry.corrected, entry.verdict) for entry in found] == [(None, None, "not tested")] * 2


def test_runs_of_several_seeds_on_one_test_split_have_one_fold() -> None:
    def seeds(strength: float, fold: int | None) -> pl.DataFrame:
        parts = [predictions(strength, seed=seed).with_columns(seed=pl.lit(seed)) for seed in range(2)]
        return pl.concat(parts).with_columns(fold=pl.lit(fold, pl.Int64))

    without, with_one = (
        compare({"good": seeds(3.0, fold), "poor": seeds(0.3, fold)}, SCORING)[1] for fold in (None, 0)
    )
    assert without == with_one
    assert without.difference.value is not None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (predictions(1.0).head(599), "were not tested on the same rows of death"),
        (predictions(1.0).with_columns(~pl.col("label/death")), "the same labels"),
        (predictions(1.0).with_columns(fold=pl.lit(0)), "the same labels and folds"),
        (predictions(1.0).rename({"label/death": "label/other", "logit/death": "logit/other"}), "no task in common"),
    ],
)
def test_methods_that_cannot_be_paired_are_refused(other: pl.DataFrame, said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare({"one": predictions(1.0), "two": other}, SCORING)


def test_a_task_with_few_of_a_class_or_that_is_withheld_is_masked_whole() -> None:
    rare = [predictions(1.0, seed=seed, rate=0.01) for seed in range(2)]
    assert 0 < rare[0]["label/death"].sum() < 10
    shown = [predictions(strength) for strength in (3.0, 0.3)]
    found = compare({"one": rare[0], "two": rare[1]}, SCORING)
    found += compare({"one": shown[0], "two": shown[1]}, SCORING, withheld=["death"])
    assert len(found) == 4
    for entry in found:
        assert (entry.difference, entry.p, entry.verdict) == (None, None, "not tested")
