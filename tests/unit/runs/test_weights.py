"""Weights of the train rows of a cohort."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from data_modules import patterns
from data_modules.loading.arrays import ModalityArray
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines import inverse_probability
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.runs import build
from mmnar_lightning.runs.weights import weighted
from tests.conftest import write_custom_cohort


@pytest.fixture
def given(workplace: Path) -> Path:
    """A table that every row has, one of whose columns is not always measured, and vectors that some have."""
    folder = write_custom_cohort(workplace / "given", num_subjects=200)
    path = folder / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    often = pl.when(pl.col("c0") > 0).then(pl.col("c1"))
    table.with_columns(c1=often).write_parquet(path)
    return folder


def composed(given: Path, layer: str, *words: str) -> ExperimentConfig:
    layers = f"experiment=custom,baselines/{layer},baselines/inverse_probability"
    return load([layers, f"paths.cohort={given}", *words])


def opened(config: ExperimentConfig) -> OpenedCohort:
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule.cohort


@pytest.mark.parametrize("layer", ["late_fusion", "boosted_trees"])
def test_train_rows_are_weighted_from_what_all_of_them_have_and_other_rows_have_weight_one(layer: str, given) -> None:
    config = composed(given, layer)
    cohort = opened(config)
    weight = weighted(config, cohort).arrays.weight
    train = cohort.rows("train").numpy()
    table = cohort.arrays.arrays["table"]
    assert isinstance(table, ModalityArray)
    values = table.values[train].astype(float)
    flag = np.isnan(values[:, 1]).astype(float)
    standard = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
    columns = np.column_stack([np.nan_to_num(standard), flag])
    columns = (columns - columns.mean(0)) / np.sqrt(columns.var(0).sum())
    pattern, subject = patterns.encode(cohort.arrays.present[train]).numpy(), cohort.arrays.subject[train].numpy()
    expected = inverse_probability.weights(columns, pattern, subject, 10, 0.99)
    np.testing.assert_allclose(weight[train], expected, rtol=0.01)
    assert weight[train].std() > 0.1
    other = torch.ones(len(weight), dtype=torch.bool)
    other[train] = False
    assert weight[other].tolist() == [1.0] * int(other.sum())
    assert cohort.arrays.weight is None


def test_without_the_setting_there_are_none(given) -> None:
    config = load(["experiment=custom,baselines/late_fusion", f"paths.cohort={given}"])
    cohort = opened(config)
    assert weighted(config, cohort) is cohort


def test_what_no_row_lacks_is_needed(given) -> None:
    config = composed(given, "late_fusion")
    cohort = opened(config)
    cohort.arrays.present[cohort.rows("train")[0], 0] = False
    with pytest.raises(ConfigError, match=r"no modality with one vector per row is present in every train row.* null"):
        weighted(config, cohort)


def test_a_cohort_whose_rows_all_have_the_same_is_refused(given) -> None:
    config = composed(given, "late_fusion")
    cohort = opened(config)
    cohort.arrays.present[:, 1] = True
    with pytest.raises(ValueError, match="so there is nothing to weight"):
        weighted(config, cohort)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["experiment=eicu,baselines/published_score,baselines/inverse_probability"],
            "published_score reads no weights",
        ),
        (["experiment=custom,baselines/inverse_probability"], "and baseline.name=none; choose one"),
        (["experiment=custom,baselines/late_fusion", "baseline.inverse_probability=1.5"], "must be a quantile above 0"),
        (["experiment=custom,baselines/late_fusion", "baseline.inverse_probability=0"], "must be a quantile above 0"),
        (
            [
                "experiment=custom,baselines/boosted_trees,baselines/inverse_probability",
                "baseline.name=tests.helpers.outside_baselines:Estimator",
            ],
            "its class does not say `weighted = True`",
        ),
    ],
)
def test_what_cannot_be_weighted_is_refused(words: list[str], message: str, given) -> None:
    with pytest.raises(ValueError, match=message):
        check_ignored(load([*words, f"paths.cohort={given}"] if "custom" in words[0] else words))


def test_the_weights_of_inner_folds_are_those_of_all_their_rows(given) -> None:
    config = composed(given, "late_fusion", "evaluation.inner_folds=3")
    cohort = opened(config)
    arrays = weighted(config, cohort).arrays
    rows = cohort.rows("train")
    assert float(arrays.weight[rows].mean()) == pytest.approx(1.0)
    batch = arrays.gather(rows[:5])
    assert torch.equal(replace(batch).select(batch.fold[:, 0] >= 0).weight, arrays.weight[rows[:5]])
