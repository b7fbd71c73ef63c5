"""Metrics of a sample and of its bootstrap replicates, which draw whole subjects."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot, pad

from mmnar_lightning.metrics import functional

RESAMPLED = ("auroc", "average_precision", "brier", "calibration_error")
"""Metrics of a replicate, in the order of its columns."""
METRICS = (*RESAMPLED, "observed_expected", "calibration_slope", "calibration_intercept")
"""All metrics of a cell."""
ERROR = RESAMPLED.index("calibration_error")
NUM_BINS = 15
MIN_SUBJECTS = 2
"""With one subject every replicate equals the sample, and an interval of zero width would be wrong."""
CHUNK_ELEMENTS = 1_000_000
"""Replicates times rows in memory at once: 8 MB per float64 array, with about eight arrays alive."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Metrics of a sample and of its replicates, in the order of METRICS.

    Attributes:
        values: (4,) float64, NaN where undefined.
        replicates: (R, 4) float64, likewise; the calibration error minus its mean excess.
        num_parts: (4,) int64, number of parts in which a metric is defined.
    """

    values: Tensor
    replicates: Tensor
    num_parts: Tensor


def draw(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    fold: Tensor | None,
    repeat: Tensor | None,
    *,
    num_replicates: int,
    seed: int,
) -> Drawn:
    """Score a sample and its replicates; the subjects drawn depend on subjects, folds and seed alone.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        fold: (N,) int64, as of `bootstrap_intervals`.
        repeat: (N,) int64, likewise.
        num_replicates: R, at least 1.
        seed: of the draws.

    Returns:
        The mean of each metric over the parts, of the sample and of each replicate.

    >>> probability, label = torch.tensor([0.1, 0.9]), torch.tensor([0, 1])
    >>> draw(probability, label, torch.arange(2), None, None, num_replicates=5, seed=0).values.tolist()[:2]
    [1.0, 1.0]
    """
    assert num_replicates >= 1, f"{num_replicates=} must be at least 1"
    scored = [
        _score(samples, num_replicates, np.random.default_rng(seed))
        for samples in _parts(probability, label, subject, fold, repeat)
    ]
    parts, drawn = (torch.cat(pieces) for pieces in zip(*scored, strict=True))
    values, replicates = parts.nanmean(0), drawn.nanmean(0)
    replicates[:, ERROR] -= replicates[:, ERROR].nanmean() - values[ERROR]
    # A part with one subject does not vary over replicates, so the uncertainty of the mean is unknown.
    replicates[:, (drawn.isnan().all(1) & ~parts.isnan()).any(0)] = math.nan
    return Drawn(values=values, replicates=replicates, num_parts=(~parts.isnan()).sum(0))


def _parts(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    fold: Tensor | None,
    repeat: Tensor | None,
) -> list[list["_Sample"]]:
    """The rows as one list of folds per repeat."""
    columns = [subject if column is None else column for column in (subject, fold, repeat)]
    for name, column in zip(("subject", "fold", "repeat"), columns, strict=True):
        assert column.shape == label.shape, f"{name} has the shape {tuple(column.shape)}, label {tuple(label.shape)}"
    nothing = torch.zeros_like(subject)
    fold, repeat = (nothing if column is None else column.to(subject) for column in (fold, repeat))
    samples: list[list[_Sample]] = []
    for number in torch.unique(repeat) if len(repeat) else [0]:
        again = [fold_rows & (repeat == number) for fold_rows in _members(fold)]
        samples.append([_Sample.of(probability[rows], label[rows], subject[rows]) for rows in again])
    subjects = [[sample.names.tolist() for sample in folds] for folds in samples]
    assert all(names == subjects[0] for names in subjects), (
        "the repeats of a fold hold different subjects, so the same ones cannot be drawn in all"
    )
    return samples


def _members(fold: Tensor) -> list[Tensor]:
    """(N,) bool of each fold; one empty fold without rows."""
    return [fold == number for number in torch.unique(fold)] or [fold == 0]


def _score(folds: list["_Sample"], num_replicates: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Metrics of K folds, (K, 4), and of their R replicates, (K, R, 4), NaN for folds of one subject."""
    values, replicates = [], []
    for sample in folds:
        values.append(sample.metrics(torch.ones(1, len(sample.label), dtype=torch.float64))[0])
        drawn = torch.cat([sample.metrics(weight) for weight in sample.draw(num_replicates, generator)])
        replicates.append(drawn if len(sample.names) >= MIN_SUBJECTS else torch.full_like(drawn, math.nan))
    return torch.stack(values), torch.stack(replicates)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The rows by descending probability, with all quantities that replicates share.

    Attributes:
        label: (N,) float64, 0 or 1.
        ends: (G,) int64, last row of each distinct probability.
        squared_error: (N,) float64.
        gap: (N, K) float64, probability - label in the column of the row's calibration bin, 0 elsewhere.
        subject: (N,) int64 in [0, S).
        names: (S,) int64, the subject_id of each, ascending.
    """

    label: Tensor
    ends: Tensor
    squared_error: Tensor
    gap: Tensor
    subject: Tensor
    names: Tensor

    @classmethod
    def of(cls, probability: Tensor, label: Tensor, subject: Tensor) -> "_Sample":
        """Validate and sort the rows; rows equal in all three columns are interchangeable."""
        probability, label = functional.as_columns(probability, label)
        names, dense = np.unique(subject.cpu().numpy(), return_inverse=True)
        order = torch.from_numpy(np.lexsort((dense, label.numpy(), -probability.numpy())))
        probability, label = probability[order], label[order]
        residual = probability - label
        bins = functional.equal_mass_bins(probability, NUM_BINS)
        return cls(
            label=label,
            ends=functional.threshold_ends(probability),
            squared_error=residual.square(),
            gap=one_hot(bins, NUM_BINS) * residual.unsqueeze(-1),
            subject=torch.from_numpy(dense)[order],
            names=torch.from_numpy(names),
        )

    def draw(self, num_replicates: int, generator: np.random.Generator) -> Iterator[Tensor]:
        """The (C, N) float64 weights of all replicates, C at a time."""
        return draw_weights(generator, num_replicates, self.subject, len(self.names))

    def metrics(self, weight: Tensor) -> Tensor:
        """The metrics under (C, N) integer weights of the rows: (C, 4), in the order of METRICS."""
        total = weight.sum(-1)
        positive = (weight * self.label).cumsum(-1)[:, self.ends]
        negative = weight.cumsum(-1)[:, self.ends] - positive
        counts = pad(positive, (1, 0)), pad(negative, (1, 0))
        return torch.stack(
            [
                functional.area_under_roc(*counts),
                functional.area_under_steps(*counts),
                (weight @ self.squared_error) / total,
                (weight @ self.gap).abs().sum(-1) / total,
            ],
            dim=-1,
        )


def draw_counts(generator: np.random.Generator, num_replicates: int, num_subjects: int) -> Tensor:
    """Number of times that each of S subjects is drawn in S draws with replacement.

    Args:
        generator: source of randomness.
        num_replicates: C.
        num_subjects: S.

    Returns:
        (C, S) float64; each row sums to S.

    >>> draw_counts(np.random.default_rng(0), 2, 3).sum(-1).tolist()
    [3.0, 3.0]
    """
    shape = (num_replicates, num_subjects)
    drawn = torch.from_numpy(generator.integers(max(num_subjects, 1), size=shape))
    return torch.zeros(shape, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(shape, dtype=torch.float64))


def draw_weights(
    generator: np.random.Generator, num_replicates: int, subject: Tensor | NDArray[np.int64], num_subjects: int
) -> Iterator[Tensor]:
    """Number of times that each row counts in each replicate.

    Args:
        generator: source of randomness.
        num_replicates: R.
        subject: (N,) int64 in [0, num_subjects).
        num_subjects: S.

    Yields:
        (C, N) float64, at most `CHUNK_ELEMENTS` of them, until all replicates are drawn.

    >>> weights = list(draw_weights(np.random.default_rng(0), 3, torch.tensor([0, 0, 1]), 2))
    >>> [(weight.shape, torch.equal(weight[:, 0], weight[:, 1])) for weight in weights]
    [(torch.Size([3, 3]), True)]
    """
    chunk = max(1, CHUNK_ELEMENTS // max(len(subject), 1))
    for start in range(0, num_replicates, chunk):
        yield draw_counts(generator, min(chunk, num_replicates - start), num_subjects)[:, subject]
