"""A stack: one penalised logistic regression per modality, combined by another."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, check_vectors
from mmnar_lightning.baselines.logistic_regression import INVERSE_PENALTIES, doubled
from mmnar_lightning.baselines.stored import Tensors, below, prefixed
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.additive_fit import AdditiveFit, Rows, pooled, weight_of
from mmnar_lightning.nn.penalties import candidates_of
from mmnar_lightning.nn.weights import WeightsError, load_weights
from mmnar_lightning.rectifier.gate import NUM_FOLDS, folds

PRESENT = 1
"""Id of the pattern in which a single modality is present."""


class ModalityStack:
    """Level one: each modality alone, on rows that have it. Level two: their logits, zero where absent, and presence.

    Level two is fitted on logits of rows that their level-one model did not see: five folds of subjects within train.
    These also choose the penalty of each modality and task; held-out rows choose that of level two.

    Source: Wolpert, Stacked generalization, Neural Networks 1992; of modalities of hospital records: Soenksen and
    others, npj Digital Medicine 2022.

    Args:
        inputs: modalities, tasks, maps, penalties.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        self.inputs = inputs
        self.heads: list[AdditiveHead] = []
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit both levels.

        Args:
            train: all its rows.
            val: likewise.
        """
        check_vectors("modality_stack", self.inputs.modalities)
        number = folds(train.subject.numpy())
        fitted = [self._fit_modality(place, train, number) for place in range(len(self.inputs.modalities))]
        self.heads = [head for head, _ in fitted]
        design = _design(torch.stack([logits for _, logits in fitted], dim=-1), train.present)
        checked = _design(self._alone(val), val.present)
        width = design.shape[-1]
        self.paths = np.zeros((len(self.inputs.tasks), len(INVERSE_PENALTIES), width + 1))
        for column, task in enumerate(self.inputs.tasks):
            self._fit_task(column, task, design[:, column], train, checked[:, column], val)

    def _fit_modality(self, place: int, train: Batch, number: NDArray[np.int64]) -> tuple[AdditiveHead, Tensor]:
        """The head of a modality on all rows that have it, and its logits of rows that it did not see, (N, T)."""
        alone = self._only(train, place)
        own = alone.present[:, 0].numpy()
        rows = Rows.read(self._head(place), [alone])
        candidates = candidates_of(self._head(place), self.inputs.additive, INVERSE_PENALTIES)
        fits, losses, counts = [], [], []
        for fold in range(NUM_FOLDS):
            held = rows.select(own & (number == fold))
            fits.append(AdditiveFit(self._head(place), candidates))
            fits[-1].fit(rows.select(own & (number != fold)))
            losses.append(fits[-1].losses(held))
            counts.append(held.label_mask.sum(0))
        whole = AdditiveFit(self._head(place), candidates)
        whole.fit(rows.select(own))
        for task in range(len(self.inputs.tasks)):
            best = pooled([found[task].tolist() for found in losses], [count[task] for count in counts])
            for fit in (whole, *fits):
                fit.choose(task, best)
        logits = torch.zeros(len(train), len(self.inputs.tasks), dtype=torch.float64)
        for fold, fit in enumerate(fits):
            chosen = torch.from_numpy(number == fold)
            with torch.no_grad():
                logits[chosen] = fit.head.double()(doubled(alone.select(chosen)))
        return whole.head.double(), logits

    def _fit_task(self, column: int, task: str, design: Tensor, train: Batch, checked: Tensor, val: Batch) -> None:
        from sklearn.linear_model import LogisticRegression

        known, held = train.label_mask[:, column].numpy(), val.label_mask[:, column].numpy()
        label, check = train.label[known, column].numpy(), val.label[held, column].numpy()
        weight = weight_of(train)
        own = None if weight is None else weight[known]
        self.iterations[task], self.losses[task] = 1, []
        if len(np.unique(label)) < 2:
            rate = float(np.mean(np.append(label, [0.0, 1.0])))
            self.paths[column, :, -1] = np.log(rate / (1 - rate))
            return
        for place, inverse in enumerate(INVERSE_PENALTIES):
            fitted: Any = LogisticRegression(C=inverse, max_iter=1000)
            fitted.fit(design[known].numpy(), label, sample_weight=own)
            self.paths[column, place] = np.append(fitted.coef_[0], fitted.intercept_[0])
            if len(check):
                logit = checked[held].numpy() @ fitted.coef_[0] + fitted.intercept_[0]
                self.losses[task].append(float(np.mean(np.logaddexp(0, np.where(check > 0, -logit, logit)))))
        self.choose(task, int(np.argmin(self.losses[task])) + 1 if self.losses[task] else 1)

    def choose(self, task: str, iteration: int) -> None:
        """Predict a task with a penalty of level two, numbered from 1."""
        self.iterations[task] = iteration

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, (B, T) float64."""
        chosen = [self.iterations[task] - 1 for task in self.inputs.tasks]
        weights = torch.from_numpy(self.paths[np.arange(len(chosen)), chosen])
        design = _design(self._alone(batch), batch.present)
        return torch.sigmoid((design * weights[:, :-1]).sum(-1) + weights[:, -1])

    def store(self) -> Tensors:
        """The heads of the modalities, and the weights of level two."""
        found: Tensors = {"paths": torch.from_numpy(self.paths)}
        found["iterations"] = torch.tensor([self.iterations[task] for task in self.inputs.tasks])
        for place, head in enumerate(self.heads):
            found |= prefixed(head.state_dict(), f"{place}/")
        return found

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take fitted levels, of the same tasks."""
        if len(stored["iterations"]) != len(self.inputs.tasks):
            raise WeightsError(f"the stack is of {len(stored['iterations'])} tasks, expected {len(self.inputs.tasks)}")
        self.paths = stored["paths"].numpy()
        self.iterations = dict(zip(self.inputs.tasks, stored["iterations"].tolist(), strict=True))
        self.heads = [self._head(place).double() for place in range(len(self.inputs.modalities))]
        for place, head in enumerate(self.heads):
            load_weights(head, below(stored, f"{place}/"), "modality_stack")

    @torch.no_grad()
    def _alone(self, batch: Batch) -> Tensor:
        """Logits of every modality alone, (B, T, M) float64."""
        found = [head(doubled(self._only(batch, place))) for place, head in enumerate(self.heads)]
        return torch.stack(found, dim=-1)

    def _only(self, batch: Batch, place: int) -> Batch:
        """The rows with one modality."""
        name = self.inputs.modalities[place].name
        return replace(batch, present=batch.present[:, [place]], inputs={name: batch.inputs[name]})

    def _head(self, place: int) -> AdditiveHead:
        inputs = self.inputs
        return AdditiveHead([inputs.modalities[place]], [PRESENT], len(inputs.tasks), inputs.maps, beside=inputs.beside)


def _design(logits: Tensor, present: Tensor) -> Tensor:
    """(B, T, 2M) float64: the logits of (B, T, M), zero where absent, and presence."""
    shown = present[:, None].expand_as(logits)
    return torch.cat([torch.where(shown, logits, 0.0), shown.double()], dim=-1)
