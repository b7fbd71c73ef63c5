"""Discrimination within groups of rows, such as hospitals or year groups."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor
from torch.nn.functional import pad

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, draw_weights
from mmnar_lightning.metrics.cells import FEW, LINEAR, MANY, SMALL
from mmnar_lightning.metrics.influence import logit_ends
from mmnar_lightning.metrics.intervals import Interval, percentile_interval
from mmnar_lightning.metrics.parts import Column, parts_of
from mmnar_lightning.metrics.small_samples import auroc_ends


def within_groups_auroc(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    group: Tensor,
    *,
    fold: Tensor | None = None,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """AUROC over pairs of a positive and a negative of the same group, ties counting one half.

    Pairs across groups do not count, so a prediction that depends on the group alone scores 0.5; neither do pairs
    across folds, whose rows are predicted by different models. It is the mean of the AUROCs of all groups and folds,
    weighted by their numbers of pairs, so small groups contribute. With few rows of the smaller class the interval is
    Newcombe's and with many DeLong's, as in `cells.metric_intervals`; between them a bootstrap draws whole subjects.
    DeLong's is here of the share of all groups' pairs, so no group needs many rows: one of a single positive counts the
    variation of its negatives twice, which widens the interval.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        group: (N,) int64.
        fold: (N,) int64, fold in which a row was tested; None = one fold.
        num_replicates: R, number of bootstrap replicates.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The interval; `num_parts` counts the groups with both classes, once per fold. NaN without such a group.

    >>> label, group = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    >>> known = torch.tensor([0.1, 0.2, 0.8, 0.9])
    >>> within_groups_auroc(known, label, torch.arange(4), group).value
    1.0
    >>> within_groups_auroc(group / 2, label, torch.arange(4), group).value
    0.5
    """
    probability, label = functional.as_columns(probability, label)
    names, dense = np.unique(subject.cpu().numpy(), return_inverse=True)
    once = torch.ones(1, len(label), dtype=torch.float64)
    cell = cells_of(group, fold)
    members = [cell == number for number in torch.unique(cell)]
    comparable = [rows for rows in members if 0 < label[rows].sum() < rows.sum()]
    value = float(_share(probability, label, comparable, once))
    parts = parts_of(probability, label, subject, cell)
    if parts.few() < FEW and comparable and len(names) >= MIN_SUBJECTS:
        low, high = auroc_ends(parts, value, float(ndtri((1 + level) / 2)), by_pairs=True)
        return Interval(
            value=value, low=low, high=high, num_defined=0, num_parts=len(comparable), method=SMALL["auroc"]
        )
    if parts.few() >= MANY and 0 < value < 1:
        error = _error(probability.numpy(), label.numpy(), dense, comparable)
        low, high = logit_ends(value, error, float(ndtri((1 + level) / 2)))
        return Interval(
            value=value, low=low, high=high, num_defined=0, num_parts=len(comparable), method=LINEAR["auroc"]
        )
    generator = np.random.default_rng(seed)
    if len(names) < MIN_SUBJECTS:
        drawn = [torch.full((num_replicates,), torch.nan, dtype=torch.float64)]
    else:
        weights = draw_weights(generator, num_replicates, dense, len(names))
        drawn = [_share(probability, label, comparable, weight) for weight in weights]
    return percentile_interval(value, torch.cat(drawn), len(comparable), level)


def cells_of(group: Tensor, fold: Tensor | None) -> Tensor:
    """Number the pairs of group and fold.

    Args:
        group: (N,) int64.
        fold: (N,) int64; None = one fold.

    Returns:
        (N,) int64.

    >>> cells_of(torch.tensor([5, 5, 7]), torch.tensor([0, 1, 0])).tolist()
    [0, 1, 2]
    """
    return group if fold is None else torch.unique(torch.stack([group, fold.to(group)]), dim=1, return_inverse=True)[1]


def _error(probability: Column, label: Column, subject: NDArray[np.int64], groups: list[Tensor]) -> float:
    """Standard error of the share of concordant pairs, from its derivative by the weight of each subject, (N,) each."""
    won, pairs = np.zeros(len(label)), np.zeros(len(label))
    for member in groups:
        rows = np.flatnonzero(member.numpy())
        positive, negative = rows[label[rows] > 0], rows[label[rows] == 0]
        won[positive] = _outranked(probability[positive], probability[negative])
        won[negative] = len(positive) - _outranked(probability[negative], probability[positive])
        pairs[positive], pairs[negative] = len(negative), len(positive)
    # Every pair is counted in both of its rows.
    influence = np.bincount(subject, won - won.sum() / pairs.sum() * pairs) / (pairs.sum() / 2)
    return float(np.sqrt(len(influence) / (len(influence) - 1) * np.square(influence).sum()))


def _outranked(own: Column, others: Column) -> Column:
    """Number of others that each outranks, ties one half."""
    ordered = np.sort(others)
    found: Column = (np.searchsorted(ordered, own) + np.searchsorted(ordered, own, side="right")) / 2
    return found


def _share(probability: Tensor, label: Tensor, groups: list[Tensor], weight: Tensor) -> Tensor:
    """Concordant pairs over all pairs of all groups, (C,), under (C, N) weights of the rows; NaN without pairs."""
    concordant = total = torch.zeros(len(weight), dtype=torch.float64)
    for rows in groups:
        found, pairs = _pairs(probability[rows], label[rows], weight[:, rows])
        concordant, total = concordant + found, total + pairs
    return concordant / total


def _pairs(probability: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Concordant pairs (ties one half) and all pairs of a group, each (C,), under (C, n) weights of the rows."""
    order = probability.argsort(descending=True, stable=True)
    weight, label = weight[:, order], label[order]
    ends = functional.threshold_ends(probability[order])
    positive = (weight * label).cumsum(-1)[:, ends]
    negative = weight.cumsum(-1)[:, ends] - positive
    concordant = torch.trapezoid(pad(positive, (1, 0)), pad(negative, (1, 0)))
    return concordant, positive[:, -1] * negative[:, -1]
