"""Penalised logistic regression, of numbers ridge regression, on the inputs of all modalities and the pattern."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, check_vectors
from mmnar_lightning.baselines.stored import Tensors
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.additive_fit import AdditiveFit, Rows
from mmnar_lightning.nn.canonical import canonical_axes
from mmnar_lightning.nn.penalties import candidates_of
from mmnar_lightning.nn.weights import load_weights

INVERSE_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Values of C without `model.additive.inverse_penalties`; every modality has a total variance of 1."""


class LogisticRegression:
    """The initial fit of the model's additive head, with penalties that held-out rows choose.

    Args:
        inputs: modalities, tasks, prior, maps, penalties and slopes.
        sites: whether each pattern has an intercept of its own at the target.
    """

    def __init__(self, inputs: BaselineInputs, *, sites: bool = False) -> None:
        self.inputs, self.sites = inputs, sites
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit every task with every penalty.

        Args:
            train: all its rows; of a refit, those of the target's calibration split too.
            val: likewise.
        """
        check_vectors("logistic_regression", self.inputs.modalities)
        tasks = self.inputs.tasks
        self.head = self._head(torch.unique(patterns.encode(train.present)).tolist())
        with torch.no_grad():
            self.head.linear.bias.copy_(self.inputs.prior)
        if self.head.canonical_width:
            self.head.set_canonical(canonical_axes([self.head.columns(train)], self.inputs.additive.canonical))
        candidates = candidates_of(self.head, self.inputs.additive, INVERSE_PENALTIES)
        self.path = AdditiveFit(self.head, candidates, self.inputs.kind)
        self.path.fit(Rows.read(self.head, [train]))
        losses = self.path.losses(Rows.read(self.head, [val]))
        for task, own in zip(tasks, losses, strict=True):
            self.losses[task] = own.tolist()
            self.choose(task, int(np.argmin(own)) + 1)

    def _head(self, listed: Sequence[int]) -> AdditiveHead:
        inputs, slopes = self.inputs, self.inputs.additive.slopes
        count = len(inputs.tasks)
        return AdditiveHead(
            inputs.modalities,
            listed,
            count,
            inputs.maps,
            slopes,
            inputs.beside,
            sites=self.sites,
            canonical=inputs.additive.canonical,
        )

    def store(self) -> Tensors:
        """The fitted head."""
        return dict(self.head.double().state_dict())

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take a fitted head."""
        self.head = self._head(stored["pattern"].tolist()).to(stored["linear.weight"].dtype)
        load_weights(self.head, stored, "logistic_regression")

    def choose(self, task: str, iteration: int) -> None:
        """Predict a task with a candidate, numbered from 1."""
        self.iterations[task] = iteration
        self.path.choose(list(self.inputs.tasks).index(task), iteration - 1)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, or standardised numbers, (B, T) float64."""
        found: Tensor = self.head.double()(doubled(batch))
        return found if self.inputs.kind == "value" else torch.sigmoid(found)


def doubled(batch: Batch) -> Batch:
    """Convert inputs to float64: the last bits of a matrix product depend on the number of rows."""
    inputs = {name: values.double() for name, values in batch.inputs.items() if isinstance(values, Tensor)}
    return Batch(**{**vars(batch), "inputs": inputs})
