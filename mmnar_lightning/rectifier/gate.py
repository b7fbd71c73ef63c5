"""The gate: a strength of the offsets, chosen by cross-validation."""

from collections.abc import Callable

import numpy as np

from mmnar_lightning.rectifier.estimate import Array, Int, Rows

STRENGTHS = np.linspace(0.0, 1.0, 11)
NUM_FOLDS = 5
"""Subject-level folds of the cross-validation."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def strength(rows: Rows, shift: Callable[[Rows, Rows], Array]) -> float:
    """Choose the strength with the lowest cross-validated loss; 0 unless its gain exceeds one standard error.

    The loss is the log-loss, of numbers the squared error.

    Args:
        rows: known labels of one task.
        shift: (rows to fit on, rows to shift) -> (N, S) probabilities, or numbers, of the second at each
            of `STRENGTHS`.

    Returns:
        One of `STRENGTHS`.
    """
    best, gain, error = recommended(rows, shift)
    return best if gain > error else 0.0


def recommended(rows: Rows, shift: Callable[[Rows, Rows], Array]) -> tuple[float, float, float]:
    """Find the strength with the lowest cross-validated log-loss, its total gain and the standard error of the gain.

    A hash assigns subjects to folds. The standard error is that of the paired differences, clustered by subject.

    Args:
        rows: as for `strength`.
        shift: as for `strength`.

    Returns:
        Strength, gain in log-loss over all rows, standard error.
    """
    fold = folds(rows.subject)
    loss = np.zeros((len(rows.label), len(STRENGTHS)))
    for number in range(NUM_FOLDS):
        out = fold == number
        if out.any() and not out.all():
            shifted = shift(rows.take(~out), rows.take(out))
            loss[out] = (
                log_loss(shifted, rows.label[out]) if rows.variance is None else _squares(shifted, rows.label[out])
            )
    gain = loss[:, :1] - loss
    best = int(gain.sum(0).argmax())
    _, member = np.unique(rows.subject, return_inverse=True)
    by_subject = np.bincount(member, gain[:, best])
    error = np.sqrt((by_subject**2).sum() - by_subject.sum() ** 2 / max(len(by_subject), 1))
    return float(STRENGTHS[best]), float(by_subject.sum()), float(error)


def folds(subject: Int) -> Int:
    """Assign each row a fold that depends on its subject alone.

    Args:
        subject: (N,) int64.

    Returns:
        (N,) int64 in [0, NUM_FOLDS).

    >>> folds(np.array([4, 9, 4])).tolist()[0] == folds(np.array([4])).tolist()[0]
    True
    """
    mixed = (subject.astype(np.uint64) + np.uint64(1)) * GOLDEN
    return ((mixed // np.uint64(2**32)) % np.uint64(NUM_FOLDS)).astype(np.int64)


def log_loss(probability: Array, label: Array) -> Array:
    """Compute the log-loss of each row, (N, S), of probabilities (N, S)."""
    tiny = np.finfo(np.float64).tiny
    truth = np.where(label[:, None] > 0, probability, 1.0 - probability)
    return np.asarray(-np.log(np.maximum(truth, tiny)))


def _squares(predicted: Array, value: Array) -> Array:
    """The squared error of each row, (N, S), of predictions (N, S)."""
    return np.asarray((predicted - value[:, None]) ** 2)
