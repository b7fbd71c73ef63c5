"""SOFA, SAPS II, OASIS and Charlson's index of MIMIC-IV, by plain conditions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.validation.mimic_iv import Admission
from benchmarks.validation.mimic_iv_codes import comorbidities
from benchmarks.validation.plain import Act, Row

SURGICAL = {"CSURG", "NSURG", "ORTHO", "PSURG", "SURG", "TRAUM", "TSURG", "VSURG"}
DRUGS = ("dopamine", "dobutamine", "epinephrine", "norepinephrine")
SAME_DAY, ELECTIVE = "SURGICAL SAME DAY ADMISSION", "ELECTIVE"
Acts = Mapping[str, Sequence[Act]]


@dataclass(frozen=True)
class Day:
    """What the scores read of the 24 h before a landmark.

    Attributes:
        values: name -> values.
        gases: PaO2 / FiO2 and whether with support.
        rates: drug -> highest rate.
        urine: mL; NaN = none recorded.
    """

    values: dict[str, list[float]]
    gases: list[tuple[float, bool]]
    rates: dict[str, float]
    urine: float

    @property
    def empty(self) -> bool:
        """Whether nothing was known."""
        return not (any(self.values.values()) or self.gases or self.rates or not math.isnan(self.urine))

    def low(self, name: str) -> float:
        """The smallest value; NaN without one."""
        return min(self.values.get(name, ()), default=math.nan)

    def high(self, name: str) -> float:
        """The largest value; NaN without one."""
        return max(self.values.get(name, ()), default=math.nan)

    def ratio(self, *, supported: bool) -> float:
        """The lowest PaO2 / FiO2."""
        return min((ratio for ratio, support in self.gases if support == supported), default=math.nan)


def day_of(
    charted: Acts, labs: Acts, drugs: Acts, urine: float, supported: Callable[[float], bool] | None = None
) -> Day:
    """Collect the day from the acts by the landmark; `supported` says at which hours a machine supports breathing."""
    values = {name: _recent(acts) for some in (charted, labs) for name, acts in some.items()}
    rates = {}
    for name in DRUGS:
        known = sorted((act.hours, act.value) for act in drugs.get(name, ()) if act.value is not None)
        before = [value for hours, value in known if hours <= -24][-1:]
        before = [value for value in before if value > 0]
        within = [value for hours, value in known if hours > -24]
        if before or within:
            rates[name] = max(before + within)
    support = supported or (lambda hours: _supported(charted, hours))
    return Day(values, list(_gases(charted, labs, support)), rates, urine)


def _recent(acts: Iterable[Act]) -> list[float]:
    return [act.value for act in acts if act.value is not None and act.hours > -24]


def _supported(charted: Acts, hours: float) -> bool:
    return 1 in [_latest(charted.get(name, ()), hours, 14) for name in ("ventilated", "noninvasive_ventilation")]


def _gases(charted: Acts, labs: Acts, supported: Callable[[float], bool]) -> Iterable[tuple[float, bool]]:
    arterial = {act.specimen for act in labs.get("arterial", ()) if act.value == 1 and act.specimen}
    for gas in labs.get("po2", ()):
        if gas.value is None or gas.hours <= -24 or gas.specimen not in arterial:
            continue
        inspired = [
            act.value for act in labs.get("fio2_gas", ()) if act.specimen == gas.specimen and act.value is not None
        ]
        fraction = max(inspired) if inspired else _latest(charted.get("fio2", ()), gas.hours, 4)
        if fraction is not None:
            yield 100 * gas.value / fraction, supported(gas.hours)


def _latest(acts: Iterable[Act], hours: float, within: float) -> float | None:
    """The last value of the hours before; the largest, if there are several at that time."""
    known = [(act.hours, act.value) for act in acts if act.value is not None and 0 <= hours - act.hours <= within]
    return max(known)[1] if known else None


def sofa(day: Day) -> dict[str, float]:
    """Organ -> points; NaN where it is not known."""
    return {
        "respiration": _respiration(day),
        "coagulation": _count(day.low("platelets"), (150, 100, 50, 20)),
        "liver": _count(-day.high("bilirubin_total"), (-1.2, -2, -6, -12), reached=True),
        "cardiovascular": _circulation(day),
        "nervous": _count(day.low("gcs_total"), (15, 13, 10, 6)),
        "renal": _kidney(day),
    }


def _count(value: float, limits: Sequence[float], *, reached: bool = False) -> float:
    if math.isnan(value):
        return math.nan
    return float(sum(value < limit or (reached and value == limit) for limit in limits))


def _largest(points: Iterable[float]) -> float:
    return max((one for one in points if not math.isnan(one)), default=math.nan)


def _respiration(day: Day) -> float:
    alone = _count(day.ratio(supported=False), (400, 300))
    return _largest((alone, _count(day.ratio(supported=True), (400, 300, 200, 100))))


def _circulation(day: Day) -> float:
    points = [_count(day.low("mbp"), (70,))]
    for name, rate in day.rates.items():
        if rate > 0 and name == "dobutamine":
            points.append(2)
        elif rate > 0 and name == "dopamine":
            points.append(4 if rate > 15 else 3 if rate > 5 else 2)
        elif rate > 0:
            points.append(4 if rate > 0.1 else 3)
    return _largest(points)


def _kidney(day: Day) -> float:
    urine = math.nan if math.isnan(day.urine) else 4 if day.urine < 200 else 3 if day.urine < 500 else 0
    return _largest((urine, _count(-day.high("creatinine"), (-1.2, -2, -3.5, -5), reached=True)))


def _step(value: float, *steps: tuple[float, float]) -> float:
    """Points of the first step whose limit a value is below; 0 without a value."""
    return 0 if math.isnan(value) else next(points for limit, points in steps if value < limit)


def _worse(day: Day, name: str, *steps: tuple[float, float]) -> float:
    return max(_step(day.low(name), *steps), _step(day.high(name), *steps))


def saps(day: Day, age: float, diseases: set[str], *, surgical: bool, elective: bool) -> float:
    """SAPS II."""
    inf = math.inf
    chronic = 17 if "aids" in diseases else 10 if "hematologic" in diseases else 9 if "metastatic" in diseases else 0
    return sum((
        _step(age, (40, 0), (60, 7), (70, 12), (75, 15), (80, 16), (inf, 18)),
        _worse(day, "heart_rate", (40, 11), (70, 2), (120, 0), (160, 4), (inf, 7)),
        _worse(day, "sbp", (70, 13), (100, 5), (200, 0), (inf, 2)),
        _step(day.high("temperature"), (39, 0), (inf, 3)),
        _step(day.ratio(supported=True), (100, 11), (200, 9), (inf, 6)),
        _step(day.urine, (500, 11), (1000, 4), (inf, 0)),
        _step(day.high("bun"), (28, 0), (84, 6), (inf, 10)),
        _worse(day, "wbc", (1, 12), (20, 0), (inf, 3)),
        _worse(day, "potassium", (3, 3), (5, 0), (inf, 3)),
        _worse(day, "sodium", (125, 5), (145, 0), (inf, 1)),
        _step(day.low("bicarbonate"), (15, 6), (20, 3), (inf, 0)),
        _step(day.high("bilirubin_total"), (4, 0), (6, 4), (inf, 9)),
        _step(day.low("gcs_total"), (6, 26), (9, 13), (11, 7), (14, 5), (inf, 0)),
        chronic,
        (0 if elective else 8) if surgical else 6,
    ))  # fmt: skip


def oasis(day: Day, age: float, waited: float, *, surgical: bool, elective: bool) -> float:
    """OASIS."""
    inf = math.inf
    return sum((
        _step(waited, (0.17, 5), (4.95, 3), (24.01, 0), (311.81, 2), (inf, 1)),
        _step(age, (24, 0), (54, 3), (78, 6), (90, 9), (inf, 7)),
        _step(day.low("gcs_total"), (8, 10), (14, 4), (15, 3), (inf, 0)),
        _worse(day, "heart_rate", (33, 4), (89, 0), (107, 1), (126, 3), (inf, 6)),
        _worse(day, "mbp", (20.65, 4), (51, 3), (61.33, 2), (143.45, 0), (inf, 3)),
        _worse(day, "respiratory_rate", (6, 10), (13, 1), (23, 0), (31, 1), (45, 6), (inf, 9)),
        _worse(day, "temperature", (33.22, 3), (35.94, 4), (36.40, 2), (36.89, 0), (39.89, 2), (inf, 6)),
        _step(day.urine, (671.09, 10), (1427, 5), (2544.15, 1), (6896.8, 0), (inf, 8)),
        9 if 1 in day.values.get("ventilated", ()) else 0,
        0 if surgical and elective else 6,
    ))  # fmt: skip


@dataclass(frozen=True)
class Past:
    """What is known of an admission beside the day.

    Attributes:
        age: years.
        waited: hours before the unit; NaN without a stay.
        services: services by the landmark.
        codes: diagnoses of earlier admissions.
    """

    age: float
    waited: float
    services: set[str]
    codes: list[Row]


def past_of(
    row: Admission,
    at: datetime,
    age: float,
    others: Iterable[Admission],
    stays: Iterable[Admission],
    services: Iterable[dict[str, Any]],
    codes: Mapping[str, list[Row]],
) -> Past:
    """Collect it."""
    intimes = [one["intime"] for one in stays if one["hadm_id"] == row["hadm_id"] and one["intime"] <= at]
    waited = (min(intimes) - row["admittime"]).total_seconds() / 3600 if intimes else math.nan
    before = [
        code
        for one in others
        if one is not row and one["admittime"] <= one["dischtime"] <= row["admittime"]
        for code in codes.get(one["hadm_id"], ())
    ]
    here = {one["curr_service"] for one in services if one["hadm_id"] == row["hadm_id"] and one["moved"] <= at}
    return Past(age, max(0.0, waited) if intimes else waited, here, before)


def columns(day: Day, past: Past, kind: str) -> dict[str, float]:
    """The columns of the modality."""
    if day.empty:
        return {"present": 0.0}
    organs = sofa(day)
    coded, diseases = comorbidities(past.codes)
    index = coded if past.codes else math.nan
    decades = min(4, max(0, int(past.age) // 10 - 4))
    surgical, elective = bool(past.services & SURGICAL) or kind == SAME_DAY, kind in {ELECTIVE, SAME_DAY}
    return {
        "present": 1.0,
        **{f"sofa/{name}": points for name, points in organs.items()},
        "sofa": sum(points for points in organs.values() if not math.isnan(points)),
        "saps_ii": saps(day, past.age, diseases, surgical=surgical, elective=elective),
        "oasis": oasis(day, past.age, past.waited, surgical=surgical, elective=elective),
        "charlson": index,
        "charlson_with_age": index + decades,
    }
