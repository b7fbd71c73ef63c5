"""What holds for every baseline (test_every_baseline.py), for those that are a layer over another or over settings."""

import os
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.loading.arrays import CohortArrays
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines import testing
from mmnar_lightning.baselines.testing import TASKS, Trained, simulated_batch
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders
from tests.helpers.baselines import LEARNT
from tests.helpers.paths import ROOT
from tests.helpers.shipped import METHODS, experiment, fit, narrow, write_cohort

ROWS, STEPS = 900, 60
ALWAYS = "always"
"""A modality that every row has, without which no pattern has a probability."""
VARIANTS = [method for method in METHODS if method not in {*LEARNT, "published_score"}]
WORDS = (
    "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false",
    "cohort.split.train=0.7", "cohort.split.val=0.2", "cohort.split.calibration=0.05", "cohort.split.test=0.05",
)  # fmt: skip
OWN = {
    "bagged_trees": ("evaluation.inner_folds=3",),
    "joint_refit": (
        "cohort.split.num_folds=5", "cohort.split.test_fold=0", "cohort.split.target_calibration=0.5",
    ),
    "modality_dropout": ("model.fusion.dim=32",),
}  # fmt: skip


class Spoiled(CohortArrays):
    """Rows with NaN in the place of absent modalities and of unknown labels."""

    def gather(self, rows: Tensor) -> Batch:
        batch = testing.fill_absent(super().gather(rows), torch.nan)
        return replace(batch, label=batch.label.masked_fill(~batch.label_mask, torch.nan))


def spoiled(cohort: OpenedCohort) -> OpenedCohort:
    arrays = copy(cohort.arrays)
    arrays.__class__ = Spoiled
    arrays.label = arrays.label.masked_fill(~arrays.label_mask, torch.nan)
    return replace(cohort, arrays=arrays)


class Variant(Trained):
    """A layer of experiments/baselines as a run fits it; it is asked for rows of the simulated batch."""

    def __init__(self, method: str, folder: Path, change=lambda cohort: cohort) -> None:
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        given = f"paths.cohort={folder.parent / 'given'}"
        config = load([experiment(method), given, f"paths.data={folder.parent / 'data'}", *WORDS, *OWN.get(method, ())])
        folder.mkdir()
        self.name, self.at_target = method, method == "joint_refit"
        self.predict_wide: Callable[[Batch], Tensor] = fit(config, folder, STEPS, change).predict

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        wide = replace(
            batch,
            present=torch.cat([torch.ones(len(batch), 1, dtype=torch.bool), batch.present], dim=1),
            inputs={ALWAYS: always(batch)} | batch.inputs,
            site=torch.ones(len(batch), dtype=torch.bool) if self.at_target else None,
        )
        return self.predict_wide(wide).sigmoid()


def always(batch: Batch) -> Tensor:
    """Two numbers that depend on the presence of m2 in a row, and nothing else."""
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randn(ROWS + 1, 2, generator=generator)[batch.row_id % (ROWS + 1)]
    return drawn + 0.3 * batch.present[:, 2:].float()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """Method and what is done to its cohort -> the fitted method."""
    place = tmp_path_factory.mktemp("variants")
    batch = simulated_batch(ROWS)
    shown = {ALWAYS: np.ones(ROWS, np.bool_)} | {f"m{m}": batch.present[:, m].numpy() for m in range(3)}
    values = {ALWAYS: always(batch).numpy()} | {name: own.numpy() for name, own in batch.inputs.items()}
    label = {
        task: pl.Series(batch.label[:, column].bool().tolist()).set(
            pl.Series((~batch.label_mask[:, column]).tolist()), None
        )
        for column, task in enumerate(TASKS)
    }
    write_cohort(place / "given", shown, values, label, tables=[ALWAYS, "m0"])
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        yield cache(lambda method, *given: Variant(method, place / f"{method} {len(given)}", *given))


def test_every_file_of_baselines_is_tested_here_or_with_the_names_of_the_registry() -> None:
    files = {path.stem for path in (ROOT / "experiments" / "baselines").glob("*.yaml")}
    assert files == {*LEARNT, "published_score", *(layer for method in VARIANTS for layer in METHODS[method])}


@pytest.mark.parametrize("method", VARIANTS)
def test_a_variant_predicts_rows_one_by_one_and_reads_nothing_that_is_absent(method: str, trained) -> None:
    testing.check_rows(trained(method))
    testing.check_absent(trained(method))


@pytest.mark.parametrize("method", VARIANTS)
def test_a_variant_learns_what_inputs_and_presence_predict(method: str, trained) -> None:
    testing.check_learnt(trained(method))


@pytest.mark.parametrize("method", VARIANTS)
def test_absent_inputs_and_unknown_labels_change_nothing_that_a_variant_learns(method: str, trained) -> None:
    test = simulated_batch(40, seed=2)
    assert torch.equal(trained(method, spoiled).predict(test), trained(method).predict(test))
