"""Rates of infusions of eICU at unit_24h, by plain loops."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.validation.eicu import DAY
from benchmarks.validation.eicu_events import earliest
from benchmarks.validation.plain import Act, Row, plain
from data_modules.features.concepts import Concept

PER = {"min": 1, "hr": 60, "h": 60}
AMOUNTS = {"mg": 1000.0, "mcg": 1.0, "ug": 1.0, "units": 1.0, "u": 1.0}
"""Amount -> micrograms, or units."""
EQUAL = {"norepinephrine": 1, "epinephrine": 1, "dopamine": 0.01, "phenylephrine": 0.1, "vasopressin": 2.5}
HOLDS = 240
"""Minutes."""


def stated(drugname: str) -> tuple[str, str]:
    """The first word of a drugname and the text of its last brackets, in lower case."""
    text = drugname.strip().lower()
    word = re.split(r"[\s(]", text, maxsplit=1)[0]
    within = text[text.rindex("(") + 1 : -1] if text.endswith(")") and "(" in text else ""
    return (word if word.isascii() and word.isalpha() else ""), "".join(within.split())


def parts(unit: str) -> tuple[str, float, bool] | None:
    """Kind (mass or units), size in micrograms or units per minute, and whether it is per kg; None if unknown."""
    amount, *rest = unit.split("/")
    if amount not in AMOUNTS or rest[-1:] == [] or rest[-1] not in PER or rest[:-1] not in ([], ["kg"]):
        return None
    return ("units" if amount[0] == "u" and amount != "ug" else "mass"), AMOUNTS[amount] / PER[rest[-1]], len(rest) == 2


def weight_of(row: Row, patient: Row) -> float | None:
    """The weight of an infusion, or that on admission."""
    for cell in (row["patientweight"], patient["admissionweight"]):
        kilograms = plain(cell)
        if kilograms is not None and 20 <= kilograms <= 400:
            return kilograms
    return None


def converted(
    rate: float,
    found: tuple[str, float, bool],
    wanted: tuple[str, float, bool],
    kilograms: float | None,
    concept: Concept,
) -> float | None:
    """A rate in the unit of its concept, both as `parts` gives them; None without a needed weight or out of range."""
    if found[2] != wanted[2]:
        if kilograms is None:
            return None
        rate = rate * kilograms if found[2] else rate / kilograms
    value = rate * found[1] / wanted[1]
    return value if concept.low <= value <= concept.high else None


def dose(row: Row, patient: Row, concept: Concept) -> float | None:
    """The rate of a row in the unit of its concept."""
    rate, found, wanted = plain(row["drugrate"]), parts(stated(row["drugname"])[1]), parts(concept.unit.lower())
    if rate == 0:
        return 0.0
    if rate is None or found is None or wanted is None or found[0] != wanted[0]:
        return None
    return converted(rate, found, wanted, weight_of(row, patient), concept)


def rate_acts(rows: Iterable[Row], concepts: Sequence[Concept], patient: Row) -> dict[str, list[Act]]:
    """Concept -> rates charted by 24 h into the unit stay, and the norepinephrine equivalent."""
    named = {str(word): concept for concept in concepts for word in concept.names}
    acts = defaultdict(list)
    for row in rows:
        at, (word, _) = int(row["infusionoffset"]), stated(row["drugname"])
        if word in named and earliest(patient) <= at <= DAY:
            concept = named[word]
            acts[concept.name].append(Act((at - DAY) / 60, "", word, True, at, dose(row, patient, concept)))
    return acts | {"norepinephrine_equivalents": equivalents(acts)}


def equivalents(acts: Mapping[str, Sequence[Act]]) -> list[Act]:
    """The sum of the rates of vasopressors that hold at each time at which one was charted."""
    charted: dict[str, dict[int, list[float | None]]] = {}
    for drug in EQUAL:
        charted[drug] = defaultdict(list)
        for act in acts.get(drug, ()):
            charted[drug][act.stored].append(act.value)
    added = []
    for at in sorted({time for times in charted.values() for time in times}):
        total: float | None = 0.0
        for drug, times in charted.items():
            latest = max((time for time in times if at - HOLDS <= time <= at), default=None)
            if latest is None or total is None:
                continue
            values = [value for value in times[latest] if value is not None]
            total = total + EQUAL[drug] * sum(values) / len(values) if len(values) == len(times[latest]) else None
        added.append(Act((at - DAY) / 60, "", "", True, at, total))
    return added
