"""The objective: loss terms first, then one weighted sum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.losses.multitask import masked_cross_entropy
from mmnar_lightning.outputs import ModelOutputs


@dataclass(kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms."""

    task_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each task; 1 where it is not named."""

    def __post_init__(self) -> None:
        """Refuse weights that are negative or no number."""
        for task, weight in self.task_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"objective.task_weights.{task}={weight} must be at least 0 and finite")


class Objective(nn.Module):
    """Terms of a batch and their weighted sum.

    Args:
        tasks: T task names, in the order of the logits.
        config: weights.

    Raises:
        ValueError: when a weight names a task that there is not.
    """

    task_weight: Tensor

    def __init__(self, tasks: Sequence[str], config: ObjectiveConfig) -> None:
        super().__init__()
        unknown = sorted(set(config.task_weights) - set(tasks))
        if unknown:
            raise ValueError(f"objective.task_weights: {', '.join(unknown)} is no task of the cohort ({tasks})")
        self.tasks = list(tasks)
        weights = torch.tensor([config.task_weights.get(task, 1.0) for task in tasks])
        self.register_buffer("task_weight", weights, persistent=False)

    def terms(self, outputs: ModelOutputs, batch: Batch) -> dict[str, Tensor]:
        """Loss terms by name, each a scalar: `task/<name>` and what the model itself adds."""
        per_task = masked_cross_entropy(outputs.logits, batch.label, batch.label_mask)
        tasks = {f"task/{name}": loss for name, loss in zip(self.tasks, per_task, strict=True)}
        return tasks | outputs.terms

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the terms, a scalar; what the model itself adds counts as it comes."""
        names = [f"task/{name}" for name in self.tasks]
        per_task = torch.stack([terms[name] for name in names])
        added = [term for name, term in terms.items() if name not in names]
        return torch.stack([(self.task_weight * per_task).sum(), *added]).sum()
