"""Vasoactive drugs and fluids of MIMIC-IV, by plain loops."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from benchmarks.validation.mimic_iv import DAY, Admission, when
from benchmarks.validation.mimic_iv_events import belongs
from benchmarks.validation.plain import Act, Row, in_unit, number
from data_modules.databases.mimic_iv.vasoactives import VASOACTIVES
from data_modules.features.concepts import Concept

HELD = timedelta(hours=4)
EQUIVALENT = {"norepinephrine": 1, "epinephrine": 1, "phenylephrine": 0.1, "dopamine": 0.01, "vasopressin": 2.5}


def intervals(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> its rows of inputevents, with times."""
    by_subject = defaultdict(list)
    for row in rows:
        start, end = when(row["starttime"]), when(row["endtime"])
        stored = when(row["storetime"]) or start
        by_subject[row["subject_id"]].append({**row, "charted": start, "ended": end, "stored": stored})
    return by_subject


def known(
    events: Iterable[dict[str, Any]], row: Admission, at: datetime, *, stored: bool = True
) -> list[dict[str, Any]]:
    """The events of an admission that began, and unless `stored` is off were stored, by a time."""
    begun = [one for one in events if one["charted"] <= at and belongs(one, row)]
    return [one for one in begun if one["stored"] <= at] if stored else begun


def rate(event: dict[str, Any], concept: Concept) -> float | None:
    """The rate of a row in the unit of its drug; None where it cannot be used."""
    value, unit = float(event["rate"]), event["rateuom"]
    if unit in {"mcg/min", "mg/min"}:
        value, unit = value / float(event["patientweight"]), unit.replace("/", "/kg/")
    if unit == "mg/kg/min":
        value, unit = value * (1 if float(event["patientweight"]) == 1 else 1000), "mcg/kg/min"
    found = in_unit(concept, value, unit)
    return found if found is not None and concept.low <= found <= concept.high else None


def running(spans: list[tuple[datetime, datetime | None, float]], at: datetime) -> float:
    """The sum of the rates that run at a time."""
    return sum(value for start, end, value in spans if start <= at and (end is None or end > at))


def end_of(event: dict[str, Any], entered: Iterable[dict[str, Any]], at: datetime) -> datetime | None:
    """The end of a row, if it was known: a row of the drug came at or after it, or it lies 4 h back."""
    end: datetime = event["ended"]
    same = [one for one in entered if one["itemid"] == event["itemid"] and number(one["rate"]) is not None]
    followed = any(one["charted"] >= end or one["stored"] >= end for one in same)
    return end if end <= at and (followed or end <= at - HELD) else None


def acts(
    events: Iterable[dict[str, Any]],
    row: Admission,
    at: datetime,
    *,
    stored: bool = True,
    drugs: Sequence[Concept] = VASOACTIVES,
    dose: Callable[[dict[str, Any], Concept], float | None] = rate,
) -> dict[str, list[Act]]:
    """Concept -> the rates when they change; with `stored` off every row counts, and every end when it has come."""
    named = {str(name): concept for concept in drugs for name in concept.names}
    spans = defaultdict(list)
    found: dict[str, list[Act]] = defaultdict(list)
    entered = known(events, row, at, stored=stored)
    for event in entered:
        if event["itemid"] in named and number(event["rate"]) is not None:
            name = named[event["itemid"]].name
            value = dose(event, named[event["itemid"]])
            if value is None:
                found[name].append(_act(event["charted"], at, None))
            elif event["ended"] > event["charted"]:
                end = end_of(event, entered, at) if stored else event["ended"] if event["ended"] <= at else None
                spans[name].append((event["charted"], end, value))
    pressors = [
        (start, end, EQUIVALENT[name] * value)
        for name, some in spans.items()
        if name in EQUIVALENT
        for start, end, value in some
    ]
    for name, some in [*spans.items(), ("norepinephrine_equivalents", pressors)]:
        times = {time for start, end, _ in some for time in (start, end) if time is not None}
        found[name] += [_act(time, at, running(some, time)) for time in sorted(times)]
    return found


def _act(time: datetime, at: datetime, value: float | None) -> Act:
    return Act((time - at).total_seconds() / 3600, "", "", True, time, value)


FOLEY_AND_OTHERS = {
    "226559", "226560", "226561", "226584", "226563", "226564", "226565", "226567", "226557", "226558", "227489",
}  # fmt: skip
IRRIGANT = "227488"
LEFT_OUT = {"226633", "227510", "226361", "226362", "226401", "226402", "226403", "225162", "225163", "225165"}


def outputs(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> its rows of outputevents, with times."""
    by_subject = defaultdict(list)
    for row in rows:
        charted = when(row["charttime"])
        by_subject[row["subject_id"]].append({**row, "charted": charted, "stored": when(row["storetime"]) or charted})
    return by_subject


def fluids(
    given: Iterable[dict[str, Any]],
    lost: Iterable[dict[str, Any]],
    weight: float,
    row: Admission,
    at: datetime,
    stays: Iterable[Admission],
) -> dict[str, float]:
    """The columns of the fluids of 24 h; without an event only that none is present."""
    out, into = given_off(lost, row, at), taken(given, row, at)
    if not out and not into:
        return {"present": 0.0}
    urine = [(milliliters(one), before) for one, before in out if one["itemid"] in {*FOLEY_AND_OTHERS, IRRIGANT}]
    columns = {"present": 1.0, "weight_kg": weight}
    for window in (6, 12, 24):
        total = sum(volume for volume, before in urine if before < window) if urine else math.nan
        hourly = total / window / weight if in_unit_for(window, stays, row, at) else math.nan
        columns |= {f"urine_ml/{window}h": total, f"urine_ml_per_kg_hour/{window}h": hourly}
    intake, output = sum(into), sum(milliliters(one) for one, _ in out)
    columns |= {"intake_ml/24h": intake, "output_ml/24h": output, "balance_ml/24h": intake - output}
    return columns | {"balance_ml_per_kg/24h": (intake - output) / weight}


def given_off(lost: Iterable[dict[str, Any]], row: Admission, at: datetime) -> list[tuple[dict[str, Any], float]]:
    """The outputs of 24 h that count, and hours since each."""
    hours = [(one, (at - one["charted"]).total_seconds() / 3600) for one in known(lost, row, at)]
    return [(one, before) for one, before in hours if before < 24 and one["itemid"] not in LEFT_OUT]


def taken(given: Iterable[dict[str, Any]], row: Admission, at: datetime) -> list[float]:
    """The volumes of rows of inputevents in 24 h."""
    entered = known(given, row, at)
    return [volume for one in entered for volume in _flown(one, entered, at)]


def in_unit_for(hours: int, stays: Iterable[Admission], row: Admission, at: datetime) -> bool:
    """Whether one unit stay of the admission lasts over all hours before a time."""
    begun = [one for one in stays if one["hadm_id"] == row["hadm_id"] and one["intime"] <= at - timedelta(hours=hours)]
    return any(one["outtime"] is None or one["outtime"] >= at for one in begun)


def milliliters(event: dict[str, Any]) -> float:
    """The volume of an output; what an irrigation put in is negative."""
    return -float(event["value"]) if event["itemid"] == IRRIGANT else float(event["value"])


def _flown(event: dict[str, Any], entered: Iterable[dict[str, Any]], at: datetime) -> Iterable[float]:
    """The volume of a row of inputevents in 24 h, if it has any part there; what has no known end still flows."""
    begin = at - DAY
    if event["amountuom"] != "ml" or event["itemid"] in LEFT_OUT:
        return
    if event["rate"]:
        assert event["rateuom"] == "mL/hour"
        flowing = ((end_of(event, entered, at) or at) - max(event["charted"], begin)).total_seconds() / 3600
        if flowing > 0:
            yield float(event["rate"]) * flowing
    elif begin < event["ended"] <= at:
        yield float(event["amount"])
