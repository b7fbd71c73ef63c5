"""One penalised logistic regression per missingness pattern."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules import patterns
from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, check_vectors
from mmnar_lightning.baselines.logistic_regression import INVERSE_PENALTIES, doubled
from mmnar_lightning.baselines.stored import Tensors, below, prefixed
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.additive_fit import AdditiveFit, Rows
from mmnar_lightning.nn.penalties import candidates_of
from mmnar_lightning.nn.weights import load_weights

MIN_ROWS = 50
"""Fewest labelled train rows of a pattern for a regression of its own."""


class PatternSubmodels:
    """Regressions that share nothing; a pattern with few rows, or one class, is predicted by a regression on all rows.

    Held-out rows choose one penalty per task, for all patterns.

    Source: Mercaldo and Blume, Missing data and prediction: the pattern submodel, Biostatistics 2020 (online 2018).

    Args:
        inputs: modalities, tasks, prior, maps, penalties.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        self.inputs = inputs
        self.heads: dict[int, AdditiveHead] = {}
        self.usable: dict[int, Tensor] = {}
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit every task and pattern with every penalty.

        Args:
            train: all its rows.
            val: likewise.
        """
        check_vectors("pattern_submodels", self.inputs.modalities)
        own, held_out = patterns.encode(train.present), patterns.encode(val.present)
        listed = torch.unique(own).tolist()
        rows, held = (Rows.read(self._head(listed), [batch]) for batch in (train, val))
        self.pooled = self._fitted(rows, listed)
        self.fits: dict[int, AdditiveFit] = {}
        for pattern in listed:
            part = rows.select((own == pattern).numpy())
            self.fits[pattern] = self._fitted(part, listed)
            self.heads[pattern] = self.fits[pattern].head
            self.usable[pattern] = torch.from_numpy(_is_usable(part))
        self.head = self.pooled.head
        losses = self._losses(held, held_out.numpy())
        for task, curve in zip(self.inputs.tasks, losses, strict=True):
            self.losses[task] = curve.tolist()
            self.choose(task, int(np.argmin(curve)) + 1)

    def choose(self, task: str, iteration: int) -> None:
        """Predict a task with a penalty, numbered from 1."""
        self.iterations[task] = iteration
        for fit in (self.pooled, *self.fits.values()):
            fit.choose(list(self.inputs.tasks).index(task), iteration - 1)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, (B, T) float64."""
        exact, pattern = doubled(batch), patterns.encode(batch.present)
        logits: Tensor = self.head.double()(exact)
        for number, head in self.heads.items():
            own = (pattern == number).unsqueeze(1) & self.usable[number]
            logits = torch.where(own, head.double()(exact), logits)
        return torch.sigmoid(logits)

    def store(self) -> Tensors:
        """The pooled regression, and those of the patterns that have enough rows for any task."""
        found = prefixed(self.head.double().state_dict(), "pooled/")
        for number, head in self.heads.items():
            if self.usable[number].any():
                found |= prefixed(head.double().state_dict(), f"{number}/")
                found[f"{number}/usable"] = self.usable[number]
        return found

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take fitted regressions."""
        listed = stored["pooled/pattern"].tolist()
        self.head = self._restored(listed, below(stored, "pooled/"))
        for number in listed:
            own = below(stored, f"{number}/")
            if own:
                self.usable[number] = own.pop("usable")
                self.heads[number] = self._restored(listed, own)

    def _restored(self, listed: list[int], stored: Tensors) -> AdditiveHead:
        head = self._head(listed).to(stored["linear.weight"].dtype)
        load_weights(head, stored, "pattern_submodels")
        return head

    def _head(self, listed: list[int]) -> AdditiveHead:
        inputs = self.inputs
        head = AdditiveHead(inputs.modalities, listed, len(inputs.tasks), inputs.maps, beside=inputs.beside)
        with torch.no_grad():
            head.linear.bias.copy_(inputs.prior)
        return head

    def _fitted(self, rows: Rows, listed: list[int]) -> AdditiveFit:
        head = self._head(listed)
        fit = AdditiveFit(head, candidates_of(head, self.inputs.additive, INVERSE_PENALTIES))
        fit.fit(rows)
        return fit

    def _losses(self, held: Rows, pattern: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-loss of every task and penalty over its known labels, each from the regression of the row, (T, C)."""
        total: NDArray[np.float64] = np.zeros((len(self.inputs.tasks), len(self.pooled.candidates)))
        count = np.zeros((len(self.inputs.tasks), 1))
        for number in np.unique(pattern).tolist():
            part = held.select(pattern == number)
            losses = self.pooled.losses(part)
            if number in self.fits:
                losses = np.where(self.usable[number].numpy()[:, None], self.fits[number].losses(part), losses)
            known = part.label_mask.sum(0)[:, None]
            total += np.where(known > 0, losses * known, 0.0)
            count += known
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _is_usable(rows: Rows) -> NDArray[np.bool_]:
    """(T,) whether the rows of a pattern are enough for a regression of each task."""
    positive = (np.where(rows.label_mask, rows.label, 0.0) > 0).sum(0)
    known = rows.label_mask.sum(0)
    return np.asarray((known >= MIN_ROWS) & (positive > 0) & (positive < known))
