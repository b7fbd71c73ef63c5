"""The frozen memory of a cohort: what is read for it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from data_modules.cohorts.config import CustomCohortConfig
from data_modules.datamodule import CustomDataModule
from data_modules.errors import UserError
from data_modules.loading.config import LoaderConfig
from data_modules.loading.opened import OpenedCohort
from data_modules.loading.opening import Reading
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.memory import Memory
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs.memory import frozen_memory
from tests.conftest import write_custom_cohort

CONFIG = load(["dataset=custom", "experiment=custom,baselines/m3care", "paths.cohort=/unread"])
SUBJECTS = 150


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A cohort with a column that few subjects have, and a vocabulary with a frequent and a rare word."""
    folder = write_custom_cohort(tmp_path / "given", num_subjects=SUBJECTS)
    path = folder / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    number = pl.col("row_id")
    table.with_columns(
        pl.when(number < 6).then(pl.lit(123.0)).alias("seldom"),
        (number % 2).cast(pl.Float64).alias("drug/senna"),
        (number < 3).cast(pl.Float64).alias("drug/rare"),
        pl.lit(1.0).alias("drug/distinct"),
    ).write_parquet(path)
    return folder


def opened(folder: Path, data: Path, *, raw: bool = False) -> OpenedCohort:
    datamodule = CustomDataModule(
        source=folder,
        config=CustomCohortConfig(),
        data=data,
        loader=LoaderConfig(),
        reading=Reading(raw_tables=raw),
    )
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule.cohort


def used(memory: Memory, name: str, column: int) -> Tensor:
    """A column of the means that have it, all of which have the table."""
    return memory.inputs[name][memory.present.any(1)][:, column]


def test_a_column_or_word_of_few_subjects_is_read_as_not_measured(given: Path, tmp_path: Path) -> None:
    cohort = opened(given, tmp_path / "data")
    memory = frozen_memory(CONFIG, cohort, {})
    assert int(memory.present.any(1).sum()) > 3
    assert bool((used(memory, "table", 5) == 0).all()), "the train mean"
    assert bool((used(memory, "table", 7) == 0).all()), "the rare word"
    assert len(used(memory, "table", 6).unique()) > 3, "the frequent word"
    raw = frozen_memory(CONFIG, opened(given, tmp_path / "data", raw=True), {})
    assert bool(used(raw, "table", 5).isnan().all())
    shares = used(raw, "table", 6)
    shares = shares[shares.isfinite()]
    assert len(shares) > 3
    assert bool(((shares > 0) & (shares < 1)).all()), "means over all rows, not only over those that have the word"
    assert memory.support == CONFIG.privacy.min_count


def test_rows_of_other_splits_change_nothing(given: Path, tmp_path: Path) -> None:
    cohort = opened(given, tmp_path / "data")
    before = frozen_memory(CONFIG, cohort, {})
    others = np.setdiff1d(np.arange(cohort.table.height), cohort.rows("train").numpy())
    assert len(others) > 50
    for store in cohort.arrays.arrays.values():
        values: Any = np.array(store.values)  # type: ignore[attr-defined]
        values[others] = 1e6
        object.__setattr__(store, "values", values)
    cohort.arrays.present[torch.from_numpy(others)] = True
    after = frozen_memory(CONFIG, cohort, {})
    assert after.present.equal(before.present)
    assert all(after.inputs[name].equal(before.inputs[name]) for name in before.inputs)


def test_items_are_refused_by_name() -> None:
    cohort: Any = SimpleNamespace(modalities=[Modality(name="notes", kind="documents", width=8)])
    with pytest.raises(UserError, match="m3care needs one vector per row, but notes has documents"):
        frozen_memory(CONFIG, cohort, {})
