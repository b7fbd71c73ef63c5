"""Net benefit of treating the rows whose prediction reaches a threshold: decision curves."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.bootstrap import MIN_SUBJECTS, draw_weights
from mmnar_lightning.metrics.intervals import Interval, percentile_interval

LIMIT = 0.01
"""The lowest threshold; 1 less this is the highest."""
NUM_THRESHOLDS = 37
THRESHOLDS = torch.linspace(-1, 1, NUM_THRESHOLDS, dtype=torch.float64).mul(np.log(1 / LIMIT - 1)).sigmoid()
"""(G,) float64, equal steps on the logit scale; the middle one is 0.5."""


@dataclass(frozen=True, kw_only=True)
class Benefit:
    """The net benefit at one threshold.

    Attributes:
        threshold: in (0, 1).
        model: of treating the rows whose probability reaches it.
        treat_all: of treating all rows.
        true_positives: rows of all repeats that are treated and positive.
        false_positives: treated and negative.
    """

    threshold: float
    model: Interval
    treat_all: Interval
    true_positives: int
    false_positives: int


def net_benefits(
    probability: Tensor,
    label: Tensor,
    subject: Tensor,
    *,
    thresholds: Tensor = THRESHOLDS,
    num_replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Benefit]:
    """Net benefit of a prediction at each threshold, beside that of treating all; treating none has 0.

    With t the threshold, (true positives - false positives * t / (1 - t)) / rows: a false positive costs what the odds
    of the threshold say. It is a mean over rows, so the rows of all folds and repeats count together. The bootstrap
    draws whole subjects, the same at every threshold. A single subject has no interval.

    Source: Vickers and Elkin, Medical Decision Making 26, 2006.

    Args:
        probability: (N,) in [0, 1].
        label: (N,) 0 or 1.
        subject: (N,) int64, subject_id.
        thresholds: (G,) float64 in (0, 1), ascending.
        num_replicates: R, number of bootstrap replicates, at least 1.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        One for each threshold; NaN without rows.

    >>> found = net_benefits(torch.tensor([0.1, 0.6, 0.9]), torch.tensor([0, 0, 1]), torch.arange(3),
    ...                      thresholds=torch.tensor([0.25, 0.75], dtype=torch.float64))
    >>> [round(one.model.value, 3) for one in found], [round(one.treat_all.value, 3) for one in found]
    ([0.222, 0.333], [0.111, -1.667])
    """
    probability, label = functional.as_columns(probability, label)
    names, dense = np.unique(subject.cpu().numpy(), return_inverse=True)
    odds = thresholds / (1 - thresholds)
    treated = (probability[:, None] >= thresholds).double()
    worth = torch.where(label[:, None] > 0, 1.0, -odds)
    gains = torch.stack([treated * worth, worth])
    sums = torch.zeros(2, len(names), len(odds), dtype=torch.float64).index_add_(1, torch.from_numpy(dense), gains)
    rows = torch.bincount(torch.from_numpy(dense), minlength=len(names)).double()
    values = sums.sum(1) / rows.sum()
    positive = (treated * label[:, None]).sum(0)
    drawn = _replicates(sums, rows, num_replicates, seed)

    def interval(side: int, place: int) -> Interval:
        return percentile_interval(float(values[side, place]), drawn[side, :, place], 1, level)

    return [
        Benefit(
            threshold=float(threshold),
            model=interval(0, place),
            treat_all=interval(1, place),
            true_positives=int(positive[place]),
            false_positives=int(treated[:, place].sum() - positive[place]),
        )
        for place, threshold in enumerate(thresholds)
    ]


def _replicates(sums: Tensor, rows: Tensor, num_replicates: int, seed: int) -> Tensor:
    """(2, R, G) net benefits of drawn subjects, from their (2, S, G) sums and (S,) rows; NaN for few subjects."""
    if len(rows) < MIN_SUBJECTS:
        return torch.full((2, num_replicates, sums.shape[-1]), torch.nan, dtype=torch.float64)
    weights = draw_weights(np.random.default_rng(seed), num_replicates, np.arange(len(rows)), len(rows))
    return torch.cat([weight @ sums / (weight @ rows)[:, None] for weight in weights], dim=1)
