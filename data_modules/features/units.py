"""Units as they are recorded, and their conversion to the unit of a concept.

Hospitals spell one unit in many ways, so spellings are compared in a normal form (`normal`). Concentrations are
converted by their prefixes, and between mass, amount and equivalents by molar mass and valence. Rates of infusion are
converted by their prefixes and times, never between those with and without body weight. A unit that has no conversion
here is unknown: its values are dropped and counted, never taken as the unit of the concept.
"""

from collections.abc import Mapping
from itertools import product

import polars as pl

Conversion = tuple[float, float]
"""Factor and offset: value · factor + offset is in the unit of the concept."""

_MASS = {"g": 1.0, "mg": 1e-3, "ug": 1e-6, "ng": 1e-9, "pg": 1e-12}
_AMOUNT = {"mol": 1.0, "mmol": 1e-3, "umol": 1e-6, "nmol": 1e-9, "pmol": 1e-12}
_EQUIVALENT = {"eq": 1.0, "meq": 1e-3}
_VOLUME = {"l": 1.0, "dl": 0.1, "100ml": 0.1, "ml": 1e-3, "ul": 1e-6}
_TIME = {"min": 1.0, **dict.fromkeys(("h", "hr", "hrs", "hour"), 60.0)}
_UNITS = {"u": 1.0, "mu": 1e-3}
"""International units of a drug."""
_ALIASES = {"mm/l": "mmol/l", "g%": "g/dl", "mg%": "mg/dl", "ug%": "ug/dl"}
_MICROLITRE = ("/ul", "ul", "")
_THOUSAND = ("k", "th", "ths", "thou", "thous", "thousand", "103", "1000")
_MILLION = ("m", "mi", "mil", "mill", "million", "106")

_NORMAL = (
    ("[µμ]", "u"),
    (r"[\s.()*^?]+", ""),
    ("&#176;|°|degrees?|deg", ""),
    ("^x10", "10"),
    (r"10e(\d)", "10$1"),
    ("(?:cumm|mmcu|mm3|cmm)$", "ul"),
    ("mc(g|mol|l|iu|u|kat)", "u$1"),
    ("gm", "g"),
    ("^(u|m|k|)(?:units?|iu)", "${1}u"),
    ("feu$", ""),
    ("^%.+$", "%"),
)
"""Pattern and replacement, in order; the text is in lower case."""

_CELSIUS_OF_FAHRENHEIT = (1 / 1.8, -32 / 1.8)
_OTHER: Mapping[str, Mapping[str, Conversion]] = {
    "%": {"%": (1.0, 0.0), "percent": (1.0, 0.0), "vol%": (1.0, 0.0), "l/l": (100.0, 0.0), "fraction": (100.0, 0.0)},
    "1": dict.fromkeys(("1", "ratio", "inr", "index", "u", "ph", "phu", "none", "n/a"), (1.0, 0.0)),
    "1/hpf": dict.fromkeys(("/hpf", "#/hpf"), (1.0, 0.0)),
    "1/min": dict.fromkeys(("1/min", "/min", "bpm", "b/min", "beats/min", "insp/min", "breaths/min"), (1.0, 0.0)),
    "C": {
        **dict.fromkeys(("c", "celsius", "cels"), (1.0, 0.0)),
        **dict.fromkeys(("f", "fahrenheit"), _CELSIUS_OF_FAHRENHEIT),
    },
    "IU/L": {"u/l": (1.0, 0.0), "u/ml": (1000.0, 0.0), "ukat/l": (60.0, 0.0), "nkat/l": (0.06, 0.0)},
    "L/min": dict.fromkeys(("l/min", "lpm"), (1.0, 0.0)),
    "cm": {"cm": (1.0, 0.0), "m": (100.0, 0.0), **dict.fromkeys(("in", "inch", "inches"), (2.54, 0.0))},
    "cmH2O": {"cmh2o": (1.0, 0.0), "mmhg": (1.35951, 0.0)},
    "fL": dict.fromkeys(("fl", "u3", "um3", "cuu", "cum", "cuum"), (1.0, 0.0)),
    "kg": {"kg": (1.0, 0.0), "g": (1e-3, 0.0), **dict.fromkeys(("lb", "lbs"), (0.45359237, 0.0))},
    "mL": {"ml": (1.0, 0.0), "l": (1000.0, 0.0)},
    "mmHg": {**dict.fromkeys(("mmhg", "mm/hg", "torr"), (1.0, 0.0)), "kpa": (7.50062, 0.0), "cmh2o": (0.735559, 0.0)},
    "pg": dict.fromkeys(("pg", "uug", "pg/cell"), (1.0, 0.0)),
    "s": dict.fromkeys(("s", "sec", "secs", "second", "seconds"), (1.0, 0.0)),
    "K/uL": {
        **{amount + volume: (1.0, 0.0) for amount, volume in product(_THOUSAND, _MICROLITRE)},
        **dict.fromkeys(("109/l", "bil/l", "billion/l"), (1.0, 0.0)),
        **dict.fromkeys(("/ul", "#/ul", "cells/ul"), (1e-3, 0.0)),
    },
    "m/uL": {
        **{amount + volume: (1.0, 0.0) for amount, volume in product(_MILLION, _MICROLITRE)},
        **dict.fromkeys(("1012/l", "tril/l", "trillion/l"), (1.0, 0.0)),
        **dict.fromkeys(("/ul", "#/ul", "cells/ul"), (1e-6, 0.0)),
    },
}
"""Unit of a concept that is no concentration -> spelling in normal form -> conversion."""


def normal(column: str) -> pl.Expr:
    """Return the spellings of a unit in normal form; empty text is null.

    >>> frame = pl.DataFrame({"unit": ["MG/DL", "mcmol/L", "x10(3)/mcL", "mm(hg)", " ", None]})
    >>> frame.select(normal("unit")).to_series().to_list()
    ['mg/dl', 'umol/l', '103/ul', 'mmhg', None, None]
    """
    return pl.col(column).map_batches(_normal, return_dtype=pl.String(), is_elementwise=True)


def _normal(recorded: pl.Series) -> pl.Series:
    """Normalise the few distinct spellings of a batch, not its rows."""
    distinct = recorded.unique().drop_nulls()
    text = distinct.str.to_lowercase()
    for pattern, replacement in _NORMAL:
        text = text.str.replace_all(pattern, replacement)
    table = pl.DataFrame({"recorded": distinct, "normal": text.set(text == "", None)})
    return recorded.replace_strict(table["recorded"], table["normal"], default=None, return_dtype=pl.String())


def conversions(unit: str, molar_mass: float | None = None, valence: int | None = None) -> dict[str, Conversion]:
    """Return the known recorded units of a concept.

    Args:
        unit: unit of the concept, such as `mg/dL` or `K/uL`.
        molar_mass: in g/mol; without it, mass is not converted to amount.
        valence: equivalents per mol; without it, equivalents are not converted to amount.

    Returns:
        Spelling in normal form -> conversion; empty for a unit that has no other spelling.

    >>> calcium = conversions("mg/dL", molar_mass=40.08, valence=2)
    >>> [round(calcium[unit][0], 3) for unit in ("mg/dl", "mmol/l", "meq/l", "g/l")]
    [1.0, 4.008, 2.004, 100.0]
    >>> round(conversions("ug/kg/min")["mg/kg/hr"][0], 2), "ml/hr" in conversions("ug/kg/min")
    (16.67, False)
    """
    if unit in _OTHER:
        return dict(_OTHER[unit])
    own = unit.lower().replace("units/", "u/")
    for sizes in (*_groups(molar_mass, valence), *_rates()):
        if own in sizes:
            same = {spelling: (size / sizes[own], 0.0) for spelling, size in sizes.items()}
            return same | {alias: same[spelling] for alias, spelling in _ALIASES.items() if spelling in same}
    return {}


def _groups(molar_mass: float | None, valence: int | None) -> list[dict[str, float]]:
    """Concentrations that convert into each other: spelling -> size, in moles (or grams) per litre."""
    amounts = _per_volume(_AMOUNT, 1.0) | ({} if valence is None else _per_volume(_EQUIVALENT, 1 / valence))
    if molar_mass is None:
        return [_per_volume(_MASS, 1.0), amounts]
    return [amounts | _per_volume(_MASS, 1 / molar_mass)]


def _rates() -> list[dict[str, float]]:
    """Rates of infusion that convert into each other: spelling -> size, in grams or units per minute (and kg)."""
    return [
        {
            f"{amount}/{per}": size / minutes
            for amount, size in sizes.items()
            for time, minutes in _TIME.items()
            for per in ((f"kg/{time}", f"{time}/kg") if by_weight else (time,))
        }
        for sizes, by_weight in product((_MASS, _UNITS), (False, True))
    ]


def _per_volume(sizes: Mapping[str, float], scale: float) -> dict[str, float]:
    return {
        f"{amount}/{volume}": size * scale / litres
        for amount, size in sizes.items()
        for volume, litres in _VOLUME.items()
    }
