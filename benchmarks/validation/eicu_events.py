"""Labs and vitals of eICU at unit_24h, by plain loops."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.validation.eicu import DAY
from benchmarks.validation.plain import Act, Row, in_unit, limit, not_done, number, plain, spelling
from data_modules.features.concepts import Concept

OF_OXYGEN_FLOW = {"lpm", "l/min", "l"}
"""Units of inspired oxygen that are no fraction, as the demo has them."""


def by_stay(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Unit stay -> its rows."""
    stays = defaultdict(list)
    for row in rows:
        stays[int(row["patientunitstayid"])].append(row)
    return stays


def earliest(patient: Row) -> int:
    """The first minute of the events of a stay: 7 days before the hospital stay."""
    return min(int(patient["hospitaladmitoffset"]), 0) - 7 * DAY


def readings(row: Row) -> tuple[list[tuple[float, str]], bool]:
    """The numbers of a lab with their units, the more likely one first; and whether one is a limit."""
    interface, system = row["labmeasurenameinterface"].strip(), row["labmeasurenamesystem"].strip()
    result, stated = number(row["labresult"]), plain(row["labresulttext"])
    limited = limit(row["labresulttext"])
    text = limited if stated is None else stated
    found = []
    if result is None:
        found = [(text, interface or system)]
    elif text is not None and abs(text - result) > 0.005 * abs(result) + 1e-6:
        found = [(result, system or interface), (text, interface or system)]
    else:
        found = [(result, interface or system), (text, interface or system)]
    return [(value, unit) for value, unit in found if value is not None], limited is not None


def lab_acts(rows: Iterable[Row], concepts: Sequence[Concept], first: int) -> dict[str, list[Act]]:
    """Concept -> labs drawn by 24 h into the unit stay, as recorded."""
    named = {str(label): concept for concept in concepts for label in concept.names}
    acts = defaultdict(list)
    for row in rows:
        concept, at = named.get(row["labname"]), int(row["labresultoffset"])
        if concept is None or not first <= at <= DAY:
            continue
        found, censored = readings(row)
        unit = found[0][1] if found else row["labmeasurenameinterface"] or row["labmeasurenamesystem"]
        if concept.refused and spelling(unit) in OF_OXYGEN_FLOW:
            continue
        sign = -1 if row["labname"] in concept.negated else 1
        converted = [in_unit(concept, value * sign, unit) for value, unit in found]
        usable = [value for value in converted if value is not None and concept.low <= value <= concept.high]
        stored = int(row["labresultrevisedoffset"] or at)
        known = stored <= DAY and not not_done(row["labresulttext"])
        value = usable[0] if usable and known else None
        hours = (at - DAY) / 60
        acts[concept.name].append(Act(hours, "", row["labname"], known, stored, value, censored))
    return acts


def uncontradicted(acts: Iterable[Act]) -> list[Act]:
    """Acts without the values of those that differ from another of the same label, time and revision."""
    values = defaultdict(set)
    listed = list(acts)
    for act in listed:
        values[act.hours, act.source, act.stored].add(act.value)
    several = {key for key, found in values.items() if len(found - {None}) > 1}
    return [act._replace(value=None) if (act.hours, act.source, act.stored) in several else act for act in listed]


def vital_acts(rows: Iterable[Row], concepts: Sequence[Concept], first: int) -> dict[str, list[Act]]:
    """Concept -> values of the monitor by 24 h into the unit stay."""
    acts = defaultdict(list)
    for row in rows:
        at = int(row["observationoffset"])
        if not first <= at <= DAY:
            continue
        for concept in concepts:
            cell = number(row[str(concept.names[0])])
            if cell is None or (concept.zero_is_missing and cell == 0):
                continue
            value = in_unit(concept, cell, "")
            plausible = value is not None and concept.low <= value <= concept.high
            hours = (at - DAY) / 60
            acts[concept.name].append(Act(hours, "", str(concept.names[0]), True, at, value if plausible else None))
    return acts
