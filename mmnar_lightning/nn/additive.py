"""The additive head: a linear model of the inputs and the pattern."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from data_modules import patterns as pattern_ids
from data_modules.batch import Batch
from data_modules.vocabulary import ARRAY_KINDS, Modality


class AdditiveHead(nn.Module):
    """Σ_m present_m · W_m x_m + b(pattern), one logit per task, with x_m projected on its principal axes if any.

    Initialised from a penalised logistic regression on the train rows; the task heads start at zero and learn only
    what is not additive. b(pattern) is zero for patterns without train rows.

    Args:
        modalities: M modalities; those with several items per row are not used.
        patterns: P pattern ids of the cohort.
        num_tasks: T.
        axes: modality -> (width, K) float, principal axes that its vectors are projected on first.
    """

    pattern: Tensor

    def __init__(
        self, modalities: Sequence[Modality], patterns: Sequence[int], num_tasks: int, axes: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.names = {
            modality.name: position for position, modality in enumerate(modalities) if modality.kind in ARRAY_KINDS
        }
        widths = {modality.name: modality.width for modality in modalities}
        self.axes = nn.ParameterDict({name: nn.Parameter(axes[name], requires_grad=False) for name in axes})
        self.register_buffer("pattern", torch.tensor(sorted(patterns), dtype=torch.int64))
        width = sum(axes[name].shape[1] if name in axes else widths[name] for name in self.names)
        self.linear = nn.Linear(width + len(patterns), num_tasks)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def features(self, batch: Batch) -> Tensor:
        """(B, F) float: projected inputs, zero where absent, and the one-hot pattern."""
        columns = []
        for name, position in self.names.items():
            values = batch.inputs[name]
            assert isinstance(values, Tensor)
            shown = torch.where(batch.present[:, position, None], values, 0.0)
            columns.append(shown @ self.axes[name] if name in self.axes else shown)
        own = pattern_ids.encode(batch.present)[:, None] == self.pattern
        return torch.cat([*columns, own.to(columns[0])], dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, T) float logits."""
        logits: Tensor = self.linear(self.features(batch))
        return logits

    @torch.no_grad()
    def fit(self, features: Tensor, label: Tensor, label_mask: Tensor, inverse_penalty: float) -> None:
        """Set the weights to those of a logistic regression of each task; a task with one class keeps its weights.

        Args:
            features: (N, F) float, features of the train rows.
            label: (N, T) float, 0 or 1; undefined where unknown.
            label_mask: (N, T) bool.
            inverse_penalty: C of scikit-learn's `LogisticRegression`.
        """
        from sklearn.linear_model import LogisticRegression

        for task in range(label.shape[1]):
            known = label_mask[:, task]
            outcome = label[known, task].numpy()
            if len(np.unique(outcome)) < 2:
                continue
            fitted = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(features[known].double().numpy(), outcome)
            self.linear.weight[task] = torch.from_numpy(fitted.coef_[0])
            self.linear.bias[task] = float(fitted.intercept_[0])
