"""The Simplified Acute Physiology Score II, and the mortality in hospital that it predicts.

Le Gall, Lemeshow and Saulnier, "A new Simplified Acute Physiology Score (SAPS II) based on a European/North American
multicenter study", JAMA 270:2957-2963 (1993). Of the values of the first day the worst counts; one that is not known
counts as normal.
"""

from dataclasses import dataclass

import numpy as np

from data_modules.features.points import Array, graded, total, worst
from data_modules.features.store import BoolArray


@dataclass(frozen=True, kw_only=True)
class SapsValues:
    """The values of N rows in 24 h; each (N,) float64, NaN = not known, or Boolean.

    Attributes:
        age: years.
        heart_rate_min: 1/min.
        heart_rate_max: 1/min.
        sbp_min: systolic blood pressure, mmHg.
        sbp_max: systolic blood pressure, mmHg.
        temperature_max: degrees Celsius.
        pf_supported: lowest PaO2 / FiO2 under ventilation or continuous pressure, mmHg; FiO2 as fraction.
        urine: mL.
        bun_max: urea nitrogen, mg/dL.
        wbc_min: K/uL.
        wbc_max: K/uL.
        potassium_min: mEq/L.
        potassium_max: mEq/L.
        sodium_min: mEq/L.
        sodium_max: mEq/L.
        bicarbonate_min: mEq/L.
        bilirubin_max: mg/dL.
        gcs_min: total of the Glasgow Coma Scale.
        metastatic: True = metastatic cancer.
        hematologic: True = hematologic malignancy.
        aids: True = AIDS.
        scheduled_surgery: True = admitted for scheduled surgery.
        unscheduled_surgery: True = admitted for other surgery; neither = a medical admission.
    """

    age: Array
    heart_rate_min: Array
    heart_rate_max: Array
    sbp_min: Array
    sbp_max: Array
    temperature_max: Array
    pf_supported: Array
    urine: Array
    bun_max: Array
    wbc_min: Array
    wbc_max: Array
    potassium_min: Array
    potassium_max: Array
    sodium_min: Array
    sodium_max: Array
    bicarbonate_min: Array
    bilirubin_max: Array
    gcs_min: Array
    metastatic: BoolArray
    hematologic: BoolArray
    aids: BoolArray
    scheduled_surgery: BoolArray
    unscheduled_surgery: BoolArray


def saps_points(values: SapsValues) -> Array:
    """Return the points of N rows, 0 to 163.

    Args:
        values: of N rows.

    Returns:
        (N,) points; what is not known has none.

    >>> from dataclasses import fields
    >>> unknown = {entry.name: np.array([np.nan]) for entry in fields(SapsValues)}
    >>> flags = ("metastatic", "hematologic", "aids", "scheduled_surgery", "unscheduled_surgery")
    >>> unknown |= {name: np.array([False]) for name in flags}
    >>> saps_points(SapsValues(**unknown)).tolist()
    [6.0]
    """
    chronic = np.max([9.0 * values.metastatic, 10.0 * values.hematologic, 17.0 * values.aids], axis=0)
    kind = np.where(values.scheduled_surgery, 0.0, np.where(values.unscheduled_surgery, 8.0, 6.0))
    return total([
        graded(values.age, (40, 60, 70, 75, 80), (0, 7, 12, 15, 16, 18)),
        worst(values.heart_rate_min, values.heart_rate_max, (40, 70, 120, 160), (11, 2, 0, 4, 7)),
        worst(values.sbp_min, values.sbp_max, (70, 100, 200), (13, 5, 0, 2)),
        graded(values.temperature_max, (39,), (0, 3)),
        graded(values.pf_supported, (100, 200), (11, 9, 6)),
        graded(values.urine, (500, 1000), (11, 4, 0)),
        graded(values.bun_max, (28, 84), (0, 6, 10)),
        worst(values.wbc_min, values.wbc_max, (1, 20), (12, 0, 3)),
        worst(values.potassium_min, values.potassium_max, (3, 5), (3, 0, 3)),
        worst(values.sodium_min, values.sodium_max, (125, 145), (5, 0, 1)),
        graded(values.bicarbonate_min, (15, 20), (6, 3, 0)),
        graded(values.bilirubin_max, (4, 6), (0, 4, 9)),
        graded(values.gcs_min, (6, 9, 11, 14), (26, 13, 7, 5, 0)),
        chronic,
        kind,
    ])  # fmt: skip


def saps_mortality(points: Array) -> Array:
    """Return the probability of death in hospital, by the published equation.

    >>> saps_mortality(np.array([29.0, 52.0, 77.0])).round(2).tolist()
    [0.1, 0.51, 0.91]
    """
    logit = -7.7631 + 0.0737 * points + 0.9971 * np.log1p(points)
    return np.asarray(1 / (1 + np.exp(-logit)))
