"""The objective: loss terms first, then one weighted sum."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.losses.assignment import assignment
from mmnar_lightning.losses.contrastive import symmetric_infonce
from mmnar_lightning.losses.multitask import masked_cross_entropy
from mmnar_lightning.losses.reconstruction import reconstruction
from mmnar_lightning.outputs import LeaveOneOut, ModelOutputs, SideHeads

AUXILIARY = ("reconstruction", "contrast", "assignment")
"""Terms that need no label."""


@dataclass(kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms."""

    task_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each task; 1 where it is not named."""
    task_weighting: Literal["fixed", "learned"] = "fixed"
    """`learned` also divides each task by a variance that is learnt (homoscedastic uncertainty)."""
    focal_gamma: float = 0.0
    """Exponent of the focal loss; 0 is cross-entropy."""
    reconstruction: float = 1.0
    """Weight of the reconstruction of hidden modalities; 0 leaves it out."""
    contrast: float = 0.3
    """Weight of the contrast between encodings and reconstructions; 0 leaves it out."""
    assignment: float = 0.5
    """Weight of the prediction of presence from the other modalities; 0 leaves it out."""
    temperature: float = 0.1
    """Of the contrast."""
    pretrain_epochs: int = 0
    """First epochs, with the label-free terms alone."""
    anneal_epochs: int = 20
    """Epochs after these over which the weight of the label-free terms falls from 1 to `auxiliary_floor`."""
    auxiliary_floor: float = 0.1
    """Where that weight ends."""

    def __post_init__(self) -> None:
        """Refuse weights that are negative or no number."""
        for task, weight in self.task_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"objective.task_weights.{task}={weight} must be at least 0 and finite")
        for key in (*AUXILIARY, "focal_gamma", "pretrain_epochs"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ValueError(f"objective.{key}={getattr(self, key)} must be at least 0 and finite")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"objective.temperature={self.temperature} must be above 0 and finite")
        if self.anneal_epochs < 1:
            raise ValueError(f"objective.anneal_epochs={self.anneal_epochs} must be at least 1")
        if not 0 <= self.auxiliary_floor <= 1:
            raise ValueError(f"objective.auxiliary_floor={self.auxiliary_floor} must be in [0, 1]")
        if self.pretrain_epochs and not self.auxiliary:
            raise ValueError(
                f"objective.pretrain_epochs={self.pretrain_epochs}: there is nothing to train without labels; give "
                f"one of {', '.join(AUXILIARY)} a weight"
            )

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Label-free terms with a weight."""
        return tuple(name for name in AUXILIARY if getattr(self, name) > 0)

    def auxiliary_weight(self, epoch: int) -> float:
        """a(epoch), the common weight of the label-free terms.

        >>> config = ObjectiveConfig(pretrain_epochs=2, anneal_epochs=10, auxiliary_floor=0.2)
        >>> [round(config.auxiliary_weight(epoch), 2) for epoch in (0, 2, 7, 12, 50)]
        [1.0, 1.0, 0.6, 0.2, 0.2]
        """
        share = (epoch - self.pretrain_epochs) / self.anneal_epochs
        return 1.0 - (1.0 - self.auxiliary_floor) * min(max(share, 0.0), 1.0)


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
        self.config = config
        weights = torch.tensor([config.task_weights.get(task, 1.0) for task in tasks])
        self.register_buffer("task_weight", weights, persistent=False)
        learned = config.task_weighting == "learned"
        self.log_variance = nn.Parameter(torch.zeros(len(tasks))) if learned else None

    def terms(self, outputs: ModelOutputs, batch: Batch) -> dict[str, Tensor]:
        """Loss terms by name, each a scalar: `task/<name>`, the label-free ones, and what the model itself adds.

        `side/<name>` is the mean over side heads of their loss, each over the rows that it is shown.
        """
        per_task = masked_cross_entropy(outputs.logits, batch.label, batch.label_mask, self.config.focal_gamma)
        if batch.label_share is not None:
            per_task = per_task * batch.label_share
        terms = {f"task/{name}": loss for name, loss in zip(self.tasks, per_task, strict=True)}
        if outputs.side is not None:
            terms |= self._side(outputs.side, batch)
        if outputs.leave_one_out is not None:
            terms |= self._auxiliary(outputs.encodings, outputs.leave_one_out, batch.subject)
        return terms | outputs.terms

    def _side(self, side: SideHeads, batch: Batch) -> dict[str, Tensor]:
        label = batch.label.unsqueeze(1).expand_as(side.logits).flatten(1)
        learnt = (batch.label_mask.unsqueeze(1) & side.shown.unsqueeze(-1)).flatten(1)
        losses = masked_cross_entropy(side.logits.flatten(1), label, learnt, self.config.focal_gamma)
        per_task = losses.view(-1, len(self.tasks)).mean(0)
        return {f"side/{name}": loss for name, loss in zip(self.tasks, per_task, strict=True)}

    def _auxiliary(self, encodings: Tensor, told: LeaveOneOut, subject: Tensor) -> dict[str, Tensor]:
        terms = {}
        paired = told.present & (told.present.sum(1, keepdim=True) >= 2)
        weight = told.weight * paired
        if told.reconstructions is not None and self.config.reconstruction > 0:
            terms["reconstruction"] = reconstruction(told.reconstructions, encodings, weight)
        if told.projected is not None:
            terms["contrast"] = symmetric_infonce(*told.projected, weight > 0, subject, self.config.temperature)
        if told.assignment is not None:
            terms["assignment"] = assignment(told.assignment, told.present, told.assignment_weight)
        return terms

    def forward(self, terms: Mapping[str, Tensor], epoch: int = 0) -> Tensor:
        """The weighted sum of the terms, a scalar; what the model itself adds counts as it comes.

        L = Σ_t w_t L_t + a(epoch) · L_aux, where L_t is a task's own loss plus that of the side heads; in the first
        `pretrain_epochs` L_aux alone. A learned weighting takes exp(−s_t) L_t + s_t / 2 for L_t (Kendall, Gal and
        Cipolla, 2018), s_t the log variance of task t.
        """
        config = self.config
        per_task = torch.stack([terms[f"task/{name}"] + terms.get(f"side/{name}", 0.0) for name in self.tasks])
        if self.log_variance is not None:
            per_task = torch.exp(-self.log_variance) * per_task + self.log_variance / 2
        supervised = (self.task_weight * per_task).sum()
        added = [
            term for name, term in terms.items() if not name.startswith(("task/", "side/")) and name not in AUXILIARY
        ]
        supervised = torch.stack([supervised, *added]).sum()
        label_free = [getattr(config, name) * terms[name] for name in AUXILIARY if name in terms]
        if not label_free:
            return supervised
        labelled = 0.0 if epoch < config.pretrain_epochs else 1.0
        return labelled * supervised + config.auxiliary_weight(epoch) * torch.stack(label_free).sum()
