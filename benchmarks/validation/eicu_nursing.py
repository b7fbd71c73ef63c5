"""What nurses of eICU charted by unit_24h, by plain loops; the open demo has no such table."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.validation.eicu import DAY
from benchmarks.validation.eicu_events import earliest, uncontradicted
from benchmarks.validation.plain import Act, Row, last_revisions, plain
from data_modules.features.concepts import Concept

SCALE, SCORE = "Sedation Scale/Score/Goal|Sedation Scale", "Sedation Scale/Score/Goal|Sedation Score"
RICHMOND = "rass"
PARTS = ("gcs_eye", "gcs_verbal", "gcs_motor")
Acts = dict[str, list[Act]]


def value_of(label: str, text: str, concept: Concept) -> float | None:
    """The number of a text, Fahrenheit as Celsius; None if it is none, or implausible."""
    value = plain(text)
    if value is not None and label.endswith("(F)"):
        value = (value - 32) / 1.8
    return value if value is not None and concept.low <= value <= concept.high else None


def acts_of(rows: Iterable[Row], concepts: Sequence[Concept], patient: Row) -> Acts:
    """Concept -> settled acts that were charted and entered by 24 h; a sedation score needs its scale."""
    named = {str(name): concept for concept in concepts for name in concept.names}
    acts, scales = defaultdict(list), []
    for row in rows:
        at, text = int(row["nursingchartoffset"]), row["nursingchartvalue"]
        stored = int(row["nursingchartentryoffset"] or at)
        if not text or not earliest(patient) <= at <= DAY or stored > DAY:
            continue
        label = f"{row['nursingchartcelltypevallabel']}|{row['nursingchartcelltypevalname']}"
        if label == SCALE:
            is_richmond = float(text.strip().lower() == RICHMOND)
            scales.append(Act((at - DAY) / 60, "", label, True, stored, is_richmond))
        elif label in named:
            value = value_of(label, text, named[label])
            acts[named[label].name].append(Act((at - DAY) / 60, "", label, True, stored, value))
    richmond = {act.hours for act in last_revisions(uncontradicted(scales)) if act.value == 1}
    settled = {name: last_revisions(uncontradicted(found)) for name, found in acts.items()}
    return {
        name: [act for act in found if act.source != SCORE or act.hours in richmond] for name, found in settled.items()
    }


def with_sums(acts: Mapping[str, Sequence[Act]]) -> Acts:
    """Add the sum of the parts of the coma scale where all were charted at one time, and no total was."""
    totals = {act.hours for act in acts.get("gcs_total", ()) if act.value is not None}
    parts = [{act.hours: act for act in acts.get(name, ()) if act.value is not None} for name in PARTS]
    sums = [
        part._replace(value=sum(other[hours].value or 0.0 for other in parts))
        for hours, part in parts[0].items()
        if hours not in totals and all(hours in other for other in parts)
    ]
    return {**{name: list(found) for name, found in acts.items()}, "gcs_total": [*acts.get("gcs_total", ()), *sums]}
