"""Discrimination and Brier score as sums over subjects, whose standard errors need no replicates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS
from mmnar_lightning.metrics.small_samples import Ends
from mmnar_lightning.metrics.weighted import Column, Places, WeightedRows


@dataclass(frozen=True, kw_only=True)
class Linear:
    """AUROC, average precision and Brier score of a sample, and what each subject adds to them.

    Attributes:
        values: (3,) mean over the parts (one repeat of one fold) in which a metric is defined, NaN without one.
        influence: of each fold, (S, 3) float64, the derivative of the metrics by the weight of each of its S subjects,
            with sum 0; NaN in a fold of a single subject, which says nothing of its variance.
        num_parts: (3,) int64, number of parts in which a metric is defined.
    """

    values: Column
    influence: list[Column]
    num_parts: Column

    def minus(self, other: "Linear") -> "Linear":
        """The difference of two predictions of the same rows."""
        influence = [one - two for one, two in zip(self.influence, other.influence, strict=True)]
        return Linear(values=self.values - other.values, influence=influence, num_parts=self.num_parts)

    @property
    def error(self) -> Column:
        """(3,) standard errors; NaN where a metric is undefined or its influence is NaN."""
        squares = sum(len(own) / max(len(own) - 1, 1) * np.square(own).sum(0) for own in self.influence)
        found: Column = np.where(np.isnan(self.values), math.nan, np.sqrt(squares))
        return found


def normal_ends(value: float, error: float, z: float, lowest: float = 0.0) -> Ends:
    """The interval of a normal estimate.

    Args:
        value: in [lowest, 1].
        error: its standard error.
        z: standard normal quantile.
        lowest: possible value.

    Returns:
        Both ends, NaN where the error is.

    >>> normal_ends(0.5, 0.125, 2.0)
    (0.25, 0.75)
    """
    return max(value - z * error, lowest), min(value + z * error, 1.0)


def logit_ends(value: float, error: float, z: float) -> Ends:
    """The interval of an estimate whose logit is normal.

    Args:
        value: in (0, 1).
        error: its standard error.
        z: standard normal quantile.

    Returns:
        Both ends, NaN where the error is.

    >>> [round(end, 3) for end in logit_ends(0.5, 0.125, 2.0)]
    [0.269, 0.731]
    """
    half = z * error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def linear(repeats: Sequence[Sequence[WeightedRows]]) -> Linear:
    """Linearise the metrics of a sample.

    A metric is a smooth function of the weights of the subjects, of which a bootstrap draws whole numbers; its first
    derivative gives the variance of many replicates. Of AUROC it is that of DeLong, DeLong and Clarke-Pearson
    (Biometrics 44:837, 1988) with the rows of a subject summed (Obuchowski, Biometrics 53:567, 1997). Source: Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 21 (infinitesimal jackknife).

    Args:
        repeats: the folds of each repeat, as of `bootstrap.samples_of`.

    Returns:
        The metrics. Cost: O(N).

    >>> import torch
    >>> rows = WeightedRows.of(torch.tensor([0.1, 0.9, 0.8, 0.2]), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    >>> found = linear([[rows]])
    >>> found.values.tolist()[0], found.influence[0][:, 0].tolist()
    (0.75, [0.125, 0.125, -0.125, -0.125])
    """
    each = [[_part(sample) for sample in folds] for folds in repeats]
    values = np.stack([value for folds in each for value, _ in folds])
    num_parts = (~np.isnan(values)).sum(0)
    divisor = np.maximum(num_parts, 1)
    influence = [sum(own for _, own in fold) / divisor for fold in zip(*each, strict=True)]
    with np.errstate(invalid="ignore"):
        mean = np.nansum(values, 0) / np.where(num_parts, num_parts, math.nan)
    return Linear(values=mean, influence=influence, num_parts=num_parts)


def _part(sample: WeightedRows) -> tuple[Column, Column]:
    """The metrics of one part, (3,), and their derivatives, (S, 3); NaN and 0 where undefined."""
    value = sample.metrics(np.ones((1, len(sample.names))), calibrated=False)[0, :3]
    found = np.zeros((len(sample.names), 3))
    if not math.isnan(value[0]):
        found[:, 0] = _auroc(sample, value[0])
    if not math.isnan(value[1]):
        found[:, 1] = _average_precision(sample, value[1])
    if not math.isnan(value[2]):
        found[:, 2] = (sample.squared_error - value[2] * sample.rows) / sample.rows.sum()
    if len(found) < MIN_SUBJECTS:
        found[:, ~np.isnan(value)] = math.nan
    return value, found


def _summed(sample: WeightedRows, positive: Column, negative: Column) -> Column:
    """What the rows of each subject add, (S,)."""
    size = len(sample.names)
    sides = (sample.positive, positive), (sample.negative, negative)
    total: Column = np.sum([np.bincount(*side, size).astype(np.float64) for side in sides], axis=0)
    return total


def _auroc(sample: WeightedRows, value: float) -> Column:
    positives, negatives = len(sample.positive), len(sample.negative)
    own = 1 - (sample.above + sample.reached) / (2 * negatives)
    # Positives above each negative: those that it does not outrank, ties one half.
    above, reached = (
        np.cumsum(np.bincount(rank, minlength=negatives + 1))[:-1] for rank in (sample.above, sample.reached)
    )
    other = (above + reached) / (2 * positives)
    return _summed(sample, (own - value) / positives, (other - value) / negatives)


def _average_precision(sample: WeightedRows, value: float) -> Column:
    positives = len(sample.positive)
    true, false = sample.ends + 1.0, sample.negatives_at.astype(np.float64)
    steps, predicted = np.diff(true, prepend=0), true + false
    # One more positive (negative) row raises (lowers) the precision at its own and at every lower threshold.
    gain, loss = (np.append(np.cumsum((steps * other / predicted**2)[::-1])[::-1], 0) for other in (false, true))
    group = np.repeat(np.arange(len(steps)), steps.astype(np.int64))
    own = (true / predicted)[group] - value + gain[group]
    first: Places = np.cumsum(np.bincount(sample.negatives_at, minlength=len(sample.negative) + 1))[:-1]
    return _summed(sample, own / positives, -loss[first] / positives)


def drawn_errors(predictions: Sequence[Sequence[Sequence[WeightedRows]]], num_replicates: int, seed: int) -> Column:
    """Draw the plain calibration errors of several predictions of the same rows, without drawing subjects.

    With many rows the sums of the bins over the drawn subjects are normal, with the covariance of the subjects' sums;
    the error is the sum of their absolute values over the drawn number of rows. The draws depend on the order of the
    predictions, so that a difference turned around has other draws.

    Args:
        predictions: P, as of `bootstrap.draw_each`.
        num_replicates: R.
        seed: of the draws.

    Returns:
        (R, P) float64, each the mean over the parts.

    >>> import torch
    >>> from mmnar_lightning.metrics.bootstrap import samples_of
    >>> label, risk = torch.tensor([0.0, 1.0] * 50), torch.linspace(0.3, 0.7, 100)
    >>> both = [samples_of(own, label, torch.arange(100), None, None) for own in (risk, risk**2)]
    >>> drawn_errors(both, 3, seed=0).shape
    (3, 2)
    """
    generator = np.random.default_rng(seed)
    repeats = [folds for samples in predictions for folds in samples]
    each = [_errors_of_fold(fold, num_replicates, generator) for fold in zip(*repeats, strict=True)]
    found: Column = np.mean(each, axis=0).reshape(num_replicates, len(predictions), -1).mean(-1)
    return found


def _errors_of_fold(samples: Sequence[WeightedRows], num_replicates: int, generator: np.random.Generator) -> Column:
    """(R, predictions and repeats) replicates of one fold."""
    from scipy.sparse import coo_array, hstack  # a process without scores does not need it

    sums, size = [], len(samples[0].names)
    for sample in samples:
        bins = np.repeat(np.arange(len(sample.bins)), np.diff(np.append(sample.bins, len(sample.subject))))
        sums.append(coo_array((sample.residual, (sample.subject, bins)), shape=(size, len(sample.bins))))
        sums.append(coo_array(sample.rows[:, None]))
    summed = hstack(sums).tocsr()
    mean = summed.sum(0)
    covariance = (summed.T @ summed).toarray() - np.outer(mean, mean) / size
    if size < MIN_SUBJECTS:
        return np.full((num_replicates, len(samples)), math.nan)
    drawn = generator.multivariate_normal(mean, covariance, size=num_replicates, method="eigh", check_valid="ignore")
    found, place = [], 0
    for sample in samples:
        end = place + len(sample.bins)
        found.append(np.abs(drawn[:, place:end]).sum(1) / drawn[:, end])
        place = end + 1
    return np.stack(found, axis=1)
