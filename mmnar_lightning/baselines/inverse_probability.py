"""Stabilised inverse-probability weights of missingness patterns, from inputs that every row has."""

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import UserError
from mmnar_lightning.rectifier.gate import NUM_FOLDS, folds

INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Values of C of the regression of the pattern."""
MAX_ITERATIONS = 1000
"""Of L-BFGS."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def weights(columns: Floats, pattern: Integers, subject: Integers, min_count: int, quantile: float) -> Floats:
    """Compute P(pattern) / P(pattern | columns) of rows.

    Rare patterns are pooled (`pool`). The propensity is a multinomial logistic regression on the columns; subjects of
    a fifth choose its penalty by log-loss, and it is then fitted on all rows. Weights above the quantile are clipped to
    it, and all are divided by their mean.

    Source: Robins, Hernán and Brumback, Epidemiology 2000, for stabilised weights; Choi and others, ICYM2I, 2025, for
    missing modalities.

    Args:
        columns: (N, F), inputs that every row has.
        pattern: (N,) pattern ids.
        subject: (N,) ids.
        min_count: fewest subjects of a pattern with a propensity of its own.
        quantile: above 0 and at most 1, of the weights.

    Returns:
        (N,), above 0, with mean 1.

    Raises:
        UserError: if all rows have one pattern after pooling.
    """
    group = pool(pattern, subject, min_count)
    share = np.bincount(group) / len(group)
    if len(share) < 2:
        raise UserError(
            f"baseline.inverse_probability={quantile}: the train rows have no two patterns of {min_count} subjects "
            "(privacy.min_count) or more, so there is nothing to weight; set it to null"
        )
    found = share[group] / propensities(columns, group, subject)
    clipped = np.minimum(found, np.quantile(found, quantile))
    return np.asarray(clipped / clipped.mean())


def pool(pattern: Integers, subject: Integers, min_count: int) -> Integers:
    """Pool the patterns of few subjects, and while these have too few together, the next rarest one.

    Args:
        pattern: (N,) pattern ids.
        subject: (N,) ids.
        min_count: fewest subjects of a group.

    Returns:
        (N,) groups, numbered from 0 by the number of their subjects, ascending.

    >>> pool(np.array([7, 7, 7, 3, 3, 1]), np.arange(6), 2).tolist()
    [1, 1, 1, 0, 0, 0]
    """
    listed, place = np.unique(pattern, return_inverse=True)
    owners = [set(subject[place == number].tolist()) for number in range(len(listed))]
    order = sorted(range(len(listed)), key=lambda number: (len(owners[number]), int(listed[number])))
    group = np.zeros(len(listed), np.int64)
    latest, rare = 0, set(owners[order[0]])
    for number in order[1:]:
        if len(rare) < min_count or len(owners[number]) < min_count:
            rare |= owners[number]
        else:
            latest += 1
        group[number] = latest
    return np.asarray(group[place])


def propensities(columns: Floats, group: Integers, subject: Integers) -> Floats:
    """Estimate the probability of the group of each row given its columns.

    Args:
        columns: (N, F).
        group: (N,) of G groups, all of them in the rows.
        subject: (N,) ids, which are split to choose the penalty.

    Returns:
        (N,), above 0.
    """
    held = folds(subject) == NUM_FOLDS - 1
    losses = [_log_loss(columns, group, held, inverse) for inverse in INVERSE_PENALTIES]
    chosen = INVERSE_PENALTIES[int(np.argmin(losses))]
    return _probability(columns, group, np.ones(len(group), np.bool_), chosen)[np.arange(len(group)), group]


def _log_loss(columns: Floats, group: Integers, held: NDArray[np.bool_], inverse: float) -> float:
    found = _probability(columns, group, ~held, inverse)[held, group[held]]
    return float(-np.log(np.maximum(found, np.finfo(float).tiny)).mean()) if held.any() else 0.0


def _probability(columns: Floats, group: Integers, fitted: NDArray[np.bool_], inverse: float) -> Floats:
    """Probability of every group in every row, (N, G); of one that no fitted row has, 0."""
    from sklearn.linear_model import LogisticRegression

    found = np.zeros((len(group), int(group.max()) + 1))
    classes = np.unique(group[fitted])
    if len(classes) < 2:
        found[:, classes] = 1.0
        return found
    model = LogisticRegression(C=inverse, max_iter=MAX_ITERATIONS).fit(columns[fitted], group[fitted])
    found[:, model.classes_] = model.predict_proba(columns)
    return found
