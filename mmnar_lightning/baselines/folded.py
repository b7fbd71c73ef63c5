"""An estimator over inner folds: one copy per fold and repeat, with common choices, averaged for all other rows."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import TaskKind
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.baselines.stored import Storable, Tensors, below, prefixed
from mmnar_lightning.nn.additive_fit import pooled

LARGEST = 36.0
"""Bound of the logits of certain predictions, so that their mean is finite; sigmoid(36) is the last below 1."""


class FoldedEstimator:
    """Copies of an estimator, each fitted without one inner fold; the held-out rows of all choose the iterations.

    Args:
        build: seed -> an unfitted copy.
        tasks: T names.
        num_folds: K.
        seed: of the first copy.
        kind: of the tasks: logits are averaged, or numbers.
    """

    def __init__(
        self,
        build: Callable[[int], Estimator],
        tasks: Sequence[str],
        num_folds: int,
        seed: int,
        kind: TaskKind = "binary",
    ) -> None:
        self.build, self.kind = build, kind
        self.tasks = list(tasks)
        self.num_folds = num_folds
        self.seed = seed
        self.members: list[Estimator] = []
        self.held: list[tuple[int, int]] = []
        self.iterations: dict[str, int] = {}
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit all copies.

        Args:
            train: all rows of the inner folds, with `fold`.
            val: not read: the held-out rows take its place.
        """
        assert train.fold is not None, "the cohort was opened with inner folds"
        counts = []
        for repeat in range(train.fold.shape[1]):
            for fold in range(self.num_folds):
                held = train.fold[:, repeat] == fold
                member = self.build(self.seed + len(self.members))
                member.fit(train.select(~held), train.select(held))
                self.members.append(member)
                self.held.append((repeat, fold))
                counts.append(train.label_mask[held].sum(0).tolist())
        self.remarks = list(dict.fromkeys(line for member in self.members for line in member.remarks))
        for column, task in enumerate(self.tasks):
            self._choose(task, [own[column] for own in counts])

    def _choose(self, task: str, counts: Sequence[int]) -> None:
        """Let every copy predict a task with the iteration that is best over all held-out rows."""
        curves = [member.losses.get(task, []) for member in self.members]
        used = [(curve, count) for curve, count in zip(curves, counts, strict=True) if curve and count]
        choosable = [member for member in self.members if hasattr(member, "choose")]
        if not used or len(choosable) < len(self.members):
            self.iterations[task], self.losses[task] = self.members[0].iterations.get(task, 0), []
            return
        best = pooled([curve for curve, _ in used], [count for _, count in used])
        length = min(len(curve) for curve, _ in used)
        stacked = np.stack([np.asarray(curve[:length]) for curve, _ in used])
        self.losses[task] = np.average(stacked, axis=0, weights=[count for _, count in used]).tolist()
        self.iterations[task] = best + 1
        for member, curve in zip(choosable, curves, strict=True):
            if curve:
                member.choose(task, best + 1)

    def predict(self, batch: Batch) -> Tensor:
        """Predict as an estimator does, (B, T) float64: by the copies that a row was held out from, or by all."""
        fold = self._no_fold(batch) if batch.fold is None else batch.fold
        logits = torch.stack([self._scored(member.predict(batch).double()) for member in self.members])
        held = torch.stack([fold[:, repeat] == number for repeat, number in self.held])
        used = (held | ~held.any(0)).double()
        weight = (used / used.sum(0)).unsqueeze(-1)
        mean = torch.where(weight > 0, weight * logits, 0.0).sum(0)
        return mean if self.kind == "value" else torch.sigmoid(mean)

    def _scored(self, predicted: Tensor) -> Tensor:
        """What is averaged."""
        return predicted if self.kind == "value" else predicted.logit().clamp(-LARGEST, LARGEST)

    def store(self) -> Tensors:
        """The fitted state of all copies, and the fold that each was held out from."""
        found: Tensors = {"held": torch.tensor(self.held)}
        for number, member in enumerate(self.members):
            if not isinstance(member, Storable):
                raise UserError(f"{type(member).__name__} has no method `store`, so it cannot be stored")
            found |= prefixed(member.store(), f"{number}/")
        return found

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take the state of fitted copies."""
        self.held = [(int(repeat), int(fold)) for repeat, fold in stored["held"]]
        self.members = [self.build(self.seed + number) for number in range(len(self.held))]
        for number, member in enumerate(self.members):
            assert isinstance(member, Storable), "only such copies are stored"
            member.restore(below(stored, f"{number}/"))

    def _no_fold(self, batch: Batch) -> Tensor:
        """(B, R) int64: rows of another cohort, which no copy has seen."""
        return torch.full((len(batch), self.held[-1][0] + 1), -1)
