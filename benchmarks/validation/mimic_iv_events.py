"""Labs and vitals of MIMIC-IV, by plain loops."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.validation.mimic_iv import Admission, when
from benchmarks.validation.plain import Act, Row, in_unit, limit, not_done, number, plain
from data_modules.features.concepts import Concept

INCHES, FAHRENHEIT = "226707", "223761"
DEFAULT_UNIT = {INCHES: "Inch", FAHRENHEIT: "°F"}
"""Item -> unit of its records without one."""
EARLY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Our rules; each can be switched off, to see whether it is the reason of a disagreement.

    Attributes:
        stored: a result counts from the time it was stored.
        texts: limits and numbers in text are values.
        ranges: values outside the plausible range are none.
        revisions: of several results of an item, time and specimen the last stored one counts.
        items: items to read; None = all of the concept.
        specimens: specimens to read; None = all.
        positive: values of 0 and below are none.
    """

    stored: bool = True
    texts: bool = True
    ranges: bool = True
    revisions: bool = True
    items: frozenset[str] | None = None
    specimens: frozenset[str] | None = None
    positive: bool = False


OURS = Rules()
Events = Mapping[str, Sequence[dict[str, Any]]]
"""Subject -> its rows of labevents or chartevents."""


def parsed(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> its rows of labevents or chartevents, with times."""
    by_subject = defaultdict(list)
    for row in rows:
        times = {"charted": when(row["charttime"]), "stored": when(row["storetime"]) or when(row["charttime"])}
        by_subject[row["subject_id"]].append({**row, **times})
    return by_subject


def belongs(event: dict[str, Any], row: Admission) -> bool:
    """Whether an event of the subject is one of the admission."""
    if event["hadm_id"]:
        return bool(event["hadm_id"] == row["hadm_id"] and event["charted"] >= row["start"] - EARLY)
    return bool(row["start"] <= event["charted"] <= row["end"])


def chosen(events: Events, concepts: Iterable[Concept]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> those of its rows that have an item of some concepts."""
    items = {str(item) for concept in concepts for item in concept.names}
    return {subject: [event for event in own if event["itemid"] in items] for subject, own in events.items()}


def reading(event: dict[str, Any], rules: Rules) -> tuple[float | None, bool, bool]:
    """The number of a record, whether it is a limit, and whether anything was measured."""
    value = number(event["valuenum"])
    texts = [event["value"], event.get("comments", "")]
    if value is not None and not texts[0].lstrip(" ").startswith(("<", ">")):
        return value, False, True
    if not rules.texts:
        return value, False, True
    limits = [found for found in map(limit, texts) if found is not None]
    numbers = [found for found in map(plain, texts) if found is not None]
    done = value is not None or not any(map(not_done, texts))
    if value is None:
        value = [*limits, *numbers, None][0]
    return value, bool(limits), done


def value_of(event: dict[str, Any], concept: Concept, value: float | None, rules: Rules) -> float | None:
    """A number in the unit of its concept; None where it is none, or implausible."""
    if concept.states:
        return float(event["value"].lower() in concept.states) if event["value"] else None
    if value is None and concept.grades:
        words = [text.lower().strip(" .*") for text in (event["value"] or event["comments"],)]
        return next((concept.grades[word] for word in words if word in concept.grades), None)
    if value is None or (rules.positive and value <= 0):
        return None
    found = in_unit(concept, value, event["valueuom"] or DEFAULT_UNIT.get(event["itemid"], ""))
    if found is None or (rules.ranges and not concept.low <= found <= concept.high):
        return None
    return found


def acts_of(
    events: Iterable[dict[str, Any]],
    row: Admission,
    landmark: datetime,
    concepts: Sequence[Concept],
    *,
    drawn: bool,
    rules: Rules = OURS,
) -> dict[str, list[Act]]:
    """Concept -> acts by the landmark.

    Args:
        events: those of the subject, with items of the concepts.
        row: the admission.
        landmark: time of the prediction.
        concepts: the concepts.
        drawn: whether an event counts before its result is stored, as a lab does.
        rules: what to switch off.
    """
    named = defaultdict(list)
    for concept in concepts:
        for item in concept.names:
            if rules.items is None or str(item) in rules.items:
                named[str(item)].append(concept)
    acts = defaultdict(list)
    for event in events:
        if event["itemid"] not in named or event["charted"] > landmark or not belongs(event, row):
            continue
        if rules.specimens is not None and event.get("specimen_id") not in rules.specimens:
            continue
        in_time = not rules.stored or event["stored"] <= landmark
        if not in_time and not drawn:
            continue
        number_read, censored, done = reading(event, rules)
        hours = (event["charted"] - landmark).total_seconds() / 3600
        for concept in named[event["itemid"]]:
            if event["value"].lower() in concept.lacking or (concept.zero_is_missing and number_read == 0):
                continue
            known = done and in_time
            value = value_of(event, concept, number_read, rules) if known else None
            specimen = event.get("specimen_id", "")
            act = Act(hours, specimen, event["itemid"], known, event["stored"], value, censored)
            acts[concept.name].append(act)
    return acts


def with_totals(acts: dict[str, list[Act]]) -> dict[str, list[Act]]:
    """The total coma scale in place of its parts: at the times when all three were charted."""
    parts = [{act.hours: act for act in acts.get(name, ())} for name in ("gcs_eye", "gcs_verbal", "gcs_motor")]
    totals = []
    for hours in sorted(set(parts[0]) & set(parts[1]) & set(parts[2])):
        values = [part[hours].value for part in parts]
        known = [value for value in values if value is not None]
        totals.append(parts[0][hours]._replace(value=sum(known) if len(known) == len(values) else None))
    return {"gcs_total": totals, **{name: found for name, found in acts.items() if not name.startswith("gcs_")}}
