"""Further concepts of the eICU demo by the rules of eicu-code.

`python -m benchmarks.validation.eicu_code` prints how many cells at unit_24h differ from ours, by concept. Both sides
are loops; nothing of eicu-code is executed or copied: its lists of labels are stated as rules that choose the same
labels of the demo. No cell of a record is printed. What eicu-code reads of nurseCharting has no row in the demo.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.scale import demo
from benchmarks.validation import eicu_fluids, eicu_infusions
from benchmarks.validation.eicu import DAY
from benchmarks.validation.eicu_events import by_stay, earliest
from benchmarks.validation.mimic_code_further import Pair, differs
from benchmarks.validation.plain import Row, number, plain, read, summary
from data_modules.databases.eicu.concepts import INFUSED, VASOACTIVES
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

VOLUMES = "flowsheet|flowsheet cell labels|i&o|output (ml)|"
CATHETERS = ("urethral catheter", "urinary catheter")
COUNTS = ("urine count", "urine occurrence")
DRUGS = (*(one.name for one in VASOACTIVES), "heparin")
CATECHOLAMINES = ("Dopamine", "Dobutamine", "Epinephrine", "Norepinephrine")
PER_MINUTE = "(mcg/min)"


def is_urine(cellpath: str) -> bool:
    """Whether pivoted-uo reads a label, of those of the demo.

    >>> is_urine("flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|Urine"), is_urine("Urine")
    (True, False)
    """
    path = cellpath.lower()
    label = path.removeprefix(VOLUMES)
    if label == path or label in COUNTS:
        return False
    drained = label.startswith("output") and any(name in label for name in CATHETERS)
    return drained or label.startswith(("urine", "foley", "urinary catheter output"))


def urine(rows: Iterable[Row], patient: Row) -> Pair:
    """Urine of 24 h: every volume under its labels, whenever it was entered, however large."""
    listed = list(rows)
    cells = [
        (int(row["intakeoutputoffset"]), plain(row["cellvaluenumeric"])) for row in listed if is_urine(row["cellpath"])
    ]
    volumes = [volume for at, volume in cells if 0 < at <= DAY and volume is not None]
    name = "urine_ml/24h"
    return {name: eicu_fluids.columns(listed, patient)[name]}, {name: sum(volumes) if volumes else math.nan}


def running(rows: Iterable[Row], patient: Row) -> Pair:
    """Whether each drug was infused by 24 h: pivoted-infusion finds it anywhere in the name."""
    listed = list(rows)
    acts = eicu_infusions.rate_acts(listed, (*VASOACTIVES, *INFUSED), patient)
    names = [row["drugname"].lower() for row in listed if earliest(patient) <= int(row["infusionoffset"]) <= DAY]
    theirs = {drug: float(any(re.search(rf"\b{drug}", name) for name in names)) for drug in DRUGS}
    return {drug: float(bool(acts.get(drug))) for drug in DRUGS}, theirs


def rates(rows: Iterable[Row], patient: Row) -> Pair:
    """The highest and the last rate of four drugs: calculate-catecholamin-rates, in whole mcg/kg/min."""
    listed = list(rows)
    acts = eicu_infusions.rate_acts(listed, VASOACTIVES, patient)
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for drug in CATECHOLAMINES:
        charted = sorted(
            (int(row["infusionoffset"]), value)
            for row in listed
            if drug in row["drugname"] and earliest(patient) <= int(row["infusionoffset"]) <= DAY
            for value in [_rate(row, patient)]
            if value is not None
        )
        found = summary(acts.get(drug.lower(), []))
        ours |= {f"{drug}/{part}": found[part] for part in ("max", "last")}
        theirs[f"{drug}/max"] = max((value for _, value in charted), default=math.nan)
        theirs[f"{drug}/last"] = charted[-1][1] if charted else math.nan
    return ours, theirs


def _rate(row: Row, patient: Row) -> float | None:
    """By the weight on admission where it is mcg/min, and as it is in any other unit."""
    value, kilograms = plain(row["drugrate"]), number(patient["admissionweight"])
    if value is None or PER_MINUTE not in row["drugname"]:
        return value
    return None if not kilograms else float(math.floor(value / kilograms + 0.5))


CONCEPTS: Mapping[str, tuple[str, Callable[[Sequence[Row], Row], Pair]]] = {
    "urine": ("intakeOutput", urine),
    "infusions": ("infusionDrug", running),
    "rates": ("infusionDrug", rates),
}
"""Concept -> its table, and ours and theirs of a unit stay."""


def counted(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Concept, cells, and cells that differ."""
    release = Release(EICU, [folder])
    patients = {int(row["patientunitstayid"]): row for row in read(release.files["patient"])}
    rows = database("eicu").build_rows(release, EICUCohortConfig(index="every", landmark="unit_24h")).rows
    for name, (table, derive) in CONCEPTS.items():
        recorded = by_stay(read(release.files[table]))
        pairs = [derive(recorded.get(stay, []), patients[stay]) for stay in rows["stay_id"]]
        wrong = sum(differs(ours[cell], theirs[cell]) for ours, theirs in pairs for cell in ours)
        yield name, sum(len(ours) for ours, _ in pairs), wrong


def main() -> None:
    """Print the table, as markdown."""
    folder = demo("eicu-demo")
    if folder is None:
        return
    print("| concept of eICU | cells | differ |\n|---|---|---|")
    for name, cells, wrong in counted(folder):
        print(f"| {name} | {cells:,} | {wrong:,} |")


if __name__ == "__main__":
    main()
