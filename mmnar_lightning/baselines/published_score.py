"""Published scores of the same rows, for example APACHE's; no input is read.

A score with a published equation is taken as it is, and nothing is fitted. One that has points alone (SOFA, Charlson's
index, or any for a task that its equation does not predict) becomes a probability by a logistic regression on its
points, fitted on train rows: two numbers for each task, which change no rank.
"""

import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.baselines.config import PublishedScoreConfig
from mmnar_lightning.baselines.inputs import BaselineInputs

MAX_STEPS, PRECISION, RIDGE = 50, 1e-10, 1e-6


class PublishedScore:
    """A table of probabilities, or of points, by row id; rows with NaN are not scored.

    Args:
        inputs: tasks, scores and points.
        config: name of the score.

    Raises:
        UserError: for a score that the cohort does not hold, or not for every task.
    """

    def __init__(self, inputs: BaselineInputs, config: PublishedScoreConfig) -> None:
        self.points = inputs.points.get(config.name)
        if config.name not in inputs.scores and self.points is None:
            known = ", ".join(dict.fromkeys((*inputs.scores, *inputs.points))) or "none"
            raise UserError(
                f"baseline.published_score.name={config.name}: this cohort has {known}; eICU has apache_iva if "
                "apachePatientResult is there, and both databases have those of the modality scores"
            )
        unknown = torch.empty((0, len(inputs.tasks)), dtype=torch.float64)
        self.probability = inputs.scores.get(config.name, unknown)
        self.fitted = [self.points is not None and not known for known in self._predicts()]
        empty = [
            task
            for task, known, fitted in zip(inputs.tasks, self._predicts(), self.fitted, strict=True)
            if not known and not fitted
        ]
        if empty:
            raise UserError(
                f"baseline.published_score.name={config.name} predicts no row of {', '.join(empty)}; leave these out "
                "of cohort.tasks"
            )
        self.iterations = dict.fromkeys(inputs.tasks, 0)
        self.losses: dict[str, list[float]] = {task: [] for task in inputs.tasks}
        self.remarks: list[str] = []
        self.lines: list[tuple[float, float]] = []

    def _predicts(self) -> list[bool]:
        """Whether a published equation predicts any row, for each task."""
        some: list[bool] = (~self.probability.isnan()).any(0).tolist()
        return some

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit a line of the logit on the points, for the tasks without a published equation."""
        if self.points is None:
            return
        points = self.points[train.row_id]
        known = train.label_mask & ~points.isnan()[:, None]
        self.lines = [
            logistic(points[known[:, task]], train.label[known[:, task], task].double()) if fitted else (0.0, 0.0)
            for task, fitted in enumerate(self.fitted)
        ]

    def predict(self, batch: Batch) -> Tensor:
        """Look up or compute probabilities, (B, T) float64; NaN where missing."""
        columns = []
        for task, fitted in enumerate(self.fitted):
            if fitted and self.points is not None:
                intercept, slope = self.lines[task]
                columns.append(torch.sigmoid(intercept + slope * self.points[batch.row_id]))
            else:
                columns.append(self.probability[batch.row_id, task])
        return torch.stack(columns, dim=1)


def logistic(points: Tensor, label: Tensor) -> tuple[float, float]:
    """Fit label = sigmoid(intercept + slope · points) by Newton's method.

    A tiny penalty keeps the slope finite where the points separate the classes.

    Args:
        points: (N,) float64.
        label: (N,) float64, 0 or 1.

    Returns:
        Intercept and slope.

    >>> points = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0], dtype=torch.float64)
    >>> label = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    >>> [round(value, 3) for value in logistic(points, label)]
    [-1.099, 1.099]
    """
    centre = points.mean() if len(points) else points.new_zeros(())
    inputs = torch.stack([torch.ones_like(points), points - centre], dim=1)
    weights = inputs.new_zeros(2)
    penalty = RIDGE * torch.eye(2, dtype=inputs.dtype)
    for _ in range(MAX_STEPS):
        probability = torch.sigmoid(inputs @ weights)
        gradient = inputs.T @ (label - probability) - penalty @ weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + penalty
        step = torch.linalg.solve(curvature, gradient).clamp(-5, 5)
        weights = weights + step
        if float(step.abs().max()) < PRECISION:
            break
    return float(weights[0] - weights[1] * centre), float(weights[1])
