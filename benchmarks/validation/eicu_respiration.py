"""Oxygen, devices, ventilation and settings of eICU at unit_24h, by plain loops."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.validation.eicu import DAY
from benchmarks.validation.eicu_events import earliest, uncontradicted
from benchmarks.validation.plain import Act, Row, last_revisions
from data_modules.features.concepts import Concept

DEVICE_OF = {
    "nasal cannula": "nasal_cannula", "none (room air)": "none", "room air": "none", "ventilator": "ventilator",
    "mechanical ventilator": "ventilator", "bi-pap": "pressure_mask", "bipap": "pressure_mask",
    "cpap": "pressure_mask", "high flow nasal cannula": "high_flow", "heated high flow nasal cannula": "high_flow",
    "simple mask": "mask", "high flow mask": "mask", "face mask": "mask", "non-rebreather mask": "mask",
    "aerosol mask": "mask", "venturi mask": "mask", "face tent": "mask",
}  # fmt: skip
"""Text of the demo -> device; any other says nothing."""
DEVICES = ("none", "nasal_cannula", "mask", "high_flow", "pressure_mask", "tracheostomy", "ventilator")
MACHINE = {
    "Tidal Volume (set)": True, "Set Vt (Servo,LTV)": True, "Adult Con Setting Set Vt": True, "Vent Rate": True,
    "Adult Con Setting Set RR": True, "Exhaled TV (machine)": True, "Plateau Pressure": True,
    "NIV Setting EPAP": False, "NIV Setting IPAP": False, "NIV Setting Set_RR": False,
}  # fmt: skip
"""Label of a setting -> whether the ventilation is invasive."""
MODES: Mapping[str, Mapping[str, bool | None]] = {
    "RT Vent On/Off": {"Start": True, "Continued": True, "Off": None},
    "Ventilator Support Mode": {"CMV": True, "SIMV": True},
    "Mechanical Ventilator Mode": {"AC/CMV": True},
    "Non-invasive Ventilation Mode": {"S/T": False},
}
"""Label of a switch or mode -> text of the demo -> the same; any other says nothing."""


class Charted(NamedTuple):
    """A row of respiratoryCharting or treatment."""

    at: int
    stored: int
    label: str
    text: str


def rows_of(charting: Iterable[Row], treatments: Iterable[Row], patient: Row) -> list[Charted]:
    """The rows known at 24 h."""
    first = earliest(patient)
    found = [
        Charted(int(row["respchartoffset"]), int(row["respchartentryoffset"] or row["respchartoffset"]),
                row["respchartvaluelabel"], row["respchartvalue"].strip())
        for row in charting
    ]  # fmt: skip
    for row in treatments:
        at = int(row["treatmentoffset"])
        found.append(Charted(at, at, "treatment", row["treatmentstring"].lower()))
    return [row for row in found if first <= row.at <= DAY and row.stored <= DAY]


def kind(row: Charted) -> tuple[str, bool | None]:
    """Source and whether the patient is ventilated by a tube (True), by a mask (False), or by nothing (None)."""
    path = row.text.split("|")
    if row.label == "treatment" and "non-invasive ventilation" in path:
        return "machine", False
    if row.label == "treatment" and {"mechanical ventilation", "ventilator weaning"} & set(path):
        return "machine", True
    if row.label in MODES and row.text in MODES[row.label]:
        return "machine", MODES[row.label][row.text]
    if row.label in MACHINE and (decimal(row.text) or 0) > 0:
        return "machine", MACHINE[row.label]
    device = DEVICE_OF.get(row.text.lower()) if row.label in {"O2 Device", "Oxygen Delivery Method"} else None
    if device is not None:
        return "device", {"ventilator": True, "pressure_mask": False}.get(device)
    return "", None


def decimal(text: str) -> float | None:
    """The number of a text with or without a percent sign."""
    try:
        return float(text.strip(" %"))
    except ValueError:
        return None


def acts_of(
    charting: Iterable[Row], treatments: Iterable[Row], concepts: Sequence[Concept], patient: Row
) -> dict[str, list[Act]]:
    """Concept -> settled acts."""
    numeric = [concept for concept in concepts if not concept.states]
    acts = defaultdict(list)
    for row in rows_of(charting, treatments, patient):
        for name, source, value in (*states(row), *numbers(row, numeric)):
            acts[name].append(Act((row.at - DAY) / 60, "", source, True, row.stored, value))
    return {name: last_revisions(uncontradicted(found)) for name, found in acts.items()}


def states(row: Charted) -> list[tuple[str, str, float]]:
    """Concept, source and 1 or 0, of what a row states."""
    source, invasive = kind(row)
    if not source:
        return []
    by_mask = float(invasive is False)
    found = [("ventilated", source, float(invasive is True)), ("noninvasive_ventilation", source, by_mask)]
    if source == "device":
        found += [(f"device_{one}", source, float(DEVICE_OF[row.text.lower()] == one)) for one in DEVICES]
    return found


def numbers(row: Charted, concepts: Sequence[Concept]) -> list[tuple[str, str, float | None]]:
    """Concept, label and value of a row."""
    value = decimal(row.text)
    if value is None:
        return []
    named = [concept for concept in concepts if row.label in concept.names and (value or not concept.zero_is_missing)]
    return [(concept.name, row.label, in_range(concept, value)) for concept in named]


def in_range(concept: Concept, value: float) -> float | None:
    """The value, a fraction as percent; None if it is not plausible."""
    percent = 100 * value if concept.fraction and value <= 1 else value
    return percent if concept.low <= percent <= concept.high else None
