"""SOFA of eICU at unit_24h, by plain loops."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.validation import eicu_events, eicu_fluids, eicu_infusions, eicu_nursing, eicu_respiration
from benchmarks.validation.eicu import DAY
from benchmarks.validation.plain import Act, Row, last_revisions, number
from data_modules.databases.eicu import concepts, nursing, respiration

ORGANS = ("respiration", "coagulation", "liver", "cardiovascular", "nervous", "renal")
DRUGS = ("dopamine", "dobutamine", "epinephrine", "norepinephrine")
Valued = Mapping[str, list[tuple[float, float]]]
"""Concept -> hours and values."""
Tables = Mapping[str, Sequence[Row]]


def columns(tables: Tables, patient: Row) -> dict[str, float]:
    """The columns of a unit stay, and its presence; the demo has no coma scale, so a table of it may be missing."""
    drawn = eicu_events.lab_acts(tables["lab"], concepts.LABS, eicu_events.earliest(patient))
    labs = {name: valued(last_revisions(eicu_events.uncontradicted(found))) for name, found in drawn.items()}
    breathing = eicu_respiration.acts_of(
        tables["respiratoryCharting"], tables["treatment"], respiration.RECORDED, patient
    )
    organs = {
        "respiration": lungs(labs, {name: valued(found) for name, found in breathing.items()}),
        "coagulation": steps(recent(labs, "platelets"), [150, 100, 50, 20]),
        "liver": steps([-value for value in recent(labs, "bilirubin_total")], [-1.2, -2, -6, -12], equal=True),
        "cardiovascular": circulation(tables, patient),
        "nervous": consciousness(tables.get("nurseCharting", ()), patient),
        "renal": kidneys(labs, tables, patient),
    }
    known = [points for points in organs.values() if points is not None]
    table = {f"sofa/{organ}": math.nan if organs[organ] is None else float(organs[organ] or 0) for organ in ORGANS}
    return table | {"sofa": float(sum(known)) if known else math.nan, "present": float(bool(known))}


def valued(acts: Sequence[Act]) -> list[tuple[float, float]]:
    """Hours and values."""
    return [(act.hours, act.value) for act in acts if act.value is not None]


def recent(acts: Valued, name: str) -> list[float]:
    """The values of the 24 h before the landmark."""
    return [value for hours, value in acts.get(name, []) if hours > -24]


def steps(values: Sequence[float], limits: Sequence[float], *, equal: bool = False) -> int | None:
    """A point for each limit that the lowest value is below; with `equal`, at it too."""
    if not values:
        return None
    return sum(min(values) < limit or (equal and min(values) == limit) for limit in limits)


def worst(*points: int | None) -> int | None:
    """The most points that are known."""
    return max((one for one in points if one is not None), default=None)


def lungs(labs: Valued, breathing: Valued) -> int | None:
    """Points of every gas with inspired oxygen; the most count."""
    points = []
    for hours, pressure in labs.get("po2", []):
        with_gas = [value for at, value in labs.get("fio2", []) if at == hours]
        inspired = max(with_gas) if with_gas else held(breathing.get("fio2", []), hours, 4)
        if inspired is None or hours <= -24:
            continue
        supported = 1 in {
            held(breathing.get(name, []), hours, 14) for name in ("ventilated", "noninvasive_ventilation")
        }
        ratio = 100 * pressure / inspired
        points.append(steps([ratio], [400, 300, 200, 100] if supported else [400, 300]))
    return worst(*points)


def held(records: Sequence[tuple[float, float]], hours: float, longest: float) -> float | None:
    """The last value by a time, the largest of those charted at once; None if it is too old."""
    times = [at for at, _ in records if hours - longest <= at <= hours]
    return max(value for at, value in records if at == max(times)) if times else None


def consciousness(rows: Sequence[Row], patient: Row) -> int | None:
    """Points of the lowest total of the coma scale."""
    acts = eicu_nursing.with_sums(eicu_nursing.acts_of(rows, nursing.NEUROLOGY, patient))
    return steps(recent({name: valued(found) for name, found in acts.items()}, "gcs_total"), [15, 13, 10, 6])


def circulation(tables: Tables, patient: Row) -> int | None:
    """Points of the pressure and of drugs."""
    pressures = []
    for table, column in (("vitalPeriodic", "systemicmean"), ("vitalAperiodic", "noninvasivemean")):
        for row in tables[table]:
            value = number(row[column])
            if value is not None and 1 <= value <= 299 and 0 < int(row["observationoffset"]) <= DAY:
                pressures.append(value)
    acts = eicu_infusions.rate_acts(tables["infusionDrug"], concepts.VASOACTIVES, patient)
    return worst(steps(pressures, [70]), *(drug(name, acts.get(name, [])) for name in DRUGS))


def drug(name: str, acts: Sequence[Act]) -> int | None:
    """Points of a drug; of one without a known rate those of the lowest."""
    given = [act.value for act in acts if act.hours > -24]
    rate = max((value for value in given if value is not None), default=0.0)
    if rate == 0 and None not in given:
        return None
    if name == "dobutamine":
        return 2
    return 2 + (rate > 5) + (rate > 15) if name == "dopamine" else 3 + (rate > 0.1)


def kidneys(labs: Valued, tables: Tables, patient: Row) -> int | None:
    """Points of creatinine and urine."""
    urine = eicu_fluids.columns(tables["intakeOutput"], patient)["urine_ml/24h"]
    by_urine = None if math.isnan(urine) else 4 if urine < 200 else 3 if urine < 500 else 0
    return worst(steps([-value for value in recent(labs, "creatinine")], [-1.2, -2, -3.5, -5], equal=True), by_urine)
