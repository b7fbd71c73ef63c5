"""The Oxford Acute Severity of Illness Score, and the mortality in hospital that it predicts.

Johnson, Kramer and Clifford, "A new severity of illness scale using a subset of Acute Physiology and Chronic Health
Evaluation data elements shows comparable predictive accuracy", Crit Care Med 41:1711-1718 (2013). Where the table
leaves a gap between two steps, the later one begins at its printed number. Of the values of the first day the worst
counts; one that is not known counts as normal.
"""

from dataclasses import dataclass

import numpy as np

from data_modules.features.points import Array, graded, total, worst
from data_modules.features.store import BoolArray


@dataclass(frozen=True, kw_only=True)
class OasisValues:
    """The values of N rows in 24 h; each (N,) float64, NaN = not known, or Boolean.

    Attributes:
        hours_before_unit: from the admission to the unit.
        age: years.
        gcs_min: total of the Glasgow Coma Scale.
        heart_rate_min: 1/min.
        heart_rate_max: 1/min.
        mbp_min: mean arterial pressure, mmHg.
        mbp_max: mean arterial pressure, mmHg.
        respiratory_rate_min: 1/min.
        respiratory_rate_max: 1/min.
        temperature_min: degrees Celsius.
        temperature_max: degrees Celsius.
        urine: mL.
        ventilated: True = mechanically.
        elective_surgery: True = admitted for it.
    """

    hours_before_unit: Array
    age: Array
    gcs_min: Array
    heart_rate_min: Array
    heart_rate_max: Array
    mbp_min: Array
    mbp_max: Array
    respiratory_rate_min: Array
    respiratory_rate_max: Array
    temperature_min: Array
    temperature_max: Array
    urine: Array
    ventilated: BoolArray
    elective_surgery: BoolArray


def oasis_points(values: OasisValues) -> Array:
    """Return the points of N rows.

    Args:
        values: of N rows.

    Returns:
        (N,) points; what is not known has none.

    >>> from dataclasses import fields
    >>> unknown = {entry.name: np.array([np.nan]) for entry in fields(OasisValues)}
    >>> unknown |= {"ventilated": np.array([False]), "elective_surgery": np.array([True])}
    >>> oasis_points(OasisValues(**unknown)).tolist()
    [0.0]
    """
    breathing = (values.respiratory_rate_min, values.respiratory_rate_max)
    temperature = (values.temperature_min, values.temperature_max)
    return total([
        graded(values.hours_before_unit, (0.17, 4.95, 24.01, 311.81), (5, 3, 0, 2, 1)),
        graded(values.age, (24, 54, 78, 90), (0, 3, 6, 9, 7)),
        graded(values.gcs_min, (8, 14, 15), (10, 4, 3, 0)),
        worst(values.heart_rate_min, values.heart_rate_max, (33, 89, 107, 126), (4, 0, 1, 3, 6)),
        worst(values.mbp_min, values.mbp_max, (20.65, 51, 61.33, 143.45), (4, 3, 2, 0, 3)),
        worst(*breathing, (6, 13, 23, 31, 45), (10, 1, 0, 1, 6, 9)),
        worst(*temperature, (33.22, 35.94, 36.40, 36.89, 39.89), (3, 4, 2, 0, 2, 6)),
        graded(values.urine, (671.09, 1427, 2544.15, 6896.8), (10, 5, 1, 0, 8)),
        np.where(values.ventilated, 9.0, 0.0),
        np.where(values.elective_surgery, 0.0, 6.0),
    ])  # fmt: skip


def oasis_mortality(points: Array) -> Array:
    """Return the probability of death in hospital, by the published equation.

    >>> oasis_mortality(np.array([20.0, 48.4])).round(3).tolist()
    [0.026, 0.499]
    """
    return np.asarray(1 / (1 + np.exp(6.1746 - 0.1275 * points)))
