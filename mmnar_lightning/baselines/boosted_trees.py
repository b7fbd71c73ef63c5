"""Gradient-boosted trees on the concatenated inputs, NaN where absent, and presence."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.config import BoostedTreesConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, check_vectors, prior_logit
from mmnar_lightning.baselines.stored import Tensors, below, of_sklearn, to_sklearn
from mmnar_lightning.nn.additive_fit import weight_of
from mmnar_lightning.nn.weights import WeightsError

Columns = NDArray[np.float32]

MAX_ITERATIONS = 1000
"""Most trees of a task."""
PATIENCE = 50
"""Trees without a lower validation log-loss before a task's fit stops; the best number of trees is kept."""
MIN_LEAF_ROWS = 20
"""Fewest train rows of a leaf."""
LEAF_PENALTY = 1.0
"""L2 penalty of leaf values."""
MAX_FEATURES = 0.5
"""Share of the columns, sampled at random, that each split considers."""
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
"""Types of scikit-learn that skops does not list."""
WIDE = 64
"""Widest vectors that are used without principal components."""


class BoostedTrees:
    """One HistGradientBoostingClassifier of scikit-learn per task, of numbers a HistGradientBoostingRegressor.

    Trees are grown on train rows with a known label; val rows choose their number. Wide vectors are reduced to
    principal components, which are fitted on the train rows that have the modality.

    Args:
        inputs: modalities, tasks.
        config: sizes.
        seed: of the columns that splits consider.
    """

    def __init__(self, inputs: BaselineInputs, config: BoostedTreesConfig, seed: int) -> None:
        self.inputs = inputs
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
            train: all its rows; tables may hold NaN for values that were not measured.
            val: likewise.
        """
        check_vectors("boosted_trees", self.inputs.modalities)
        for position, modality in enumerate(self.inputs.modalities):
            self._reduce(modality, _values(train, modality), train.present[:, position].numpy())
        seen, held_out = self._columns(train), self._columns(val)
        prior = torch.zeros(len(self.inputs.tasks))  # the mean of standardised numbers
        if self.inputs.kind == "binary":
            prior = prior_logit(train.label, train.label_mask).sigmoid()
        for column, task in enumerate(self.inputs.tasks):
            known, checked = train.label_mask[:, column].numpy(), val.label_mask[:, column].numpy()
            labels, checks = train.label[:, column].numpy()[known], val.label[:, column].numpy()[checked]
            self.prior[task] = float(prior[column])
            weight = weight_of(train)
            own = None if weight is None else weight[known]
            self._fit_task(task, seen[known], labels, own, held_out[checked], checks)

    def _fit_task(
        self,
        task: str,
        seen: Columns,
        label: Columns,
        weight: NDArray[np.float64] | None,
        held_out: Columns,
        check: Columns,
    ) -> None:
        if len(np.unique(label)) < 2:
            if self.inputs.kind == "value":
                raise UserError(f"{task} does not vary among the train rows of a fold; leave it out of cohort.tasks")
            what = "negative" if len(label) and not label.any() else "positive" if len(label) else "unknown"
            self.remarks.append(
                f"{task}: all {len(label) or ''} labels of train are {what}, so boosted_trees predicts "
                f"{self.prior[task]:.3g} for every row"
            )
            self.iterations[task], self.losses[task] = 0, []
            return
        if not len(check):
            raise UserError(
                f"{task} has no known label in val, which chooses the number of trees; leave it out of cohort.tasks"
            )
        config = self.config
        # A column without a measured train value cannot be binned.
        measured: NDArray[np.bool_] = np.asarray(np.isfinite(seen).any(axis=0))
        self.measured[task] = measured
        trees = self._trees()(
            learning_rate=config.learning_rate,
            max_iter=MAX_ITERATIONS,
            max_leaf_nodes=config.max_leaf_nodes,
            min_samples_leaf=MIN_LEAF_ROWS,
            l2_regularization=LEAF_PENALTY,
            max_features=MAX_FEATURES,
            early_stopping=True,
            scoring="loss",
            n_iter_no_change=PATIENCE,
            random_state=self.seed,
        ).fit(seen[:, measured], label, sample_weight=weight, X_val=held_out[:, measured], y_val=check)
        self.trees[task] = trees
        # The first score is that of zero trees.
        self.losses[task] = (-trees.validation_score_[1:]).tolist()
        self.iterations[task] = int(np.argmin(self.losses[task])) + 1

    def _trees(self) -> Any:
        """The class of the trees of a task; both have log-loss or squared error as their loss."""
        from sklearn import ensemble

        is_value = self.inputs.kind == "value"
        return ensemble.HistGradientBoostingRegressor if is_value else ensemble.HistGradientBoostingClassifier

    def _stages(self, task: str, columns: Columns) -> Any:
        """What the first 1, 2, ... trees of a task predict, (B,) each."""
        if self.inputs.kind == "value":
            return self.trees[task].staged_predict(columns)
        return (found[:, 1] for found in self.trees[task].staged_predict_proba(columns))

    def choose(self, task: str, iteration: int) -> None:
        """Predict a task with its first trees, `iteration` of them."""
        self.iterations[task] = iteration

    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, or numbers, (B, T) float64; those of a row do not depend on the rest of the batch."""
        columns = self._columns(batch)
        probability = np.empty((len(batch), len(self.inputs.tasks)))
        for column, task in enumerate(self.inputs.tasks):
            probability[:, column] = self.prior[task]
            if task in self.trees and len(batch):
                stages = self._stages(task, columns[:, self.measured[task]])
                probability[:, column] = next(islice(stages, self.iterations[task] - 1, None))
        return torch.from_numpy(probability)

    def store(self) -> Tensors:
        """Trees, principal components, and what else a prediction reads."""
        found: Tensors = {"prior": torch.tensor([self.prior[task] for task in self.inputs.tasks], dtype=torch.float64)}
        for place, task in enumerate(self.inputs.tasks):
            if task in self.trees:
                found[f"measured/{place}"] = torch.from_numpy(self.measured[task])
                found[f"iterations/{place}"] = torch.tensor(self.iterations[task])
                found[f"trees/{place}"] = of_sklearn(_without_bins(self.trees[task]))
        for name, reducer in self.reducers.items():
            found[f"reducer/{name}"] = torch.zeros(0, dtype=torch.uint8) if reducer is None else of_sklearn(reducer)
        return found

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take fitted trees, of the same tasks."""
        if len(stored["prior"]) != len(self.inputs.tasks):
            raise WeightsError(f"the trees are of {len(stored['prior'])} tasks, expected {len(self.inputs.tasks)}")
        for place, task in enumerate(self.inputs.tasks):
            self.prior[task] = float(stored["prior"][place])
            if f"trees/{place}" in stored:
                self.measured[task] = stored[f"measured/{place}"].numpy()
                self.iterations[task] = int(stored[f"iterations/{place}"])
                self.trees[task] = to_sklearn(stored[f"trees/{place}"], TRUSTED)
        for name, own in below(stored, "reducer/").items():
            self.reducers[name] = to_sklearn(own, TRUSTED) if len(own) else None

    def _reduce(self, modality: Modality, values: Columns, present: NDArray[np.bool_]) -> None:
        """Fit the principal components of a wide modality."""
        if modality.kind == "table" or modality.width <= WIDE:
            return
        from sklearn.decomposition import PCA

        seen = values[present].astype(np.float64)
        num_components = min(self.config.num_components, modality.width, len(seen) - 1)
        if num_components < 1:
            self.remarks.append(
                f"{modality.name}: too few train rows have it for principal components; only its presence is used"
            )
            self.reducers[modality.name] = None
            return
        reducer = PCA(num_components, svd_solver="covariance_eigh", random_state=self.seed)
        self.reducers[modality.name] = reducer.fit(seen)

    def _columns(self, batch: Batch) -> Columns:
        """Concatenate the values of all modalities, NaN where absent, and presence, (B, C) float32."""
        parts = []
        for position, modality in enumerate(self.inputs.modalities):
            present, values = batch.present[:, position].numpy(), _values(batch, modality)
            if modality.name in self.reducers:
                values = _components(self.reducers[modality.name], values, present)
            parts.append(np.where(present[:, None], values, np.nan).astype(np.float32))
        return np.column_stack([*parts, batch.present.numpy().astype(np.float32)])


def _without_bins(trees: Any) -> Any:
    """A copy without the edges of all bins, which are values of single rows; trees keep the thresholds of splits."""
    copied = deepcopy(trees)
    copied._bin_mapper.bin_thresholds_ = [edges[:0] for edges in copied._bin_mapper.bin_thresholds_]
    return copied


def _values(batch: Batch, modality: Modality) -> Columns:
    values = batch.inputs[modality.name]
    assert isinstance(values, Tensor), "the fit has refused items"
    array: Columns = values.numpy()
    return array


def _components(reducer: Any, values: Columns, present: NDArray[np.bool_]) -> Columns:
    """Project the present rows on the principal components, (B, C); the others are NaN."""
    if reducer is None:
        return np.empty((len(values), 0), np.float32)
    # In float64, then rounded: the last bits of a matrix product depend on the number of rows.
    reduced = np.full((len(values), reducer.n_components_), np.nan, np.float32)
    if present.any():
        reduced[present] = reducer.transform(values[present].astype(np.float64))
    return reduced
