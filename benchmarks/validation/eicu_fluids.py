"""Urine, intake, output and balance of eICU at unit_24h, by plain loops."""

import math
import re
from collections.abc import Container, Iterable

from benchmarks.validation.eicu import DAY
from benchmarks.validation.eicu_events import earliest
from benchmarks.validation.plain import Row, number, plain

URINE = (
    "urin", "urethral", "foley", "void", "indwelling catheter", "straight cath", "external cath", "condom",
    "suprapubic", "nephrostomy", "ileal conduit", "ileoconduit", "urostomy",
)  # fmt: skip
NO_VOLUME = ("count", "occurrence", "unmeasured", "number of", "(mcg)", "(mg)", "(units)")
SUMS = ("total in", "total out", "total intake", "total output")
LARGEST = {"urine": 5000, "intake": 10000, "output": 10000}


def quantity(cellpath: str) -> str | None:
    """What a cell is."""
    parts = cellpath.lower().split("|")
    group, label = parts[3] if len(parts) > 4 else "", parts[-1].strip()
    leading = re.split(r"\W*$|\t", label)[0]
    if any(word in label for word in NO_VOLUME) or label.startswith("% ") or "24 hr total" in label or leading in SUMS:
        return None
    if group == "output (ml)":
        return "urine" if any(word in label for word in URINE) and "stool" not in label else "output"
    return {("dialysis (ml)", "in"): "intake", ("dialysis (ml)", "out"): "output"}.get(
        (group, label), "intake" if group == "intake (ml)" else None
    )


def cells(rows: Iterable[Row], patient: Row) -> list[tuple[int, str, float | None]]:
    """Time, quantity and volume of the cells known at 24 h."""
    found = []
    for row in rows:
        at, entered = int(row["intakeoutputoffset"]), int(row["intakeoutputentryoffset"] or row["intakeoutputoffset"])
        name, volume = quantity(row["cellpath"]), plain(row["cellvaluenumeric"])
        if name is not None and volume is not None and earliest(patient) <= at <= DAY and entered <= DAY:
            found.append((at, name, volume if 0 <= volume <= LARGEST[name] else None))
    return found


def columns(rows: Iterable[Row], patient: Row) -> dict[str, float]:
    """The columns of a unit stay, and its presence."""
    recent = [(DAY - at, name, volume) for at, name, volume in cells(rows, patient) if at > 0]
    kilograms = number(patient["admissionweight"])
    weight = kilograms if kilograms is not None and 20 <= kilograms <= 400 else math.nan
    table = {"present": float(bool(recent)), "weight_kg": weight if recent else math.nan}

    def total(names: Container[str], minutes: int) -> float:
        found = [(ago, volume) for ago, name, volume in recent if name in names and volume is not None]
        added = sum(volume for ago, volume in found if ago < minutes)
        return added if found and added <= 30000 else math.nan

    for hours in (6, 12, 24):
        table[f"urine_ml/{hours}h"] = total({"urine"}, hours * 60)
        table[f"urine_ml_per_kg_hour/{hours}h"] = total({"urine"}, hours * 60) / hours / weight
    table["intake_ml/24h"], table["output_ml/24h"] = total({"intake"}, DAY), total({"urine", "output"}, DAY)
    table["balance_ml/24h"] = table["intake_ml/24h"] - table["output_ml/24h"]
    return table | {"balance_ml_per_kg/24h": table["balance_ml/24h"] / weight}
