"""Why a cell of mimic-code disagrees with ours: the rules which, switched off in our loops, give its count and mean."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from benchmarks.validation.mimic_iv_events import OURS, Rules, acts_of
from benchmarks.validation.plain import by_time, last_revisions
from data_modules.features.concepts import Concept

UNEXPLAINED = "unexplained"
STORED = "stored after the landmark"
"""Their tables have no time of storage."""
TEXTS = "text left out"
"""Limits and numbers that are text."""
RANGES = "other range"
POSITIVE = "0 and below left out"
REVISIONS = "earlier revisions kept"
SPECIMENS = "gas without pO2 left out"
ITEMS = "item not read"
"""They read fewer items of a concept."""
NO_COLUMN = "no such column"
PO2 = "50821"
BLOOD_GASES = frozenset(str(item) for item in range(50801, 50826)) | {"52033"}
FEWER_ITEMS = {"d_dimer": frozenset({"51196"})}
"""Concept -> the items that mimic-code reads, where it reads fewer."""
Cell = tuple[int, float]
"""Number of times, and mean (NaN without one)."""


def same(concept: Concept, ours: Cell, theirs: Cell) -> tuple[bool, bool]:
    """Whether the counts and the means agree; temperatures of mimic-code are rounded to 0.01."""
    close = math.isclose(ours[1], theirs[1], rel_tol=2e-4, abs_tol=0.006 if concept.name == "temperature" else 1e-6)
    return ours[0] == theirs[0], close or (math.isnan(ours[1]) and math.isnan(theirs[1]))


def switches(concept: Concept, events: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Reason -> rules to change, for a concept and the events of its subject."""
    offered: dict[str, dict[str, Any]] = {
        STORED: {"stored": False},
        TEXTS: {"texts": False},
        RANGES: {"ranges": False},
        POSITIVE: {"positive": True},
        REVISIONS: {"revisions": False},
    }
    if concept.name in FEWER_ITEMS:
        offered[ITEMS] = {"items": FEWER_ITEMS[concept.name]}
    if {str(item) for item in concept.names} & BLOOD_GASES:
        kept = {
            event["specimen_id"]
            for event in events
            if event["itemid"] not in BLOOD_GASES or (event["itemid"] == PO2 and event["valuenum"])
        }
        offered[SPECIMENS] = {"specimens": frozenset(kept)}
    return offered


def candidates(offered: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, Rules]]:
    """Reasons alone, then two and three together."""
    for size in (1, 2, 3):
        for reasons in combinations(offered, size):
            changed = {name: value for reason in reasons for name, value in offered[reason].items()}
            yield " + ".join(reasons), replace(OURS, **changed)


def reason(
    events: Sequence[dict[str, Any]], row: Mapping[str, Any], concept: Concept, theirs: Cell, *, drawn: bool
) -> str:
    """The first reason with which our loops give their cell.

    Args:
        events: those of the subject, with the items of the concept, and pO2 for blood gases.
        row: `hadm_id` as text, `start`, `end` and `landmark_at` of the admission.
        concept: the concept.
        theirs: count and mean of mimic-code.
        drawn: True = a lab.
    """
    items = {str(item) for item in concept.names}
    mine = [event for event in events if event["itemid"] in items]
    for text, rules in candidates(switches(concept, events)):
        acts = acts_of(mine, dict(row), row["landmark_at"], [concept], drawn=drawn, rules=rules)[concept.name]
        moments = by_time(last_revisions(acts) if rules.revisions else acts)
        values = [value for value, _ in moments.values()]
        mean = sum(values) / len(values) if values else math.nan
        if all(same(concept, (len(values), mean), theirs)):
            return text
    return UNEXPLAINED
