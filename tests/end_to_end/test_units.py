"""The units of a table change no prediction: raw values, bins, straight columns and axes."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, single
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL

COLUMNS = 5
SCALE, SHIFT = np.array([1.0, 1e3, 1e-2, 40.0, 7.0]), np.array([0.0, 250.0, -3.0, 1e3, 0.0])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same cohort in other units; a third of the values of a column is not measured."""
    found = {}
    for name, scale, shift in (("one", np.ones(COLUMNS), np.zeros(COLUMNS)), ("other", SCALE, SHIFT)):
        folder = write_custom_cohort(tmp_path_factory.mktemp(name) / "given", num_subjects=200)
        path = folder / "modalities" / "table" / "table.parquet"
        table = pl.read_parquet(path)
        changed = [(pl.col(f"c{place}") * scale[place] + shift[place]) for place in range(COLUMNS)]
        seldom = pl.when(pl.col("row_id") % 3 > 0).then("c3")
        table.with_columns(changed).with_columns(c3=seldom).write_parquet(path)
        found[name] = folder
    return found


@pytest.mark.parametrize("bins", [0, 4])
@pytest.mark.parametrize("slopes", ["shared", "pattern"])
def test_predictions_are_those_in_other_units(given: dict[str, Path], tmp_path: Path, bins: int, slopes: str) -> None:
    logits = []
    for name, cohort in given.items():
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        words = [word for word in SMALL if not word.startswith(("model.", "loader."))]
        paths = [f"paths.cohort={cohort}", f"paths.data={tmp_path / name / 'data'}", f"paths.runs={tmp_path / name}"]
        settings = [f"model.encoder.bins={bins}", f"model.additive.slopes={slopes}", "model.additive.canonical=2"]
        words = ["dataset=custom", "experiment=custom,baselines/logistic_regression", *words, *paths, *settings]
        predicted = pl.read_parquet(single.train(load(words)) / folders.PREDICTIONS).sort("row_id")
        logits.append(predicted.select("^logit/.*$").to_numpy())
    assert np.ptp(logits[0]) > 1
    np.testing.assert_allclose(logits[1], logits[0], atol=0.02)
