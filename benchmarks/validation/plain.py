"""What the loops share: csv rows, results as text, units and summaries."""

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from data_modules.features.concepts import Concept

Row = dict[str, str]
SIGNS = ("<", ">", "less than", "greater than", "more than", "below", "above", "under", "over")
SAME = {
    "mg/dL": {"mg/dl"},
    "g/dL": {"g/dl", "gm/dl"},
    "mEq/L": {"meq/l", "mmol/l", "mm/l"},
    "mmol/L": {"mmol/l"},
    "mg/L": {"mg/l"},
    "ng/mL": {"ng/ml"},
    "pg/mL": {"pg/ml"},
    "IU/L": {"iu/l", "u/l", "units/l", "unit/l"},
    "%": {"%", "%cv", "%thb", "%totalhgb", "%sat"},
    "s": {"s", "sec", "secs", "second", "seconds"},
    "1": {"ratio", "units", "unit"},
    "mmHg": {"mmhg", "mm/hg"},
    "fL": {"fl", "u3"},
    "pg": {"pg", "uug"},
    "K/uL": {
        "k/ul", "k/mcl", "k/mm3", "k/cmm", "k/mmcu", "th/ul", "th/cmm", "th/cumm", "ths/ul", "thou/ul", "thou/cumm",
        "10e3/mcl", "103/ul", "103/mcl", "103mcl", "x103", "x103/ul", "x103/mcl", "109/l",
    },
    "m/uL": {
        "m/ul", "m/mcl", "m/mm3", "m/cmm", "m/mmcu", "mi/cumm", "mil/ul", "mil/mcl", "mil/cmm", "mill/ul", "mill/cumm",
        "10e6/mcl", "106/ul", "106/mcl", "106mcl", "x106", "x106/ul", "x106/mcl", "1012/l",
    },
    "1/min": {"bpm", "insp/min"},
    "C": {"°c"},
    "cm": {"cm"},
    "kg": {"kg"},
    "points": set[str](),
    "uIU/mL": {"uiu/ml"},
    "1/hpf": {"/hpf", "#/hpf"},
    "grade": set[str](),
    "L/min": {"l/min"},
    "cmH2O": {"cmh2o"},
    "mL": {"ml"},
    "ug/kg/min": {"mcg/kg/min"},
    "units/min": set[str](),
}  # fmt: skip
"""Unit of a concept -> spellings in the demos, without spaces, brackets and points; any other unit is unknown."""
FACTORS = {
    ("crp", "mg/dl"): (10.0, 0.0),
    ("magnesium", "meq/l"): (1.215, 0.0),
    ("mchc", "%"): (1.0, 0.0),
    ("ionized_calcium", "mg/dl"): (1.0, 0.0),
    ("d_dimer", "ng/mlfeu"): (1.0, 0.0),
    ("temperature", "°f"): (1 / 1.8, -32 / 1.8),
    ("height", "inch"): (2.54, 0.0),
    ("vasopressin", "units/hour"): (1 / 60, 0.0),
    ("lymphocytes_absolute", "#/ul"): (1e-3, 0.0),
}
"""Concept and spelling -> factor and offset, where they are not those of `SAME`."""
_LEFT_OUT = str.maketrans("", "", " ().*")


def read(file: Path, column: str = "", among: Collection[str] = ()) -> list[Row]:
    """Rows of a csv file as dictionaries; with a column, those whose cell is one of some texts."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        names = next(rows)
        place = names.index(column) if column else 0
        return [dict(zip(names, cells, strict=True)) for cells in rows if not column or cells[place] in among]


def number(text: str) -> float | None:
    """The number of a cell; None for an empty one."""
    return float(text) if text else None


@cache
def limit(text: str) -> float | None:
    """The number after a comparison with which a text begins; None without one.

    >>> limit("<0.01.  Verified"), limit("GREATER THAN 1,000"), limit("5")
    (0.01, 1000.0, None)
    """
    words = " ".join(text.lower().split())
    sign = next((one for one in SIGNS if words.startswith(one)), None)
    if sign is None:
        return None
    rest = words.removeprefix(sign).strip().removeprefix("or equal to").strip().removeprefix("=").strip()
    length = next((place for place, one in enumerate(rest) if one not in "0123456789.,"), len(rest))
    return plain(rest[:length].rstrip(".,"))


@cache
def plain(text: str) -> float | None:
    """The number that a text is; None if it is anything more.

    >>> plain(" -3 "), plain("1,000"), plain("5 of 9"), plain("nan")
    (-3.0, 1000.0, None, None)
    """
    digits = text.strip().replace(",", "")
    if not digits or set(digits) - set("0123456789.+-"):
        return None
    try:
        return float(digits)
    except ValueError:
        return None


@cache
def not_done(text: str) -> bool:
    """Whether a text begins by saying that nothing was measured."""
    words = " ".join(text.lower().split())
    return words.startswith(("not done", "not performed", "cancel")) or (words[:2] == "nd" and not words[2:3].isalnum())


@cache
def spelling(unit: str) -> str:
    """A unit without the signs in which spellings differ."""
    return unit.lower().translate(_LEFT_OUT)


def in_unit(concept: Concept, value: float, unit: str) -> float | None:
    """A recorded value in the unit of its concept; None where the unit is unknown."""
    spelt = spelling(unit)
    if (concept.name, spelt) in FACTORS:
        factor, offset = FACTORS[concept.name, spelt]
        value = value * factor + offset
    elif spelt and spelt not in SAME[concept.unit]:
        return None
    if concept.fraction and value <= 1:
        value *= 100
    if concept.above and value > concept.above[0]:
        value = value * concept.above[1] + concept.above[2]
    return value


class Act(NamedTuple):
    """A specimen that was drawn or a value that was charted, by the landmark.

    Attributes:
        hours: relative to the landmark.
        specimen: "" = none.
        source: item or label.
        known: whether there is a result by the landmark.
        stored: when, in any order.
        value: None = none.
        censored: whether the value is a limit.
    """

    hours: float
    specimen: str
    source: str
    known: bool
    stored: Any
    value: float | None
    censored: bool = False


def last_revisions(acts: Iterable[Act]) -> list[Act]:
    """Of each source, time and specimen the result stored last, one with a value before any without."""
    latest: dict[tuple[float, str, str], Act] = {}

    def rank(act: Act) -> tuple[Any, ...]:
        return act.value is not None, act.known, act.stored, act.value or 0.0, act.censored

    for act in acts:
        key = act.hours, act.specimen, act.source
        if key not in latest or rank(act) > rank(latest[key]):
            latest[key] = act
    return list(latest.values())


def by_time(acts: Iterable[Act]) -> dict[float, tuple[float, float]]:
    """Hours -> mean value and share of limits; the values of one specimen count once, as their maximum."""
    specimens: dict[tuple[float, object], tuple[float, bool]] = {}
    for place, act in enumerate(acts):
        if act.value is not None:
            key = act.hours, act.specimen or place
            specimens[key] = max(specimens.get(key, (-math.inf, False)), (act.value, act.censored))
    times = defaultdict(list)
    for (hours, _), found in specimens.items():
        times[hours].append(found)
    return {
        hours: (sum(value for value, _ in found) / len(found), sum(limit for _, limit in found) / len(found))
        for hours, found in times.items()
    }


NOTHING = dict.fromkeys(("first", "last", "min", "max", "mean", "slope", "hours_since_last"), math.nan) | {
    "count": 0, "censored": 0.0, "ordered": 0.0, "observed": 0.0,
}  # fmt: skip
"""The columns of a concept without an order or a value."""


def summary(acts: list[Act]) -> dict[str, float]:
    """The columns of a concept."""
    if not acts:
        return dict(NOTHING)
    moments = by_time(acts)
    x = sorted(moments)
    y = [moments[hours][0] for hours in x]
    table = NOTHING | {"count": len(x), "ordered": 1.0}
    table["observed"] = float(any(act.known for act in acts))
    if x:
        table |= {"first": y[0], "last": y[-1], "min": min(y), "max": max(y), "mean": sum(y) / len(y)}
        table |= {"hours_since_last": -x[-1], "censored": sum(limit for _, limit in moments.values()) / len(x)}
    if len(x) > 1:
        centre = sum(x) / len(x)
        rise = sum((hours - centre) * (value - table["mean"]) for hours, value in zip(x, y, strict=True))
        table["slope"] = rise / sum((hours - centre) ** 2 for hours in x)
    return table
