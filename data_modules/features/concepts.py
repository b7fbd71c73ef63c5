"""Clinical concepts: names, units, plausible ranges and conversions, shared by all databases."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A clinical quantity in one unit.

    Attributes:
        name: in snake case.
        unit: unit after conversion.
        low: smallest plausible value, inclusive.
        high: largest plausible value, inclusive.
        items: item ids of records in `unit`.
        scaled: item id -> (factor, offset) for items in another unit: value · factor + offset.
        unit_factors: recorded unit (lower case) -> factor, if units differ between records.
        fraction: True = values up to 1 are fractions and are multiplied by 100.
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
"""Spellings of micromol/L; two Unicode characters look like the micro sign."""

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
"""Concept -> recorded unit (lower case) -> factor to the unit of the concept, in all databases."""
