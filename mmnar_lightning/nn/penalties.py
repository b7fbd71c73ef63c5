"""Candidates for the penalties of an additive head."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.config import AdditiveConfig


@dataclass(frozen=True)
class Penalty:
    """A candidate.

    Attributes:
        inverse: C of scikit-learn's `LogisticRegression`; of a ridge regression 1 / alpha.
        deviation: prior variance of the deviations of slopes, relative to that of the shared slopes; 0 = none.
        curve: likewise of the weights of bins; 0 = every column of a table is a straight line.
        share: of the prior variance that the canonical axes have; the inputs themselves have the rest.
    """

    inverse: float
    deviation: float = 0.0
    curve: float = 1.0
    share: float = 0.0

    @property
    def ratios(self) -> tuple[float, float, float]:
        """What the columns of a fit depend on."""
        return self.deviation, self.curve, self.share


def grid(
    inverse: Sequence[float],
    deviation: Sequence[float] = (0.0,),
    curve: Sequence[float] = (1.0,),
    share: Sequence[float] = (0.0,),
) -> list[Penalty]:
    """Combine penalties; the weakest is the last for the same columns, so that a fit can start from the one before.

    Canonical axes alone have no curves.

    Returns:
        The candidates.

    >>> [(own.inverse, own.curve, own.share) for own in grid([0.1, 0.01], curve=[0, 1], share=[0, 1])][2:]
    [(0.01, 1, 0), (0.1, 1, 0), (0.01, 0, 1), (0.1, 0, 1)]
    """
    curves = sorted(curve)
    ratios = [
        (first, second, third)
        for first, third in itertools.product(sorted(deviation), sorted(share))
        for second in (curves[:1] if third == 1 else curves)
    ]
    return [Penalty(own, *all_three) for all_three in ratios for own in sorted(inverse)]


def candidates_of(head: AdditiveHead, config: AdditiveConfig, inverse: Sequence[float]) -> list[Penalty]:
    """The penalties that a head can be fitted with.

    Args:
        head: that is fitted.
        config: their candidates.
        inverse: of `Penalty`, where `config` names none.

    Returns:
        The candidates.
    """
    deviation = [0.0] if head.deviation is None else config.deviations
    curve = config.curves if head.curved else [1.0]
    share = config.shares if head.canonical_width else [0.0]
    return grid(config.inverse_penalties or inverse, deviation, curve, share)
