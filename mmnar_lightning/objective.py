"""The objective: loss terms and their weighted sum."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import TaskKind
from mmnar_lightning.losses.assignment import assignment
from mmnar_lightning.losses.config import AUXILIARY, ObjectiveConfig, Weights
from mmnar_lightning.losses.contrastive import symmetric_infonce
from mmnar_lightning.losses.multitask import masked_cross_entropy, masked_huber
from mmnar_lightning.losses.reconstruction import reconstruction
from mmnar_lightning.outputs import LeaveOneOut, ModelOutputs, SideHeads


class Objective(nn.Module):
    """Terms of a batch and their weighted sum.

    Args:
        tasks: T task names, in the order of the logits.
        config: weights.
        kind: of the tasks.

    Raises:
        UserError: if a weight names an unknown task.
    """

    task_weight: Tensor

    def __init__(self, tasks: Sequence[str], config: ObjectiveConfig, kind: TaskKind = "binary") -> None:
        super().__init__()
        unknown = sorted(set(config.task_weights) - set(tasks))
        if unknown:
            raise UserError(f"objective.task_weights: {', '.join(unknown)} is no task of the cohort ({tasks})")
        self.tasks = list(tasks)
        self.config, self.kind = config, kind
        weights = torch.tensor([config.task_weights.get(task, 1.0) for task in tasks])
        self.register_buffer("task_weight", weights, persistent=False)
        learned = config.task_weighting == "learned"
        self.log_variance = nn.Parameter(torch.zeros(len(tasks))) if learned else None

    def terms(self, outputs: ModelOutputs, batch: Batch) -> dict[str, Tensor]:
        """Loss terms of a batch.

        Args:
            outputs: of the model.
            batch: B rows.

        Returns:
            Name -> scalar: `task/<name>`; `side/<name>`, the mean loss of the side heads, each over the rows that it is
            shown; the label-free terms; and the model's own terms.
        """
        per_task = self._loss(outputs.logits, batch.label, batch.label_mask, batch.weight)
        if batch.label_share is not None:
            per_task = per_task * batch.label_share
        terms = {f"task/{name}": loss for name, loss in zip(self.tasks, per_task, strict=True)}
        if outputs.side is not None:
            terms |= self._side(outputs.side, batch)
        if outputs.leave_one_out is not None:
            terms |= self._auxiliary(outputs.encodings, outputs.leave_one_out, batch)
        return terms | outputs.terms

    def _loss(self, logits: Tensor, label: Tensor, known: Tensor, weight: Tensor | None) -> Tensor:
        """Mean loss of each column."""
        if self.kind == "value":
            return masked_huber(logits, label, known, weight)
        return masked_cross_entropy(logits, label, known, self.config.focal_gamma, weight)

    def _side(self, side: SideHeads, batch: Batch) -> dict[str, Tensor]:
        label = batch.label.unsqueeze(1).expand_as(side.logits).flatten(1)
        trained = (batch.label_mask.unsqueeze(1) & side.shown.unsqueeze(-1)).flatten(1)
        losses = self._loss(side.logits.flatten(1), label, trained, batch.weight)
        per_task = losses.view(-1, len(self.tasks)).mean(0)
        return {f"side/{name}": loss for name, loss in zip(self.tasks, per_task, strict=True)}

    def _auxiliary(self, encodings: Tensor, leave_one_out: LeaveOneOut, batch: Batch) -> dict[str, Tensor]:
        terms = {}
        paired = leave_one_out.present & (leave_one_out.present.sum(1, keepdim=True) >= 2)
        weight = leave_one_out.weight * paired
        if leave_one_out.reconstructions is not None and self.config.reconstruction > 0:
            terms["reconstruction"] = reconstruction(leave_one_out.reconstructions, encodings, weight)
        if leave_one_out.projected is not None:
            terms["contrast"] = symmetric_infonce(
                *leave_one_out.projected, weight > 0, batch.subject, self.config.temperature, batch.rank_rows
            )
        if leave_one_out.assignment is not None:
            terms["assignment"] = assignment(
                leave_one_out.assignment, leave_one_out.present, leave_one_out.assignment_weight
            )
        return terms

    def forward(self, terms: Mapping[str, Tensor], epoch: int = 0) -> Tensor:
        """The weighted sum of the terms.

        L = Σ_t w_t L_t + a(epoch) · L_aux, where L_t is the loss of a task plus that of its side heads; in the first
        `pretrain_epochs` L_aux alone. Learned weighting replaces L_t by exp(−s_t) L_t + s_t / 2, with s_t the log
        variance of task t (Kendall, Gal and Cipolla, 2018). The model's own terms have weight 1.

        Args:
            terms: name -> scalar, as from `terms`.
            epoch: from 0.

        Returns:
            Scalar.
        """
        return self.weighted(terms, self.config.weights(epoch))

    def weighted(self, terms: Mapping[str, Tensor], weights: Weights) -> Tensor:
        """The weighted sum of the terms, as `forward`.

        Args:
            terms: name -> scalar, as from `terms`.
            weights: of the epoch; not read without label-free terms, where all epochs train the tasks.

        Returns:
            Scalar.
        """
        config = self.config
        per_task = torch.stack([terms[f"task/{name}"] + terms.get(f"side/{name}", 0.0) for name in self.tasks])
        supervised = self.supervised(per_task)
        added = [
            term for name, term in terms.items() if not name.startswith(("task/", "side/")) and name not in AUXILIARY
        ]
        supervised = torch.stack([supervised, *added]).sum()
        label_free = [getattr(config, name) * terms[name] for name in AUXILIARY if name in terms]
        if not label_free:
            return supervised
        total: Tensor = weights.labelled * supervised + weights.label_free * torch.stack(label_free).sum()
        return total

    def supervised(self, per_task: Tensor) -> Tensor:
        """The weighted sum of the losses of the tasks, (T,) -> scalar."""
        if self.log_variance is not None:
            per_task = torch.exp(-self.log_variance) * per_task + self.log_variance / 2
        return (self.task_weight * per_task).sum()
