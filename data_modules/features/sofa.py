"""The Sequential Organ Failure Assessment (SOFA): six organs, 0 to 4 points each.

Table 3 of Vincent et al., "The SOFA (Sepsis-related Organ Failure Assessment) score to describe organ
dysfunction/failure", Intensive Care Med 22:707-710 (1996). The table leaves gaps between its last two steps of
bilirubin (11.9 and 12.0 mg/dL) and creatinine (4.9 and 5.0 mg/dL): here a step begins at the larger number. An organ
without a value counts as normal.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_modules.features.store import BoolArray

Array = NDArray[np.float64]

ORGANS = ("respiration", "coagulation", "liver", "cardiovascular", "nervous", "renal")
"""The components, in the order of the table."""


@dataclass(frozen=True, kw_only=True)
class SofaValues:
    """The worst values of N rows in one window; each (N,) float64, NaN = not measured, or not given.

    Attributes:
        pf: PaO2 / FiO2 in mmHg, without respiratory support; FiO2 as fraction.
        pf_supported: PaO2 / FiO2 in mmHg, with respiratory support; only these can give 3 or 4 points.
        platelets: lowest, K/uL.
        bilirubin: highest, mg/dL.
        mbp: lowest mean arterial pressure, mmHg.
        dopamine: highest rate, ug/kg/min.
        dobutamine: highest rate, ug/kg/min; any rate above 0 counts.
        epinephrine: highest rate, ug/kg/min.
        norepinephrine: highest rate, ug/kg/min.
        gcs: lowest total of the Glasgow Coma Scale, 3 to 15.
        creatinine: highest, mg/dL.
        urine: output of 24 h, mL.
    """

    pf: Array
    pf_supported: Array
    platelets: Array
    bilirubin: Array
    mbp: Array
    dopamine: Array
    dobutamine: Array
    epinephrine: Array
    norepinephrine: Array
    gcs: Array
    creatinine: Array
    urine: Array


class SofaPoints(NamedTuple):
    """Points of N rows.

    Attributes:
        points: (N, 6) float64, by `ORGANS`; 0 without a value.
        known: (N, 6) bool, True = the organ has a value.
        total: (N,) float64, the sum, 0 to 24.
    """

    points: Array
    known: BoolArray
    total: Array


def sofa_points(values: SofaValues) -> SofaPoints:
    """Return the points of each organ and their sum.

    >>> unknown = dict.fromkeys(SofaValues.__dataclass_fields__, np.full(2, np.nan))
    >>> values = SofaValues(**{**unknown, "pf": np.array([150.0, np.nan]), "gcs": np.array([9.0, 15.0])})
    >>> found = sofa_points(values)
    >>> found.points.tolist(), found.total.tolist()
    ([[2.0, 0.0, 0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], [5.0, 0.0])
    >>> found.known[1].tolist()
    [False, False, False, False, True, False]
    """
    organs = (
        [_below(values.pf, 400, 300), _below(values.pf_supported, 400, 300, 200, 100)],
        [_below(values.platelets, 150, 100, 50, 20)],
        [_from(values.bilirubin, 1.2, 2, 6, 12)],
        [_below(values.mbp, 70), *_vasoactive(values)],
        [_below(values.gcs, 15, 13, 10, 6)],
        [_from(values.creatinine, 1.2, 2, 3.5, 5), _urine(values.urine)],
    )
    worst = np.stack([np.fmax.reduce(parts) for parts in organs], axis=1)
    points = np.nan_to_num(worst, nan=0.0)
    return SofaPoints(points, ~np.isnan(worst), points.sum(1))


def _vasoactive(values: SofaValues) -> list[Array]:
    """Points of each drug; NaN where it is not given."""
    catecholamines = [
        _given(rate, np.where(rate > 0.1, 4.0, 3.0)) for rate in (values.epinephrine, values.norepinephrine)
    ]
    dopamine = _given(values.dopamine, 2 + _above(values.dopamine, 5, 15))
    return [dopamine, _given(values.dobutamine, np.full(values.dobutamine.shape, 2.0)), *catecholamines]


def _given(rate: Array, points: Array) -> Array:
    return np.where(rate > 0, points, np.nan)


def _urine(output: Array) -> Array:
    """3 points below 500 mL and 4 below 200 mL; NaN stays NaN."""
    return np.where(output < 500, 2 + _below(output, 500, 200), 0 * output)


def _below(values: Array, *limits: float) -> Array:
    """A point for each limit that a value is below; NaN stays NaN."""
    return _keep(values, [values < limit for limit in limits])


def _from(values: Array, *limits: float) -> Array:
    """A point for each limit that a value reaches; NaN stays NaN."""
    return _keep(values, [values >= limit for limit in limits])


def _above(values: Array, *limits: float) -> Array:
    """A point for each limit that a value exceeds; NaN stays NaN."""
    return _keep(values, [values > limit for limit in limits])


def _keep(values: Array, reached: list[BoolArray]) -> Array:
    return np.where(np.isnan(values), np.nan, np.sum(reached, axis=0, dtype=np.float64))
