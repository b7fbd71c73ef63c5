"""Smallest number of rows with which a model of a binary outcome may be developed (Riley and others).

Riley, Snell, Ensor, Burke, Harrell, Moons and Collins, Statistics in Medicine 38:1276, 2019; Riley and others, BMJ
368:m441, 2020. R² of Cox and Snell from an AUROC: Riley, Van Calster and Collins, Statistics in Medicine 40:859, 2021.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, xlogy

from mmnar_lightning.metrics.prediction_powered import Z

SHRINKAGE = 0.9
"""Smallest acceptable shrinkage of the coefficients: at most 10 % of the effects is overfitting."""
OPTIMISM = 0.05
"""Largest acceptable optimism of Nagelkerke's R²."""
MARGIN = 0.05
"""Largest acceptable half-width of the 95 % interval of the overall risk."""
NODES = 201
"""Nodes of the quadrature over a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class MinimumRows:
    """Rows that each criterion needs.

    Attributes:
        shrinkage: for a shrinkage of `SHRINKAGE`.
        optimism: for an optimism of at most `OPTIMISM`.
        risk: for an overall risk that is known within `MARGIN`.
    """

    shrinkage: int
    optimism: int
    risk: int

    @property
    def rows(self) -> int:
        """Rows that all criteria need."""
        return max(self.shrinkage, self.optimism, self.risk)


def max_cox_snell(prevalence: float) -> float:
    """The largest R² of Cox and Snell that an outcome allows: 1 - (φ^φ (1 - φ)^(1 - φ))², with φ the prevalence.

    Args:
        prevalence: share of positives, in [0, 1].

    Returns:
        R², at most 0.75.

    The values of BMJ 2020 for a prevalence of 0.5, 0.2 and 0.05:

    >>> [round(max_cox_snell(prevalence), 2) for prevalence in (0.5, 0.2, 0.05)]
    [0.75, 0.63, 0.33]
    """
    return 1 - math.exp(2 * float(xlogy(prevalence, prevalence) + xlogy(1 - prevalence, 1 - prevalence)))


def minimum_rows(parameters: int, prevalence: float, cox_snell: float) -> MinimumRows:
    """The rows that a logistic regression needs.

    Args:
        parameters: number of candidate coefficients.
        prevalence: share of positives, in (0, 1).
        cox_snell: R² of Cox and Snell that the model is expected to have, in (0, `max_cox_snell`).

    Returns:
        The rows by criterion.

    The example of a binary outcome of 2019 (24 parameters, prevalence 0.174, R² 0.288) needs 662 rows:

    >>> minimum_rows(24, 0.174, 0.288)
    MinimumRows(shrinkage=623, optimism=662, risk=221)
    """
    assert 0 < cox_snell < max_cox_snell(prevalence), f"{cox_snell=} is impossible with {prevalence=}"
    wanted = cox_snell / (cox_snell + OPTIMISM * max_cox_snell(prevalence))
    return MinimumRows(
        shrinkage=math.ceil(parameters * _rows_per_parameter(SHRINKAGE, cox_snell)),
        optimism=math.ceil(parameters * _rows_per_parameter(wanted, cox_snell)),
        risk=math.ceil((Z / MARGIN) ** 2 * prevalence * (1 - prevalence)),
    )


def most_parameters(rows: int, prevalence: float, cox_snell: float) -> int:
    """The largest number of parameters for which there are enough rows; 0 if there are too few for any.

    Args:
        rows: that there are.
        prevalence: share of positives, in (0, 1).
        cox_snell: R² of Cox and Snell that the model is expected to have.

    Returns:
        The number of coefficients.

    >>> most_parameters(662, 0.174, 0.288), most_parameters(661, 0.174, 0.288), most_parameters(200, 0.174, 0.288)
    (24, 23, 0)
    """
    if minimum_rows(0, prevalence, cox_snell).risk > rows:
        return 0
    wanted = cox_snell / (cox_snell + OPTIMISM * max_cox_snell(prevalence))
    return math.floor(rows / max(_rows_per_parameter(share, cox_snell) for share in (SHRINKAGE, wanted)))


def _rows_per_parameter(shrinkage: float, cox_snell: float) -> float:
    return 1 / ((shrinkage - 1) * math.log1p(-cox_snell / shrinkage))


def cox_snell_of(auroc: float, prevalence: float) -> float:
    """The R² of Cox and Snell of a model with this AUROC, if its logits are normal with one variance in both classes.

    The authors simulate; here the same expectation is a quadrature.

    Args:
        auroc: in [0.5, 1).
        prevalence: share of positives, in (0, 1).

    Returns:
        1 - exp(-2 · gain), with the mean gain in log-likelihood of a row over the prevalence alone.

    An AUROC of 0.89 gives the R² of the example of `minimum_rows`, to two digits:

    >>> round(cox_snell_of(0.89, 0.174), 2), round(cox_snell_of(0.5, 0.174), 2)
    (0.29, 0.0)
    """
    distance = math.sqrt(2) * float(ndtri(auroc))
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    gain = 0.0
    for share, centre, sign in ((prevalence, distance / 2, 1.0), (1 - prevalence, -distance / 2, -1.0)):
        logit = math.log(prevalence / (1 - prevalence)) + distance * (nodes + centre)
        gain += share * float(weights @ -np.logaddexp(0, -sign * logit)) - float(xlogy(share, share))
    return 1 - math.exp(-2 * gain)
