"""Metrics of a sample and of its bootstrap replicates, which draw whole subjects."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnar_lightning.metrics.weighted import WeightedRows

RESAMPLED = ("auroc", "average_precision", "brier", "calibration_error")
"""Metrics of a replicate, in the order of its columns."""
METRICS = (*RESAMPLED, "observed_expected", "calibration_slope", "calibration_intercept")
"""All metrics of a cell."""
ERROR = RESAMPLED.index("calibration_error")
MIN_SUBJECTS = 2
"""With one subject every replicate equals the sample, and an interval of zero width would be wrong."""
CHUNK_ELEMENTS = 65_536
"""Replicates times rows in memory at once: half a megabyte per float64 array, so that they stay in the cache."""


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
    calibrated: bool = True,
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
        calibrated: whether to compute the calibration error of the replicates; if not, it is NaN there.

    Returns:
        The mean of each metric over the parts, of the sample and of each replicate.

    >>> probability, label = torch.tensor([0.1, 0.9]), torch.tensor([0, 1])
    >>> draw(probability, label, torch.arange(2), None, None, num_replicates=5, seed=0).values.tolist()[:2]
    [1.0, 1.0]
    """
    (found,) = draw_each(
        [samples_of(probability, label, subject, fold, repeat)],
        num_replicates=num_replicates,
        seed=seed,
        calibrated=calibrated,
    )
    return found


def draw_each(
    predictions: Sequence[list[list[WeightedRows]]], *, num_replicates: int, seed: int, calibrated: bool = True
) -> list[Drawn]:
    """Score several predictions of the same rows on the same replicates, each drawn once; as `draw` of each.

    Args:
        predictions: of each, its rows as of `samples_of`.
        num_replicates: as of `draw`.
        seed: likewise.
        calibrated: likewise.

    Returns:
        One entry per prediction.

    >>> label, risk = torch.tensor([0.0, 1.0] * 50), torch.linspace(0.3, 0.7, 100)
    >>> both = [samples_of(own, label, torch.arange(100), None, None) for own in (risk, 1 - risk)]
    >>> [round(float(own.values[0]), 2) for own in draw_each(both, num_replicates=5, seed=0)]
    [0.51, 0.49]
    """
    assert num_replicates >= 1, f"{num_replicates=} must be at least 1"
    generator = np.random.default_rng(seed)
    repeats = [folds for samples in predictions for folds in samples]
    scored = [_score(fold, num_replicates, generator, calibrated) for fold in zip(*repeats, strict=True)]
    values, drawn = (torch.stack(pieces, dim=1) for pieces in zip(*scored, strict=True))
    number = len(predictions)
    values, drawn = (found.reshape(number, -1, *found.shape[1:]) for found in (values, drawn))
    return [_mean(*pair) for pair in zip(values, drawn, strict=True)]


def _mean(values: Tensor, drawn: Tensor) -> Drawn:
    """The mean over the parts of (repeats, folds, 4) values and (repeats, folds, R, 4) replicates."""
    parts, drawn = values.flatten(0, 1), drawn.flatten(0, 1)
    values, replicates = parts.nanmean(0), drawn.nanmean(0)
    replicates[:, ERROR] -= replicates[:, ERROR].nanmean() - values[ERROR]
    # A part with one subject does not vary over replicates, so the uncertainty of the mean is unknown.
    replicates[:, (drawn.isnan().all(1) & ~parts.isnan()).any(0)] = math.nan
    return Drawn(values=values, replicates=replicates, num_parts=(~parts.isnan()).sum(0))


def samples_of(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    fold: Tensor | None,
    repeat: Tensor | None,
) -> list[list[WeightedRows]]:
    """Sort the rows of each part.

    Args:
        probability: as of `draw`.
        label: likewise.
        subject: likewise.
        fold: likewise.
        repeat: likewise.

    Returns:
        One list of folds per repeat.

    >>> label, fold = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    >>> [[len(part.names) for part in folds] for folds in samples_of(label / 2, label, torch.arange(4), fold, None)]
    [[2, 2]]
    """
    columns = [subject if column is None else column for column in (subject, fold, repeat)]
    for name, column in zip(("subject", "fold", "repeat"), columns, strict=True):
        assert column.shape == label.shape, f"{name} has the shape {tuple(column.shape)}, label {tuple(label.shape)}"
    nothing = torch.zeros_like(subject)
    fold, repeat = (nothing if column is None else column.to(subject) for column in (fold, repeat))
    samples: list[list[WeightedRows]] = []
    for number in torch.unique(repeat) if len(repeat) else [0]:
        again = [fold_rows & (repeat == number) for fold_rows in _members(fold)]
        samples.append([WeightedRows.of(probability[rows], label[rows], subject[rows]) for rows in again])
    subjects = [[sample.names.tolist() for sample in folds] for folds in samples]
    assert all(names == subjects[0] for names in subjects), (
        "the repeats of a fold hold different subjects, so the same ones cannot be drawn in all"
    )
    return samples


def _members(fold: Tensor) -> list[Tensor]:
    """(N,) bool of each fold; one empty fold without rows."""
    return [fold == number for number in torch.unique(fold)] or [fold == 0]


def _score(
    samples: Sequence[WeightedRows], num_replicates: int, generator: np.random.Generator, calibrated: bool
) -> tuple[Tensor, Tensor]:
    """Metrics of a fold in P predictions and repeats, (P, 4), and of R replicates, (P, R, 4), NaN for one subject."""
    count, sizes = len(samples[0].names), _chunks(num_replicates, len(samples[0].subject))
    values = [sample.metrics(np.ones((1, count)))[0] for sample in samples]
    chunks = []
    for size in sizes:
        weight = _drawn(generator, size, count)
        chunks.append([sample.metrics(weight, calibrated=calibrated) for sample in samples])
    drawn = np.concatenate(chunks, axis=1)
    if count < MIN_SUBJECTS:
        drawn = np.full_like(drawn, math.nan)
    return torch.from_numpy(np.stack(values)), torch.from_numpy(drawn)


def _chunks(num_replicates: int, num_rows: int) -> list[int]:
    """Sizes of the parts of replicates that are in memory together."""
    chunk = max(1, CHUNK_ELEMENTS // max(num_rows, 1))
    full, rest = divmod(num_replicates, chunk)
    return [chunk] * full + [rest] * (rest > 0)


def _drawn(generator: np.random.Generator, num_replicates: int, num_subjects: int) -> NDArray[np.float64]:
    """As `draw_counts`."""
    drawn = generator.integers(max(num_subjects, 1), size=(num_replicates, num_subjects))
    drawn += np.arange(num_replicates)[:, None] * num_subjects
    counts = np.bincount(drawn.ravel(), minlength=num_replicates * num_subjects)
    return counts.reshape(num_replicates, num_subjects).astype(np.float64)


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
    return torch.from_numpy(_drawn(generator, num_replicates, num_subjects))


@dataclass(frozen=True)
class Draws:
    """How often each subject is drawn in each replicate; every pass over it draws the same, a few replicates at once.

    Attributes:
        num_replicates: R.
        num_subjects: S.
        seed: of the draws.

    >>> draws = Draws(5, 3, 0)
    >>> torch.equal(torch.cat(list(draws)), torch.cat(list(draws))), torch.cat(list(draws)).shape
    (True, torch.Size([5, 3]))
    """

    num_replicates: int
    num_subjects: int
    seed: int

    def __iter__(self) -> Iterator[Tensor]:
        """Yield (C, S) float64, at most `CHUNK_ELEMENTS` of them or one replicate."""
        generator = np.random.default_rng(self.seed)
        for size in _chunks(self.num_replicates, self.num_subjects):
            yield draw_counts(generator, size, self.num_subjects)


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
    for size in _chunks(num_replicates, len(subject)):
        yield draw_counts(generator, size, num_subjects)[:, subject]
