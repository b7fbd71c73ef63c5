"""Named clinical concepts of MIMIC-IV: item ids, units, plausible ranges and conversions.

Item ids and limits follow the concepts of MIT-LCP/mimic-code (vitalsign, chemistry, complete_blood_count,
coagulation, enzyme, blood_differential, bg); where it gives no upper limit, the limit is one that no living
patient exceeds. A value outside its range is an error of the record and is dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A quantity that clinicians name.

    Attributes:
        name: snake case.
        unit: the unit after conversion.
        low: smallest plausible value, inclusive.
        high: largest plausible value, inclusive.
        items: item ids that record it in `unit`.
        scaled: item id -> (factor, offset) for items recorded otherwise: value · factor + offset.
        unit_factors: recorded unit (lower case) -> factor, where units vary from row to row.
        fraction: True where values up to 1 are fractions of 100.
    """

    name: str
    unit: str
    low: float
    high: float
    items: tuple[int, ...]
    scaled: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    unit_factors: Mapping[str, float] = field(default_factory=dict)
    fraction: bool = False


MICROMOLAR = ("umol/l", "mcmol/l", "\u00b5mol/l", "\u03bcmol/l")
"""How µmol/L is spelt; two letters look like µ."""

UNIT_FACTORS: Mapping[str, Mapping[str, float]] = {
    "albumin": {"g/l": 0.1},
    "bilirubin_direct": dict.fromkeys(MICROMOLAR, 1 / 17.1),
    "bilirubin_total": dict.fromkeys(MICROMOLAR, 1 / 17.1),
    "calcium": {"mmol/l": 4.008},
    "creatinine": dict.fromkeys(MICROMOLAR, 1 / 88.4),
    "crp": {"mg/dl": 10},
    "glucose": {"mmol/l": 18.016},
    "glucose_bedside": {"mmol/l": 18.016},
    "hemoglobin": {"g/l": 0.1},
    "magnesium": {"mmol/l": 2.431, "meq/l": 1.215},
    "total_protein": {"g/l": 0.1},
}
"""Concept -> recorded unit (lower case) -> factor to the concept's own unit, whichever database recorded it."""
