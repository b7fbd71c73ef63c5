"""Gradient-boosted trees on all inputs side by side: absent is NaN, which a tree routes, and presence is appended."""

from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.config import BoostedTreesConfig
from mmnar_lightning.baselines.inputs import EMBED_FIRST, Problem, prior_logit

Columns = NDArray[np.float32]

MAX_ITERATIONS = 1000
"""Most trees of a task."""
MIN_LEAF_ROWS = 20
"""Fewest train rows of a leaf."""
LEAF_PENALTY = 1.0
"""L2 penalty of leaf values."""
MAX_FEATURES = 0.5
"""Share of the columns, drawn at random, that a split may choose from."""
WIDE = 64
"""Widest vectors that are read as they are."""


class BoostedTrees:
    """scikit-learn's HistGradientBoostingClassifier for every task.

    Trees are grown on train rows with a known label; val rows choose how many are kept. Of vectors that are wide,
    principal components are taken, fitted on the train rows that have the modality.

    Args:
        problem: modalities, tasks.
        config: sizes.
        seed: of the columns that splits may choose from.
    """

    def __init__(self, problem: Problem, config: BoostedTreesConfig, seed: int) -> None:
        self.problem = problem
        self.config = config
        self.seed = seed
        self.reducers: dict[str, Any] = {}
        self.trees: dict[str, Any] = {}
        self.measured: dict[str, NDArray[np.bool_]] = {}
        self.prior: dict[str, float] = {}
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit every task.

        Args:
            train: all its rows; tables may hold NaN where a value was not measured.
            val: likewise.

        Raises:
            ValueError: when a task has no known label in val, or a modality is no vector a row.
        """
        for position, modality in enumerate(self.problem.modalities):
            self._reduce(modality, _values(train, modality), train.present[:, position].numpy())
        seen, held_out = self._columns(train), self._columns(val)
        prior = prior_logit(train.label, train.label_mask).sigmoid()
        for column, task in enumerate(self.problem.tasks):
            known, checked = train.label_mask[:, column].numpy(), val.label_mask[:, column].numpy()
            labels, checks = train.label[:, column].numpy()[known], val.label[:, column].numpy()[checked]
            self.prior[task] = float(prior[column])
            self._fit_task(task, seen[known], labels, held_out[checked], checks)

    def _fit_task(self, task: str, seen: Columns, label: Columns, held_out: Columns, check: Columns) -> None:
        if len(np.unique(label)) < 2:
            what = "negative" if len(label) and not label.any() else "positive" if len(label) else "unknown"
            self.remarks.append(
                f"{task}: all {len(label) or ''} labels of train are {what}, so boosted_trees gives every row the "
                f"probability {self.prior[task]:.3g}"
            )
            self.iterations[task], self.losses[task] = 0, []
            return
        if not len(check):
            raise ValueError(f"{task} has no known label in val, which chooses the number of trees; leave the task out")
        from sklearn.ensemble import HistGradientBoostingClassifier

        config = self.config
        # A column that no train row measured cannot be binned.
        measured: NDArray[np.bool_] = np.asarray(np.isfinite(seen).any(axis=0))
        self.measured[task] = measured
        trees = HistGradientBoostingClassifier(
            learning_rate=config.learning_rate,
            max_iter=MAX_ITERATIONS,
            max_leaf_nodes=config.max_leaf_nodes,
            min_samples_leaf=MIN_LEAF_ROWS,
            l2_regularization=LEAF_PENALTY,
            max_features=MAX_FEATURES,
            early_stopping=True,
            scoring="loss",
            n_iter_no_change=config.patience,
            random_state=self.seed,
        ).fit(seen[:, measured], label, X_val=held_out[:, measured], y_val=check)
        self.trees[task] = trees
        # The first score is that of no tree at all.
        self.losses[task] = (-trees.validation_score_[1:]).tolist()
        self.iterations[task] = int(np.argmin(self.losses[task])) + 1

    def predict(self, batch: Batch) -> Tensor:
        """Probabilities of a batch, (B, T) float64; a row's are the same alone and in any batch."""
        columns = self._columns(batch)
        probability = np.empty((len(batch), len(self.problem.tasks)))
        for column, task in enumerate(self.problem.tasks):
            probability[:, column] = self.prior[task]
            if task in self.trees and len(batch):
                stages = self.trees[task].staged_predict_proba(columns[:, self.measured[task]])
                probability[:, column] = next(islice(stages, self.iterations[task] - 1, None))[:, 1]
        return torch.from_numpy(probability)

    def _reduce(self, modality: Modality, values: Columns, present: NDArray[np.bool_]) -> None:
        """Fit the principal components of a wide modality."""
        if modality.kind == "table" or modality.width <= WIDE:
            return
        from sklearn.decomposition import PCA

        seen = values[present].astype(np.float64)
        num_components = min(self.config.num_components, modality.width, len(seen) - 1)
        if num_components < 1:
            self.remarks.append(f"{modality.name}: too few train rows have it for components; its presence is read")
            self.reducers[modality.name] = None
            return
        reducer = PCA(num_components, svd_solver="covariance_eigh", random_state=self.seed)
        self.reducers[modality.name] = reducer.fit(seen)

    def _columns(self, batch: Batch) -> Columns:
        """(B, C) float32: the values of every modality, NaN where it is absent, and presence."""
        parts = []
        for position, modality in enumerate(self.problem.modalities):
            present, values = batch.present[:, position].numpy(), _values(batch, modality)
            if modality.name in self.reducers:
                values = _components(self.reducers[modality.name], values, present)
            parts.append(np.where(present[:, None], values, np.nan).astype(np.float32))
        return np.column_stack([*parts, batch.present.numpy().astype(np.float32)])


def _values(batch: Batch, modality: Modality) -> Columns:
    values = batch.inputs[modality.name]
    if not isinstance(values, Tensor):
        raise ValueError(
            f"boosted_trees reads one vector a row, but {modality.name} comes as {modality.kind}; {EMBED_FIRST}"
        )
    array: Columns = values.numpy()
    return array


def _components(reducer: Any, values: Columns, present: NDArray[np.bool_]) -> Columns:
    """Principal components of the present rows, (B, C); the others are NaN."""
    if reducer is None:
        return np.empty((len(values), 0), np.float32)
    # In float64 and then rounded: the last bits of a product depend on how many rows are multiplied at once.
    reduced = np.full((len(values), reducer.n_components_), np.nan, np.float32)
    if present.any():
        reduced[present] = reducer.transform(values[present].astype(np.float64))
    return reduced
