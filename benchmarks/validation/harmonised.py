"""The harmonised modalities of both databases, by plain loops: the last 24 h, by hour."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.validation.plain import Act, by_time, summary
from data_modules.features.concepts import Concept

Acts = Mapping[str, Sequence[Act]]
HOURS = 24
OLDEST = 90
"""Years at which ages are cut."""
LABORATORY = (
    "count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "censored", "observed", "ordered",
)  # fmt: skip
CHARTED = tuple(part for part in LABORATORY if part not in {"censored", "ordered"})


def by_hour(acts: Iterable[Act]) -> list[Act]:
    """The acts of the last 24 h, each at the end of its hour."""
    return [act._replace(hours=float(math.ceil(act.hours))) for act in acts if act.hours > -HOURS]


def held(acts: Sequence[Act], longest: float) -> list[Act]:
    """`by_hour`, and in every hour without an act the rate that runs, for so many hours at most."""
    means = by_time(acts)
    begun = {act.hours: means[act.hours][0] if act.hours in means else 0.0 for act in acts}
    found = by_hour(acts)
    for hour in range(1 - HOURS, 1):
        before = [time for time in begun if hour - longest <= time <= hour]
        if before and max(before) <= hour - 1 and begun[max(before)] > 0:
            found.append(Act(float(hour), "", "", True, hour, begun[max(before)]))
    return found


def columns(
    acts: Acts,
    concepts: Sequence[Concept],
    parts: Sequence[str],
    hourly: Callable[[Sequence[Act]], list[Act]] = by_hour,
) -> dict[str, float]:
    """The columns of a row, and its presence."""
    found = {concept.name: hourly(acts.get(concept.name, ())) for concept in concepts}
    table = {"present": float(any(found.values()))}
    for name, own in found.items():
        whole = summary(own)
        table |= {f"{name}/{part}": whole[part] for part in parts}
    return table


def person(years: float, *, female: bool | None) -> dict[str, float]:
    """Age and sex; always there."""
    return {"present": 1.0, "age": min(years, OLDEST), "female": math.nan if female is None else float(female)}


def body(height: float, weight: float) -> dict[str, float]:
    """Height and weight; present where one is known."""
    return {"present": float(not math.isnan(height) or not math.isnan(weight)), "height": height, "weight": weight}
