"""Fits additive heads: penalised logistic or ridge regressions whose penalties held-out rows choose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data_modules.batch import Batch
from data_modules.vocabulary import TaskKind
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.penalties import Penalty

MAX_ITERATIONS = 1000
"""Of L-BFGS, and of conjugate gradients."""
RIDGE_TOLERANCE = 1e-8
TINY = 1e-12
"""Smallest total variance of a block."""


@dataclass(frozen=True)
class Rows:
    """What a regression reads of some rows.

    Attributes:
        columns: scipy CSR matrix (N, F + P): inputs and one-hot pattern, F + 2P with sites.
        groups: (N, G) bool, the deviations that apply to each row.
        present: (N, blocks) bool, presence of the modality of each block of inputs.
        blocks: width of each block; their sum is F.
        curved: positions of bins among the inputs.
        canonical_width: number of canonical axes, the last of the inputs.
        deviating: positions of the inputs whose slopes may depend on the pattern.
        label: (N, T) float, 0 or 1; undefined where unknown.
        label_mask: (N, T) bool.
        weight: (N,) float, of each row in a fit; None = 1. Losses of held-out rows are not weighted.
    """

    columns: Any
    groups: NDArray[np.bool_]
    present: NDArray[np.bool_]
    blocks: tuple[int, ...]
    curved: Sequence[int]
    canonical_width: int
    deviating: Sequence[int]
    label: NDArray[np.float64]
    label_mask: NDArray[np.bool_]
    weight: NDArray[np.float64] | None = None

    @classmethod
    def read(cls, head: AdditiveHead, batches: Iterable[Batch]) -> "Rows":
        """Read rows in parts; only columns that are not zero are kept in memory."""
        from scipy import sparse

        columns, groups, present, label, mask = [], [], [], [], []
        weight: list[NDArray[np.float64]] = []
        for batch in batches:
            own = torch.cat([head.inputs(batch), head.own_pattern(batch)], dim=1)
            columns.append(sparse.csr_matrix(own.double().numpy()))
            groups.append(head.groups(batch).numpy())
            present.append(head.block_present(batch).numpy())
            label.append(batch.label.double().numpy())
            mask.append(batch.label_mask.numpy())
            if batch.weight is not None:
                weight.append(batch.weight.double().numpy())
        return cls(
            columns=sparse.vstack(columns, format="csr"),
            groups=np.concatenate(groups),
            present=np.concatenate(present),
            blocks=tuple(width for _, width in head.blocks),
            curved=head.curved,
            canonical_width=head.canonical_width,
            deviating=head.deviating,
            label=np.concatenate(label),
            label_mask=np.concatenate(mask),
            weight=np.concatenate(weight) if weight else None,
        )

    def select(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Select rows by a mask, (N,) bool."""
        names = ("columns", "groups", "present", "label", "label_mask")
        weight = None if self.weight is None else self.weight[chosen]
        return replace(self, weight=weight, **{name: getattr(self, name)[chosen] for name in names})

    @property
    def scale(self) -> NDArray[np.float64]:
        """(F,) factors that give every block a total variance of 1 over the rows that have it.

        One penalty then shrinks the contribution of every modality alike, however many columns it has.
        """
        factors, start = [], 0
        for place, width in enumerate(self.blocks):
            own = self.columns[self.present[:, place], start : start + width]
            total = _total_variance(own) if own.shape[0] else 0.0
            factors.append(np.full(width, 1 / np.sqrt(total) if total > TINY else 1.0))
            start += width
        return np.concatenate(factors) if factors else np.ones(0)

    def design(self, scale: NDArray[np.float64], deviation: float, curve: float, share: float, *, slopes: bool) -> Any:
        """The columns times scale and `root_variances`; with `slopes` those of the deviations, times √deviation."""
        from scipy import sparse

        width = sum(self.blocks)
        inputs = self.columns[:, :width] @ sparse.diags(scale * root_variances(width, self, curve, share))
        parts = [inputs, self.columns[:, width:]]
        if slopes:
            deviating = inputs[:, self.deviating] * np.sqrt(deviation)
            parts += [sparse.diags(member.astype(np.float64)) @ deviating for member in self.groups.T]
        design = sparse.hstack(parts, format="csr")
        design.eliminate_zeros()
        return design


class AdditiveFit:
    """The path of candidates of one additive head, fitted on some rows.

    Args:
        head: built, its weights are replaced by `choose`.
        candidates: penalties.
        kind: of the tasks: a logistic regression, or of numbers a ridge regression (Hoerl and Kennard, 1970).
    """

    def __init__(self, head: AdditiveHead, candidates: Sequence[Penalty], kind: TaskKind = "binary") -> None:
        self.head, self.kind = head, kind
        self.slopes = head.deviation is not None
        self.candidates = list(candidates)
        self.weights: list[list[NDArray[np.float64] | None]] = []

    def fit(self, train: Rows) -> None:
        """Fit every candidate on the known labels of each task; a task with one class has no fit."""
        self.scale, self.weights = train.scale, []
        for task in range(train.label.shape[1]):
            known = train.label_mask[:, task]
            outcome = train.label[known, task]
            if len(np.unique(outcome)) < 2:
                self.weights.append([None] * len(self.candidates))
            else:
                self.weights.append(self._path(train, known, outcome))

    def losses(self, held: Rows) -> NDArray[np.float64]:
        """Loss of every task and candidate over its known labels, (T, candidates), NaN without one or a fit.

        Args:
            held: rows that were not fitted.

        Returns:
            The log-loss, of numbers the mean squared error.
        """
        found = np.full((held.label.shape[1], len(self.candidates)), np.nan)
        for ratios in {entry.ratios for entry in self.candidates}:
            design = held.design(self.scale, *ratios, slopes=self.slopes)
            for place, entry in enumerate(self.candidates):
                for task, weights in enumerate(self.weights):
                    known, own = held.label_mask[:, task], weights[place]
                    if entry.ratios == ratios and own is not None and known.any():
                        logit = design[known] @ own[:-1] + own[-1]
                        loss = _squared_error if self.kind == "value" else _log_loss
                        found[task, place] = loss(logit, held.label[known, task])
        return found

    @torch.no_grad()
    def choose(self, task: int, place: int) -> None:
        """Set the head's weights of a task to those of a candidate."""
        head, weights = self.head, self.weights[task][place]
        if weights is None:
            return
        entry, shared = self.candidates[place], head.linear.in_features
        root = self.scale * root_variances(head.width, head, entry.curve, entry.share)
        own = [weights[: head.width] * root, weights[head.width : shared]]
        head.linear.weight[task] = torch.from_numpy(np.concatenate(own))
        head.linear.bias[task] = float(weights[-1])
        if head.deviation is not None:
            scale = root[head.deviating] * np.sqrt(entry.deviation)
            deviation = weights[shared:-1].reshape(head.deviation.shape[0], -1) * scale
            head.deviation[:, task] = torch.from_numpy(deviation).float()

    def _path(
        self, train: Rows, known: NDArray[np.bool_], outcome: NDArray[np.float64]
    ) -> list[NDArray[np.float64] | None]:
        """Fit the candidates in order, each from the one before; weights and, last, the intercept of each."""
        found: list[NDArray[np.float64] | None] = []
        weight = None if train.weight is None else train.weight[known]
        previous: tuple[float, float, float] | None = None
        for entry in self.candidates:
            if entry.ratios != previous:
                design = train.design(self.scale, *entry.ratios, slopes=self.slopes)[known]
                fitted = self._regression()
                previous = entry.ratios
            penalty = {"C": entry.inverse} if self.kind == "binary" else {"alpha": 1 / entry.inverse}
            fitted.set_params(**penalty).fit(design, outcome, sample_weight=weight)
            found.append(np.append(np.ravel(fitted.coef_), fitted.intercept_))
        return found

    def _regression(self) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        if self.kind == "value":
            return Ridge(solver="sparse_cg", tol=RIDGE_TOLERANCE, max_iter=MAX_ITERATIONS)
        return LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)


def root_variances(width: int, inputs: Rows | AdditiveHead, curve: float, share: float) -> NDArray[np.float64]:
    """Roots of the prior variances of slopes, relative to those without curves and axes.

    Args:
        width: F, number of inputs.
        inputs: have the positions of bins and the number of axes.
        curve: of `Penalty`.
        share: likewise.

    Returns:
        (F,): of canonical axes √share, of the others √(1 − share), and of bins also times √curve.
    """
    root = np.full(width, np.sqrt(1 - share))
    root[inputs.curved] *= np.sqrt(curve)
    root[width - inputs.canonical_width :] = np.sqrt(share)
    return root


def weight_of(batch: Batch) -> NDArray[np.float64] | None:
    """The weights of the rows of a batch in a fit, (N,) float64; None = 1."""
    return None if batch.weight is None else batch.weight.double().numpy()


def pooled(losses: Sequence[Sequence[float]], counts: Sequence[float]) -> int:
    """Choose among candidates by their log-loss over all held-out rows.

    Args:
        losses: of each fold, the mean log-loss of each candidate; the shortest fold limits the candidates.
        counts: known labels of each fold; a fold without one, or without a fit, does not count.

    Returns:
        Position of the best candidate.

    >>> pooled([[0.5, 0.4], [0.2, 0.4, 0.1]], [10, 30])
    0
    """
    usable = [(own, count) for own, count in zip(losses, counts, strict=True) if count and not np.isnan(own[0])]
    if not usable:
        return 0
    length = min(len(own) for own, _ in usable)
    stacked = np.stack([np.asarray(own[:length]) for own, _ in usable])
    return int(np.argmin(np.average(stacked, axis=0, weights=[count for _, count in usable])))


def fit_heads(
    heads: Sequence[AdditiveHead],
    parts: Sequence[tuple[Rows, Rows]],
    candidates: Sequence[Penalty],
    kind: TaskKind = "binary",
) -> list[Penalty]:
    """Fit the heads of an ensemble, each on its own rows, with the penalty that all held-out rows together choose.

    Args:
        heads: K, alike.
        parts: of each head, the rows that it is fitted on and those that are held out, which are read only if there are
            several candidates.
        candidates: penalties.
        kind: of the tasks.

    Returns:
        The penalty of each task.
    """
    fits = [AdditiveFit(head, candidates, kind) for head in heads]
    losses = []
    for fit, (train, held) in zip(fits, parts, strict=True):
        fit.fit(train)
        losses.append(fit.losses(held) if len(candidates) > 1 else None)
    chosen = []
    for task in range(parts[0][0].label.shape[1]):
        curves = [own[task].tolist() for own in losses if own is not None]
        place = pooled(curves, [held.label_mask[:, task].sum() for _, held in parts]) if curves else 0
        for fit in fits:
            fit.choose(task, place)
        chosen.append(candidates[place])
    return chosen


def _total_variance(columns: Any) -> float:
    square, mean = columns.multiply(columns).mean(axis=0), columns.mean(axis=0)
    return float(np.sum(np.asarray(square) - np.square(np.asarray(mean))))


def _squared_error(predicted: NDArray[np.float64], value: NDArray[np.float64]) -> float:
    return float(np.square(predicted - value).mean())


def _log_loss(logit: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    loss: Tensor = functional.binary_cross_entropy_with_logits(torch.from_numpy(logit), torch.from_numpy(label))
    return float(loss)
