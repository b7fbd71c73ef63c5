"""The largest differences of errors of predicted numbers between the levels of an attribute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, Draws
from mmnar_lightning.metrics.gaps import LargestGap, largest

COMPARED = ("mae", "mean_error")
"""Metrics whose gap is given: the size of the errors, and whether predictions are too high or too low."""
MIN_LEVEL = 10
"""Subjects from which a level is compared: with fewer the spread of the bootstrap is not reliable."""


def largest_value_gaps(
    error: Tensor,
    subject: Tensor,
    level: Tensor,
    *,
    compared: Sequence[int],
    num_replicates: int = 1000,
    coverage: float = 0.95,
    seed: int = 0,
) -> dict[str, LargestGap]:
    """Largest difference of a metric between two of several levels, with an interval that allows for the choice.

    The interval is that of `largest_gaps`: a replicate draws whole subjects, the same for all levels.

    Args:
        error: (N,) float, prediction minus value.
        subject: (N,) int64.
        level: (N,) int64.
        compared: L levels; those with fewer than `MIN_LEVEL` subjects are left out.
        num_replicates: R, number of bootstrap replicates.
        coverage: nominal, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The keys of `COMPARED`; empty without two levels.

    >>> level = torch.arange(2).repeat_interleave(40)
    >>> error = torch.where(level == 0, 3.0, 1.0) * torch.tensor([1.0, -1.0]).repeat(40)
    >>> found = largest_value_gaps(error, torch.arange(80), level, compared=[0, 1])["mae"]
    >>> found.higher, found.lower, found.difference.value
    (0, 1, 2.0)
    """
    names, dense = torch.unique(subject, return_inverse=True)
    members = {number: level == number for number in compared}
    large = [number for number, own in members.items() if len(torch.unique(dense[own])) >= MIN_LEVEL]
    if len(large) < 2 or len(names) < MIN_SUBJECTS:
        return {}
    once = torch.ones((1, len(names)), dtype=torch.float64)
    draws = Draws(num_replicates, len(names), seed)
    found = {}
    for name, each in zip(COMPARED, (error.double().abs(), error.double()), strict=True):
        own = [(each[members[number]], dense[members[number]]) for number in large]
        means = [torch.stack([_means(*rows, counts) for rows in own], 1) for counts in (once, *draws)]
        found[name] = largest(large, means[0][0].numpy(), torch.cat(means[1:]).numpy(), coverage)
    return found


def _means(each: Tensor, dense: Tensor, counts: Tensor) -> Tensor:
    """(C,) means over the rows of a level whose subjects count (C, S) times; NaN where none is drawn."""
    total = torch.zeros(counts.shape[1], dtype=torch.float64).index_add_(0, dense, each)
    rows = torch.bincount(dense, minlength=counts.shape[1]).double()
    return (counts @ total) / (counts @ rows)
