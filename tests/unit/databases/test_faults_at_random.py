"""Labs with faults at random places equal a slow reference in plain Python, in both databases."""

import math
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_modules.features.series import LABORATORY
from tests.helpers.drawn import Drawn, eicu_labs, mimic_labs

EARLIEST = {"mimic": -24 - 24, "eicu": -24 - 7 * 24}
"""Hours from the landmark before which an event is left out: the rows enter hospital and unit a day before it."""
FACTORS = {
    "creatinine": {"": 1, "mg/dL": 1, "MG/DL": 1, "umol/L": 0.01131, "mmol/L": 11.31},
    "lactate": {"": 1, "mmol/L": 1, "umol/L": 0.001, "mg/dL": 1 / 9.008, "MG/DL": 1 / 9.008},
    "pco2": {"": 1, "mm Hg": 1, "kPa": 7.50062},
}
"""Concept -> spelling -> factor; any other unit is unknown."""
RANGES = {"creatinine": {"mimic": (0.1, 150), "eicu": (0.1, 28.28)}, "lactate": (0.1, 50), "pco2": (5, 250)}
TEXTS = ("", "<0.5", "GREATER THAN 20", "7.5", "1,000", "___", "5-10", "NOT DONE", "Cancelled. 3")
HOURS = st.sampled_from([-8000, -193, -192, -49, -48, -30, -6, -5.5, -1, 0, 0.5, 400])
EVENTS = st.builds(
    Drawn,
    name=st.sampled_from(sorted(FACTORS)),
    at=HOURS,
    stored=st.one_of(st.none(), HOURS),
    number=st.one_of(st.none(), st.sampled_from([0.4, 1.5, 12, 40, 300])),
    text=st.sampled_from(TEXTS),
    unit=st.sampled_from(["", "mg/dL", "MG/DL", "umol/L", "mmol/L", "kPa", "mm Hg", "drops"]),
    row=st.sampled_from([1, 1, 1, 2, 3]),
    owner=st.sampled_from([0, 0, 0, 2]),
)
LABS = st.lists(EVENTS, min_size=25, max_size=70).flatmap(
    lambda labs: st.lists(st.sampled_from(labs), max_size=5).map(lambda repeated: [*labs, *repeated])
)


def stated(text):
    """The number of a text, and whether it is a limit; None without one."""
    if limit := re.match(r"(?:<|greater than )([\d.]+)", text.lower()):
        return float(limit[1]), True
    plain = text.replace(",", "")
    return (float(plain), False) if re.fullmatch(r"[\d.]+", plain) else None


def value_of(database, lab, number, unit):
    """A number in the unit of its concept; None where the unit is unknown or the value impossible."""
    ranges = RANGES[lab.name]
    low, high = ranges[database] if isinstance(ranges, dict) else ranges
    factor = FACTORS[lab.name].get(unit)
    value = None if factor is None or number is None else number * factor
    return value if value is not None and low <= value <= high else None


def mimic_reading(lab):
    """Value and whether it is a limit, in MIMIC-IV: the number, else the text; a limit in the text marks the number."""
    read = stated(lab.text)
    number = lab.number if lab.number is not None else read and read[0]
    return value_of("mimic", lab, number, lab.unit), bool(read and read[1])


def eicu_reading(lab):
    """Value and whether it is a limit, in eICU: of the number and the text the first that is possible."""
    read = stated(lab.text)
    found = [number for number in (lab.number, read and read[0]) if number is not None]
    values = [value_of("eicu", lab, number, lab.unit) for number in found]
    return next((value for value in values if value is not None), None), bool(read and read[1])


def not_done(database, lab):
    said = lab.text.startswith(("NOT DONE", "Cancelled"))
    return said and (database == "eicu" or lab.number is None)


def acts_of(database, labs, row, name):
    """The labs of one row and concept that were drawn by the landmark, during its stay, by time."""
    acts: dict[float, list[Drawn]] = {}
    for lab in labs:
        belongs = (lab.row, lab.name) == (row, name) and lab.at >= EARLIEST[database]
        mine = database == "eicu" or lab.owner in (0, row)
        if belongs and mine and lab.at <= 0:
            acts.setdefault(lab.at, []).append(lab)
    return acts


def settled(database, revisions):
    """The value of one act and whether it is a limit, or None: of the last revision that has one."""
    read = mimic_reading if database == "mimic" else eicu_reading
    by_time: dict[float, list[tuple[float | None, bool]]] = {}
    for lab in revisions:
        by_time.setdefault(stored(lab), []).append(read(lab))
    for time in sorted(by_time, reverse=True):
        valued = [one for one in by_time[time] if one[0] is not None]
        values = {value for value, _ in valued}
        if len(values) == 1 or (values and database == "mimic"):
            return max(valued)[0], {limit for value, limit in valued if value == max(values)}
    return None


def stored(lab):
    return lab.at if lab.stored is None else lab.stored


def reference(database, labs, row, name):
    """Part -> value of one row and concept; `censored` is a pair of bounds, because equal results may differ in it."""
    acts = acts_of(database, labs, row, name)
    known = {at: [one for one in act if stored(one) <= 0 and not not_done(database, one)] for at, act in acts.items()}
    found = {at: one for at, act in sorted(known.items()) if (one := settled(database, act)) is not None}
    values = [value for value, _ in found.values()]
    parts = {"ordered": float(bool(acts)), "observed": float(any(known.values())), "count": float(len(values))}
    bounds = [sum(choose(limits) for _, limits in found.values()) / (len(values) or 1) for choose in (min, max)]
    nothing = dict.fromkeys(("first", "last", "min", "max", "mean", "hours_since_last", "slope"), math.nan)
    if not values:
        return {**nothing, **parts}, bounds
    summary = {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
    summary |= {"mean": sum(values) / len(values), "hours_since_last": -max(found), "slope": slope(found)}
    return {**parts, **summary}, bounds


def slope(found):
    times, values = list(found), [value for value, _ in found.values()]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - middle) ** 2 for time in times)
    joint = sum((time - middle) * (value - mean) for time, value in zip(times, values, strict=True))
    return joint / spread if spread else math.nan


@pytest.mark.parametrize(("database", "written"), [("mimic", mimic_labs), ("eicu", eicu_labs)])
@settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(labs=LABS)
def test_labs_with_faults_equal_a_plain_loop(database, written, labs):
    with tempfile.TemporaryDirectory() as folder:
        built = written(Path(folder), *labs)
    for row in (1, 2, 3):
        expected = {name: reference(database, labs, row, name) for name in FACTORS}
        cells = built.rows[row]
        assert (cells is not None) == any(parts["ordered"] for parts, _ in expected.values())
        for name, (parts, (least, most)) in expected.items() if cells is not None else ():
            assert {*parts, "censored"} == set(LABORATORY)
            for part, value in parts.items():
                assert cells[f"{name}/{part}"] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (name, part)
            assert least - 1e-6 <= cells[f"{name}/censored"] <= most + 1e-6
