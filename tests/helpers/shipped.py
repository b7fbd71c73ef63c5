"""Every shipped baseline, fitted as the harness does on cohorts of one's own, such as one of pure noise."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.registry import BASELINES, EstimatorBaseline
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.places import experiments_folder
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build, estimator
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.weights import weighted

TASKS = ("a", "b", "c")
POSITIVE = 0.4
"""Probability of a positive."""
WIDTHS = {"table": 12, "first": 8, "second": 7, "third": 8}
PRESENT = {"table": 1.0, "first": 0.7, "second": 0.5, "third": 0.7}
"""Modality -> probability that a row has it, so that the two most frequent of eight patterns have 50 rows of train."""
OVER = {"inverse_probability": ("logistic_regression", "late_fusion")}
"""Layers over a baseline, and those that they are laid over here: an estimator and a network."""
BATCH, STEPS, RATE = 128, 15, 0.01
"""Of the training of networks: enough to learn noise by heart."""


def _methods() -> dict[str, tuple[str, ...]]:
    """Every file of experiments/baselines as a method: its name -> the layers of its experiment."""
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(path.stem for path in (experiments_folder() / "baselines").glob("*.yaml")):
        for base in OVER.get(name, ("",)):
            found[f"{name} over {base}" if base else name] = (base, name) if base else (name,)
    return found


METHODS = _methods()


def baseline(method: str) -> str:
    """`baseline.name` of a method."""
    path = experiments_folder() / "baselines" / f"{METHODS[method][0]}.yaml"
    return str(yaml.safe_load(path.read_text()).get("baseline", {}).get("name", "none"))


def is_estimator(method: str) -> bool:
    """Whether a method is fitted without Lightning and so has no rectifier."""
    return isinstance(BASELINES.get(baseline(method)), EstimatorBaseline)


def experiment(method: str) -> str:
    """The word that chooses a method."""
    return ",".join(["experiment=custom", *(f"baselines/{layer}" for layer in METHODS[method])])


def narrow(patch: pytest.MonkeyPatch, width: int = 32) -> None:
    """Build networks of another width, in a fraction of the time."""
    for name in BASELINES:
        module = import_module(f"mmnar_lightning.baselines.{name}")
        if hasattr(module, "DIM"):
            patch.setattr(module, "DIM", width)


def write_noise(folder: Path, num_rows: int, seed: int = 0) -> Path:
    """Write a cohort whose inputs, presence and labels are independent, one row a subject."""
    generator = np.random.default_rng(seed)
    present = {name: generator.random(num_rows) < share for name, share in PRESENT.items()}
    drawn = {task: pl.Series(generator.random(num_rows) < POSITIVE) for task in TASKS}
    values = {name: generator.normal(size=(num_rows, width)) for name, width in WIDTHS.items()}
    return write_cohort(folder, present, values, drawn, tables=["table"])


def write_cohort(
    folder: Path,
    present: Mapping[str, NDArray[np.bool_]],
    values: Mapping[str, NDArray[Any]],
    label: Mapping[str, pl.Series],
    tables: Collection[str],
) -> Path:
    """Write a cohort that obeys docs/cohort.md, one row a subject; modalities that are no tables are vectors."""
    folder.mkdir(parents=True)
    num_rows = len(next(iter(present.values())))
    number = np.arange(num_rows)
    pl.DataFrame(
        {
            "row_id": number,
            "subject_id": [f"s{row:05d}" for row in range(num_rows)],
            **{f"label/{task}": column for task, column in label.items()},
            **{f"present/{name}": there for name, there in present.items()},
        }
    ).write_parquet(folder / "cohort.parquet")
    for name, own in values.items():
        kept = np.where(present[name][:, None], own, np.nan).astype(np.float32)
        place = folder / "modalities" / name
        place.mkdir(parents=True)
        if name in tables:
            columns = {f"c{column}": kept[:, column] for column in range(kept.shape[1])}
            pl.DataFrame({"row_id": number, **columns}).write_parquet(place / "table.parquet")
        else:
            np.save(place / "vectors.npy", kept)
    return folder


@dataclass(frozen=True)
class Fitted:
    """A model of one run, fitted on the train rows of its cohort as the harness splits it.

    Attributes:
        cohort: as the model reads it.
        predict: batch -> logits, (B, T).
        module: of a network.
    """

    cohort: OpenedCohort
    predict: Callable[[Batch], Tensor]
    module: MMNARModule | None = None

    @cached_property
    def test(self) -> tuple[Batch, Tensor]:
        """The test rows, and the logits of them."""
        return self.of(self.cohort.rows("test"))

    def of(self, rows: Tensor) -> tuple[Batch, Tensor]:
        """Rows, and the logits of them; with inner folds those of all copies, of rows that each was fitted on too."""
        batch = replace(self.cohort.arrays.gather(rows), fold=None)
        with torch.no_grad():
            return batch, self.predict(batch)


def fit(
    config: ExperimentConfig,
    folder: Path,
    steps: int = STEPS,
    change: Callable[[OpenedCohort], OpenedCohort] = lambda cohort: cohort,
) -> Fitted:
    """Fit the method of a run: an estimator as a run does, a network in a few steps of the run's module and loss.

    Args:
        config: of a run.
        folder: of its files, which exists.
        steps: of the training of a network.
        change: what is done to the opened cohort before the fit.

    Returns:
        The fitted model.
    """
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    datamodule.use(change(datamodule.cohort))
    if build.is_estimator(config):
        found = estimator.fit(Run(config, datamodule, folder))
        return Fitted(datamodule.cohort, lambda batch: found.predict(batch).double().logit())
    module = build.build_module(config, datamodule.cohort)
    cohort = weighted(config, datamodule.cohort)
    _train(module, cohort.arrays.gather(cohort.rows("train")), steps)
    return Fitted(cohort, lambda batch: module.eval()(batch).logits, module)


def _train(module: MMNARModule, rows: Batch, steps: int) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(0)
    objective: Any = module.objective
    for _ in range(steps):
        drawn = torch.randperm(len(rows), generator=generator)[:BATCH]
        batch = rows.select(torch.zeros(len(rows), dtype=torch.bool).index_fill(0, drawn, value=True))
        optimizer.zero_grad()
        objective(objective.terms(module.train()(batch), batch)).backward()
        optimizer.step()
