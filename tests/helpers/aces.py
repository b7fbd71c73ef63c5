"""Admissions, deaths and their outcomes as MEDS events, and labels that are derived from such events alone.

Codes are those of the public conversion of MIMIC-IV to MEDS; a label is what a task of ACES states: an event from which
time is counted, conditions on what lies before it, and whether another event follows within some days. Plain loops.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from benchmarks.validation.plain import read
from tests.helpers.meds import Event

BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
ADMISSION, DISCHARGE, UNIT = "HOSPITAL_ADMISSION//", "HOSPITAL_DISCHARGE//", "ICU_ADMISSION//"
DIED = f"{DISCHARGE}DIED"
ADULT_YEARS = 18
Label = tuple[int, datetime, bool]
Times = Sequence[tuple[datetime, str]]


def events_of_tables(folder: Path) -> list[Event]:
    """Births, deaths, admissions, discharges and unit stays of a MIMIC-IV release; a death has a time or a date."""
    found: list[Event] = []
    deaths: dict[int, datetime] = {}

    def add(subject: str, time: str, code: str) -> None:
        found.append((int(subject), datetime.fromisoformat(time), code, None, None))

    for row in read(folder / "hosp" / "admissions.csv.gz"):
        add(row["subject_id"], row["admittime"], f"{ADMISSION}{row['admission_type']}")
        add(row["subject_id"], row["dischtime"], f"{DISCHARGE}{row['discharge_location'] or 'UNK'}")
        if row["deathtime"]:
            at = datetime.fromisoformat(row["deathtime"])
            deaths[int(row["subject_id"])] = min(at, deaths.get(int(row["subject_id"]), at))
    for row in read(folder / "icu" / "icustays.csv.gz"):
        add(row["subject_id"], row["intime"], f"{UNIT}{row['first_careunit']}")
    for row in read(folder / "hosp" / "patients.csv.gz"):
        add(row["subject_id"], f"{int(row['anchor_year']) - int(row['anchor_age'])}-01-01", BIRTH)
        if row["dod"]:
            deaths.setdefault(int(row["subject_id"]), datetime.fromisoformat(row["dod"]))
    return found + [(subject, at, DEATH, None, None) for subject, at in deaths.items()]


def labels(events: Iterable[Event]) -> dict[str, list[Label]]:
    """Task -> subject, time of prediction and label, in the order of subjects.

    At the end of the first admission, if it ended alive: `readmission_30d`, `icu_90d` and `mortality_180d`. 24 h after
    the first admission to a unit, of those still in hospital: `in_hospital_mortality`. Adults only.
    """
    found: dict[str, list[Label]] = {}
    ordered = sorted((subject, at, code) for subject, at, code, _, _ in events if at is not None)
    for subject, own in groupby(ordered, key=lambda event: event[0]):
        times = [(at, code) for _, at, code in own]
        for task, at, label in (*_after_discharge(times), *_in_the_unit(times)):
            found.setdefault(task, []).append((subject, at, label))
    return found


def _first(times: Times, *codes: str, after: datetime = datetime.min) -> tuple[datetime, str] | None:
    return next(((at, code) for at, code in times if code.startswith(codes) and at > after), None)


def _is_adult(times: Times, at: datetime) -> bool:
    return at.year - _first(times, BIRTH)[0].year >= ADULT_YEARS


def _after_discharge(times: Times) -> Iterator[tuple[str, datetime, bool]]:
    begun = _first(times, ADMISSION)[0]
    left, how = _first(times, DISCHARGE, after=begun)
    death = _first(times, DEATH)
    if (
        how == DIED
        or not _is_adult(times, begun)
        or (death and begun <= death[0] <= left and death[0] != _midnight(left))
    ):
        return
    for task, code, days in (("readmission_30d", ADMISSION, 30), ("icu_90d", UNIT, 90)):
        following = _first(times, code, after=left)
        yield task, left, following is not None and following[0] - left <= timedelta(days=days)
    days_left = (death[0].date() - left.date()).days if death else None
    yield "mortality_180d", left, days_left is not None and 0 <= days_left <= 180


def _midnight(at: datetime) -> datetime:
    """A death without a time, on the day of a discharge, follows it."""
    return datetime.combine(at.date(), datetime.min.time())


def _in_the_unit(times: Times) -> Iterator[tuple[str, datetime, bool]]:
    unit = _first(times, UNIT)
    if unit is None:
        return
    at = unit[0] + timedelta(hours=24)
    leaves, how = _first(times, DISCHARGE, after=unit[0])
    death = _first(times, DEATH)
    if leaves > at and _is_adult(times, unit[0]) and not (death and unit[0] <= death[0] <= at):
        yield "in_hospital_mortality", at, how == DIED


def of_tasks(found: Mapping[str, Sequence[Label]], tasks: Sequence[str]) -> set[tuple[int, datetime, tuple[bool, ...]]]:
    """Subject, time and the labels of several tasks, one row each."""
    by_row = {task: {(subject, at): label for subject, at, label in found[task]} for task in tasks}
    keys = set().union(*by_row.values())
    return {(subject, at, tuple(by_row[task][subject, at] for task in tasks)) for subject, at in keys}
