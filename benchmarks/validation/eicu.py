"""eICU unit stays, their outcomes and demographics, by plain loops."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from benchmarks.validation.plain import Row, number

DAY = 1440
STATES = {"Expired": True, "Alive": False, "": None}
SOURCES = (
    "Emergency Department", "Floor", "Acute Care/Floor", "Operating Room", "Recovery Room", "PACU", "Direct Admit",
    "Step-Down Unit (SDU)", "ICU to SDU", "ICU", "Other ICU", "Other Hospital", "Chest Pain Center", "other",
)  # fmt: skip
CATEGORIES = {
    "gender": ("Female", "Male", "other"),
    "ethnicity": (
        "African American", "Asian", "Caucasian", "Hispanic", "Native American", "Other/Unknown", "other",
    ),
    "unittype": (
        "Med-Surg ICU", "MICU", "SICU", "Cardiac ICU", "CCU-CTICU", "CTICU", "CSICU", "Neuro ICU", "other",
    ),
    "unitstaytype": ("admit", "readmit", "transfer", "stepdown/other", "other"),
    "unitadmitsource": SOURCES,
    "hospitaladmitsource": SOURCES,
    "numbedscategory": ("<100", "100 - 249", "250 - 499", ">= 500", "other"),
    "region": ("Midwest", "Northeast", "South", "West", "other"),
}  # fmt: skip
"""Column -> its cells; any other is `other`."""


def age(row: Row) -> int | None:
    """In years; None if empty."""
    if row["age"] == "> 89":
        return 90
    return int(row["age"]) if row["age"] else None


def following(patients: Iterable[Row]) -> tuple[dict[str, Row], dict[str, list[Row]]]:
    """Unit stay -> the next one of its hospital stay; and the hospital stays, their unit stays in order."""
    admissions = defaultdict(list)
    for row in patients:
        admissions[row["patienthealthsystemstayid"]].append(row)
    for rows in admissions.values():
        rows.sort(key=lambda row: (-int(row["hospitaladmitoffset"]), int(row["unitvisitnumber"])))
    return {
        row["patientunitstayid"]: after for rows in admissions.values() for row, after in pairwise(rows)
    }, admissions


def first_stays(admissions: Mapping[str, list[Row]]) -> set[str]:
    """The first unit stay of each subject."""
    firsts: dict[str, tuple[tuple[int, int], str]] = {}
    for admission, rows in admissions.items():
        key = (int(rows[0]["hospitaldischargeyear"]), int(admission))
        person = rows[0]["uniquepid"]
        if person not in firsts or key < firsts[person][0]:
            firsts[person] = (key, rows[0]["patientunitstayid"])
    return {stay for _, stay in firsts.values()}


def comes_back(row: Row, after: Row | None, *, muse: bool) -> bool:
    """Whether the next unit stay is a readmission."""
    if after is None:
        return False
    apart = -int(after["hospitaladmitoffset"]) + int(row["hospitaladmitoffset"])
    if muse:
        return apart <= 15 * DAY
    return apart > int(row["unitdischargeoffset"]) and after["unitstaytype"] != "stepdown/other"


def doubtful(row: Row, patients: Iterable[Row]) -> bool:
    """Whether the death of a unit stay contradicts other stays."""
    same = [other for other in patients if other["patienthealthsystemstayid"] == row["patienthealthsystemstayid"]]
    states = {other["hospitaldischargestatus"] for other in same} - {""}
    own = [other for other in patients if other["uniquepid"] == row["uniquepid"]]
    died = [int(other["hospitaldischargeyear"]) for other in own if STATES[other["hospitaldischargestatus"].strip()]]
    later = bool(died) and max(int(other["hospitaldischargeyear"]) for other in own) > min(died)
    return len(states) > 1 or (later and bool(STATES[row["hospitaldischargestatus"]]))


Labels = tuple[str, int, int, bool | None, bool | None]


def labels(patients: list[Row], index: str, landmark: str, *, muse: bool = False) -> dict[tuple[int, int], Labels]:
    """(hospital stay, unit stay) -> person, hospital, prediction time and labels."""
    after, admissions = following(patients)
    chosen = first_stays(admissions) if index == "first" else {row["patientunitstayid"] for row in patients}
    of_person = defaultdict(list)
    for row in patients:
        of_person[row["uniquepid"]].append(row)
    table = {}
    for row in patients:
        stay, leaves = row["patientunitstayid"], int(row["unitdischargeoffset"])
        in_hospital, in_unit = STATES[row["hospitaldischargestatus"]], STATES[row["unitdischargestatus"]]
        counts = leaves > DAY if landmark == "unit_24h" else leaves >= 0 and not in_unit
        years = age(row)
        if stay not in chosen or years is None or years < 18 or not counts:
            continue
        if doubtful(row, of_person[row["uniquepid"]]):
            in_hospital = in_unit = None
        reported = (DAY, in_hospital, in_unit)
        if landmark == "unit_discharge":
            reported = (leaves, comes_back(row, after.get(stay), muse=muse), in_hospital)
        key = int(row["patienthealthsystemstayid"]), int(stay)
        table[key] = (row["uniquepid"], int(row["hospitalid"]), *reported)
    return table


def demographics(row: Row, hospitals: Mapping[str, Row]) -> dict[str, float]:
    """The columns of one unit stay at unit_24h."""
    cells = row | hospitals[row["hospitalid"]]
    table = {"age": float(age(cells) or 0), "hours_in_unit": 24.0}
    for name, column, low, high in (
        ("height_cm", "admissionheight", 100, 250),
        ("weight_kg", "admissionweight", 20, 400),
    ):
        size = number(cells[column])
        table[name] = size if size is not None and low <= size <= high else math.nan
    for column, values in CATEGORIES.items():
        cell = cells[column].strip()
        group = cell if cell in values else "other"
        unknown = cell.lower() in {"", "unknown"}
        table |= {f"{column}/{value}": math.nan if unknown else float(group == value) for value in values}
    waited = -int(cells["hospitaladmitoffset"]) / 60
    table["teaching"] = float(cells["teachingstatus"] == "t") if cells["teachingstatus"] else math.nan
    table["earlier_unit_stays"] = int(cells["unitvisitnumber"]) - 1.0
    table["hours_in_hospital_before"] = waited if waited >= 0 else math.nan
    return table
