"""A penalised logistic regression, minimised directly."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def penalised(design: Array, variance: Array, outcome: Array, inverse: float) -> Array:
    """Weights and, last, the intercept of the regression with prior variance · C of every column."""

    def loss(weights: Array) -> float:
        logit = design @ weights[:-1] + weights[-1]
        return float(
            np.logaddexp(0, (1 - 2 * outcome) * logit).sum() + (weights[:-1] ** 2 / variance).sum() / 2 / inverse
        )

    found = minimize(loss, np.zeros(design.shape[1] + 1), method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-13})
    return np.asarray(found.x)
