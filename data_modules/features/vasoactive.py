"""Norepinephrine equivalents: the rates of several vasopressors as one.

Factors of Goradia et al., "Vasopressor dose equivalence: a scoping review and suggested formula", J Crit Care
61:233-240 (2021). Inotropes (dobutamine, milrinone) have none.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

NOREPINEPHRINE_OF: Mapping[str, float] = {
    "norepinephrine": 1.0,
    "epinephrine": 1.0,
    "dopamine": 0.01,
    "phenylephrine": 0.1,
    "vasopressin": 2.5,
}
"""Drug -> norepinephrine in ug/kg/min that equals 1 ug/kg/min of it; of vasopressin, 1 unit/min."""


def norepinephrine_equivalents(rates: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the sum of the rates of vasopressors as norepinephrine.

    Args:
        rates: drug of `NOREPINEPHRINE_OF` -> (N,) rate in ug/kg/min, of vasopressin in units/min; NaN = not given.

    Returns:
        (N,) ug/kg/min; NaN where no drug is given.

    >>> rates = {"norepinephrine": np.array([0.2, np.nan]), "vasopressin": np.array([0.04, np.nan])}
    >>> norepinephrine_equivalents(rates).round(3).tolist()
    [0.3, nan]
    """
    parts = np.stack([NOREPINEPHRINE_OF[drug] * rate for drug, rate in rates.items()])
    return np.where(np.isnan(parts).all(0), np.nan, np.nansum(parts, axis=0))
