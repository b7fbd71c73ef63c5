"""SOFA, SAPS II, OASIS and Charlson's index of the first day in the unit by the rules of mimic-code, by plain loops.

The rules are those that files of MIT-LCP/mimic-code state (gcs, ventilation, urine_output_rate, sofa, sapsii, oasis,
charlson); each can be put in place of ours alone, to see which cells depend on it.
"""

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from benchmarks.validation import mimic_iv_events, mimic_iv_scores, mimic_iv_support
from benchmarks.validation.demo_support import Support, settled
from benchmarks.validation.mimic_iv import DAY, Admission
from benchmarks.validation.mimic_iv_codes import comorbidities
from benchmarks.validation.mimic_iv_events import belongs
from benchmarks.validation.mimic_iv_scores import DRUGS, Day
from data_modules.databases.mimic_iv import respiration, sets
from data_modules.databases.mimic_iv.vasoactives import VASOACTIVES

TIMES, COMA, VENTILATION, RATES = "no time of storage", "coma scale", "ventilation", "rates on the hour"
URINE, CODES, SURGERY = "urine", "codes of this stay", "surgery"
RULES = (TIMES, COMA, VENTILATION, RATES, URINE, CODES, SURGERY)
"""Rules of mimic-code that are not ours."""
HOUR = timedelta(hours=1)
MOTOR, VERBAL, EYES, TUBE = "223901", "223900", "220739", "No Response-ETT"
NORMAL = {MOTOR: 6.0, VERBAL: 5.0, EYES: 4.0}
HEART_RATE = "220045"
Events = Sequence[dict[str, Any]]


class Span(NamedTuple):
    """A stretch of one kind of breathing support."""

    start: datetime
    end: datetime
    kind: str


def coma(events: Events, row: Admission, until: datetime) -> list[tuple[datetime, float]]:
    """Times and totals: parts of the row before hold for 6 h, what was never charted is normal, and a tube is 15."""
    charted: dict[datetime, dict[str, float]] = defaultdict(dict)
    for event in events:
        if event["itemid"] in NORMAL and event["charted"] <= until and belongs(event, row):
            value = 0.0 if event["value"] == TUBE else float(event["valuenum"]) if event["valuenum"] else None
            if value is not None:
                charted[event["charted"]][event["itemid"]] = value
    found: list[tuple[datetime, float]] = []
    before: tuple[datetime, dict[str, float]] | None = None
    for at in sorted(charted):
        earlier = before[1] if before and before[0] > at - 6 * HOUR else {}
        found.append((at, _total(charted[at], earlier)))
        before = at, charted[at]
    return found


def _total(parts: dict[str, float], earlier: dict[str, float]) -> float:
    if parts.get(VERBAL, earlier.get(VERBAL)) == 0:
        return 15
    held = {} if earlier.get(VERBAL) == 0 else earlier
    return sum(parts.get(item, held.get(item, normal)) for item, normal in NORMAL.items())


def _kind(texts: Iterable[str]) -> str | None:
    """The kind of support that the devices and modes of one time say; the first of the list counts."""
    said = {text.lower().strip() for text in texts}
    kinds = {
        "tracheostomy": respiration.TRACHEOSTOMY,
        "invasive": (*respiration.TUBE, *respiration.INVASIVE_MODES),
        "noninvasive": (*respiration.PRESSURE_MASK, *respiration.NONINVASIVE_MODES),
        "high flow": respiration.HIGH_FLOW,
        "oxygen": (*respiration.MASK, *respiration.NASAL),
        "none": respiration.NO_DEVICE,
    }
    return next((kind for kind, listed in kinds.items() if said & set(listed)), None)


def support_spans(events: Events, row: Admission) -> list[Span]:
    """Stretches of one kind: until the next record, 14 h at most; a stretch of a single record is none."""
    texts: dict[datetime, list[str]] = defaultdict(list)
    items = {str(item) for item in (respiration.DEVICE, respiration.MODE, respiration.MODE_HAMILTON)}
    for event in events:
        if event["itemid"] in items and event["value"] and belongs(event, row):
            texts[event["charted"]].append(event["value"])
    states = [(at, kind) for at in sorted(texts) if (kind := _kind(texts[at]))]
    groups: list[list[tuple[datetime, datetime]]] = []
    kinds: list[str] = []
    for place, (at, kind) in enumerate(states):
        following = states[place + 1][0] if place + 1 < len(states) else None
        end = following if following and following - at < 14 * HOUR else at
        if kinds and kinds[-1] == kind and at - groups[-1][-1][0] < 14 * HOUR:
            groups[-1].append((at, end))
        else:
            groups.append([(at, end)])
            kinds.append(kind)
    return [
        Span(group[0][0], max(end for _, end in group), kind)
        for group, kind in zip(groups, kinds, strict=True)
        if len(group) > 1
    ]


def _covers(spans: Iterable[Span], kind: str, at: datetime) -> bool:
    return any(span.kind == kind and span.start <= at <= span.end for span in spans)


def hourly_rates(given: Events, row: Admission, at: datetime) -> dict[str, float]:
    """Drug -> the highest rate of a row that runs at the end of an hour of the day."""
    drugs = {str(concept.names[0]): concept for concept in VASOACTIVES if concept.name in DRUGS}
    found: dict[str, float] = {}
    for event in mimic_iv_support.known(given, row, at, stored=False):
        concept = drugs.get(event["itemid"])
        value = mimic_iv_support.rate(event, concept) if concept and event["rate"] else None
        hours = [at - count * HOUR for count in range(24)]
        if concept and value is not None and any(event["charted"] < hour <= event["ended"] for hour in hours):
            found[concept.name] = max(value, found.get(concept.name, 0.0))
    return found


def urine_records(support: Support, row: Admission, at: datetime) -> list[tuple[datetime, float, float]]:
    """Times of urine, its volume, and the minutes since the record before; of the first since the first heart rate."""
    lost = mimic_iv_support.known(support.lost.get(row["subject_id"], []), row, at, stored=False)
    volumes: dict[datetime, float] = defaultdict(float)
    for event in lost:
        if event["itemid"] in {*mimic_iv_support.FOLEY_AND_OTHERS, mimic_iv_support.IRRIGANT}:
            volumes[event["charted"]] += mimic_iv_support.milliliters(event)
    pulses = [
        event["charted"]
        for event in support.charted.get(row["subject_id"], [])
        if event["itemid"] == HEART_RATE and belongs(event, row)
    ]
    before = min(pulses, default=None)
    found = []
    for time in sorted(volumes):
        minutes = (time - before).total_seconds() / 60 if before else math.nan
        found.append((time, volumes[time], minutes))
        before = time
    return found


def daily_urine(records: Sequence[tuple[datetime, float, float]], at: datetime) -> list[tuple[float, float]]:
    """Volume and hours of the records of 23 h before each record of the day."""
    found = []
    for time, _, _ in records:
        if at - DAY < time <= at:
            within = [(volume, minutes) for when, volume, minutes in records if time - 23 * HOUR <= when <= time]
            found.append((sum(volume for volume, _ in within), sum(minutes for _, minutes in within) / 60))
    return found


def columns(support: Support, row: Admission, at: datetime, rules: Container[str]) -> dict[str, float]:
    """The columns of `scores`, with some rules of mimic-code in place of ours."""
    days = Days(support, row, at, rules)
    past = days.past()
    services = [one for one in support.services[row["subject_id"]] if one["hadm_id"] == row["hadm_id"]]
    surgical = bool(past.services & mimic_iv_scores.SURGICAL) or row["admission_type"] == SAME_DAY
    elective = row["admission_type"] in {ELECTIVE, SAME_DAY}
    by_first = any_service = surgical
    if SURGERY in rules:
        first = min(services, key=lambda one: one["moved"], default={"curr_service": ""})
        by_first, elective = "SURG" in first["curr_service"], row["admission_type"] == ELECTIVE
        any_service = any("SURG" in one["curr_service"] or one["curr_service"] == "ORTHO" for one in services
                          if one["moved"] < at)  # fmt: skip
    codes = support.codes.get(row["hadm_id"], []) if CODES in rules else past.codes
    coded, diseases = comorbidities(codes)
    index = coded if codes or CODES in rules else math.nan
    organs = mimic_iv_scores.sofa(days.of_sofa())
    return {
        **{f"sofa/{name}": points for name, points in organs.items()},
        "sofa": sum(points for points in organs.values() if not math.isnan(points)),
        "saps_ii": mimic_iv_scores.saps(days.of_saps(), past.age, diseases, surgical=by_first, elective=elective),
        "oasis": mimic_iv_scores.oasis(days.of_oasis(), past.age, past.waited, surgical=any_service, elective=elective),
        "charlson": index,
        "charlson_with_age": index + _decades(past.age, rules),
    }


SAME_DAY, ELECTIVE = mimic_iv_scores.SAME_DAY, mimic_iv_scores.ELECTIVE


def _decades(age: float, rules: Container[str]) -> int:
    if CODES in rules:  # theirs begin after the birthday of 50, 60, 70 and 80
        return sum(age > limit for limit in (50, 60, 70, 80))
    return min(4, max(0, int(age) // 10 - 4))


class Days:
    """What each score reads of the day of one row, by some rules of mimic-code."""

    def __init__(self, support: Support, row: Admission, at: datetime, rules: Container[str]) -> None:
        self.support, self.row, self.at, self.rules = support, row, at, rules
        self.raw = support.charted.get(row["subject_id"], [])
        own = mimic_iv_events.Rules(stored=TIMES not in rules)
        self.charted = settled(self.raw, row, at, sets.SCORED_VITALS, drawn=False, rules=own)
        labs = support.labs.get(row["subject_id"], [])
        self.labs = settled(labs, row, at, sets.SCORED_LABS, drawn=True, rules=own)
        self.spans = support_spans(self.raw, row)
        self.urine = urine_records(support, row, at)

    def past(self) -> mimic_iv_scores.Past:
        """What is known beside the day."""
        hospital, subject = self.support.hospital, self.row["subject_id"]
        return mimic_iv_scores.past_of(
            self.row, self.at, hospital.age(self.row), hospital.admissions[subject], hospital.stays[subject],
            self.support.services[subject], self.support.codes,
        )  # fmt: skip

    def _day(self, *, masks: bool) -> Day:
        """The day with our urine; `masks` says whether a pressure mask supports breathing too."""
        given = self.support.given.get(self.row["subject_id"], [])
        drugs = mimic_iv_support.acts(given, self.row, self.at, stored=TIMES not in self.rules)
        supported = (lambda hours: self._ventilated(hours, masks=masks)) if VENTILATION in self.rules else None
        acts = mimic_iv_events.with_totals(self.charted)
        day = mimic_iv_scores.day_of(acts, self.labs, drugs, self._our_urine(), supported)
        if COMA in self.rules:
            totals = [total for at, total in coma(self.raw, self.row, self.at) if at > self.at - DAY]
            day = replace(day, values={**day.values, "gcs_total": totals})
        if RATES in self.rules:
            day = replace(day, rates=hourly_rates(given, self.row, self.at))
        if VENTILATION in self.rules:
            begin = self.at - DAY
            invasive = [
                one for one in self.spans if one.kind == "invasive" and one.end >= begin and one.start <= self.at
            ]
            day = replace(day, values={**day.values, "ventilated": [1.0] if invasive else []})
        return day

    def _ventilated(self, hours: float, *, masks: bool) -> bool:
        at = self.at + timedelta(hours=hours)
        return _covers(self.spans, "invasive", at) or (masks and self._masked(at))

    def _masked(self, at: datetime) -> bool:
        """Whether a time lies between an hour before the first and 4 h after the last pressure mask of the day."""
        masks = [
            event["charted"]
            for event in self.raw
            if event["value"].lower().strip() in respiration.PRESSURE_MASK
            and self.at - DAY < event["charted"] <= self.at
            and belongs(event, self.row)
        ]
        return bool(masks) and min(masks) - HOUR < at <= max(masks) + 4 * HOUR

    def _our_urine(self) -> float:
        stays = self.support.hospital.stays[self.row["subject_id"]]
        if not mimic_iv_support.in_unit_for(24, stays, self.row, self.at):
            return math.nan
        lost = self.support.lost.get(self.row["subject_id"], [])
        found = mimic_iv_support.fluids([], lost, 1.0, self.row, self.at, stays)
        return found.get("urine_ml/24h", math.nan)

    def of_sofa(self) -> Day:
        """Urine as a rate of 22 to 30 h; the lowest counts."""
        day = self._day(masks=False)
        if URINE not in self.rules:
            return day
        rates = [volume / hours * 24 for volume, hours in daily_urine(self.urine, self.at) if 22 <= hours <= 30]
        return replace(day, urine=min(rates, default=math.nan))

    def of_saps(self) -> Day:
        """Urine as the sum of the day, however long the stay; a pressure mask is support."""
        return self._summed(self._day(masks=True))

    def of_oasis(self) -> Day:
        """Urine as the sum of the day."""
        return self._summed(self._day(masks=False))

    def _summed(self, day: Day) -> Day:
        if URINE not in self.rules:
            return day
        volumes = [volume for time, volume, _ in self.urine if self.at - DAY < time <= self.at]
        return replace(day, urine=sum(volumes) if volumes else math.nan)
