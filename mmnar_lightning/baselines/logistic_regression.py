"""Penalised logistic regression on the concatenated inputs of all modalities and the pattern."""

import numpy as np
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import ARRAY_KINDS
from mmnar_lightning.baselines.inputs import EMBED_FIRST, BaselineInputs
from mmnar_lightning.nn.additive import AdditiveHead

INVERSE_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Values of C, two decades around the best ones; val chooses one per task by log-loss."""


class LogisticRegression:
    """The initial fit of the model's additive head, with a penalty that val chooses.

    Args:
        inputs: modalities, tasks, prior, axes.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        self.inputs = inputs
        self.heads: list[AdditiveHead] = []
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit every task with every penalty.

        Args:
            train: all its rows, standardised.
            val: likewise.

        Raises:
            UserError: for a modality without one vector per row.
        """
        for modality in self.inputs.modalities:
            if modality.kind not in ARRAY_KINDS:
                raise UserError(
                    f"logistic_regression needs one vector per row, but {modality.name} has {modality.kind}; "
                    f"{EMBED_FIRST}"
                )
        listed = torch.unique(patterns.encode(train.present)).tolist()
        for inverse_penalty in INVERSE_PENALTIES:
            head = AdditiveHead(self.inputs.modalities, listed, len(self.inputs.tasks), self.inputs.axes)
            with torch.no_grad():
                head.linear.bias.copy_(self.inputs.prior)
            head.fit(head.features(train), train.label, train.label_mask, inverse_penalty)
            self.heads.append(head)
        losses = np.stack([_losses(head, val) for head in self.heads])
        for column, task in enumerate(self.inputs.tasks):
            self.losses[task] = losses[:, column].tolist()
            self.iterations[task] = int(losses[:, column].argmin()) + 1

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, (B, T) float64."""
        logits = torch.stack([head.double()(_doubled(batch)) for head in self.heads])
        chosen = torch.tensor([self.iterations[task] - 1 for task in self.inputs.tasks])
        return torch.sigmoid(logits[chosen, :, torch.arange(len(chosen))].T)


@torch.no_grad()
def _losses(head: AdditiveHead, val: Batch) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Compute the log-loss of each task over its known labels, (T,)."""
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        head(val).double(), torch.where(val.label_mask, val.label, 0.0).double(), reduction="none"
    )
    total = torch.where(val.label_mask, each, 0.0).sum(0)
    return np.asarray(total / val.label_mask.sum(0).clamp(min=1))


def _doubled(batch: Batch) -> Batch:
    """Convert inputs to float64: the last bits of a matrix product depend on the number of rows."""
    inputs = {name: values.double() for name, values in batch.inputs.items() if isinstance(values, Tensor)}
    return Batch(**{**vars(batch), "inputs": inputs})
