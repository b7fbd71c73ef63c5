"""MIMIC-IV admissions, their deaths and outcomes, by plain loops."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.validation.plain import read

AFTER_DISCHARGE = ("readmission_30d", "icu_90d", "mortality_180d")
OBSERVATION = {"EU OBSERVATION", "AMBULATORY OBSERVATION", "DIRECT OBSERVATION"}
ELECTIVE = {"ELECTIVE", "SURGICAL SAME DAY ADMISSION"}
Key = tuple[int, int | None]
Admission = dict[str, Any]
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def when(text: str) -> datetime | None:
    """The time of a cell; None for an empty one."""
    return datetime.fromisoformat(text) if text else None


class Hospital:
    """Patients, admissions and ICU stays as dictionaries."""

    def __init__(self, folder: Path) -> None:
        self.patients = {row["subject_id"]: row for row in _table(folder, "hosp/patients")}
        self.admissions: dict[str, list[Admission]] = defaultdict(list)
        for row in _table(folder, "hosp/admissions"):
            times = {name: when(row[name]) for name in ("admittime", "dischtime", "deathtime", "edregtime")}
            self.admissions[row["subject_id"]].append({**row, **times})
        for rows in self.admissions.values():
            rows.sort(key=lambda row: (row["admittime"], int(row["hadm_id"])))
            _add_death(rows, self.patients[rows[0]["subject_id"]]["dod"])
            _add_intervals(rows)
        self.stays: dict[str, list[Admission]] = defaultdict(list)
        for row in _table(folder, "icu/icustays"):
            self.stays[row["subject_id"]].append(row | {"intime": when(row["intime"]), "outtime": when(row["outtime"])})
        for rows in self.stays.values():
            rows.sort(key=lambda row: (row["intime"], int(row["stay_id"])))

    def age(self, row: Admission) -> int:
        """In years, at admission."""
        patient = self.patients[row["subject_id"]]
        year: int = row["admittime"].year
        return int(patient["anchor_age"]) + year - int(patient["anchor_year"])

    def counting(self, subject: str, *, observation_stays: bool = True) -> list[Admission]:
        """Admissions of a subject that count as an index or an outcome, in order."""
        return [
            row
            for row in self.admissions[subject]
            if row["dischtime"] >= row["admittime"]
            and (observation_stays or row["admission_type"] not in OBSERVATION)
            and not _after_death(row)
        ]


def _table(folder: Path, name: str) -> list[dict[str, Any]]:
    packed = folder / f"{name}.csv.gz"
    return list(read(packed if packed.is_file() else folder / f"{name}.csv"))


def _add_death(rows: list[Admission], dod: str) -> None:
    """One death per subject: the first deathtime, else dod; doubtful if an admission begins more than a day later."""
    deaths = [row["deathtime"] for row in rows if row["deathtime"]]
    died_at = min(deaths, default=None)
    died_on = died_at.date() if died_at else date.fromisoformat(dod) if dod else None
    doubtful = died_on is not None and rows[-1]["admittime"].date() > died_on + DAY
    for row in rows:
        row.update(died_at=died_at, died_on=died_on, doubtful=doubtful)


def _add_intervals(rows: list[Admission]) -> None:
    """The interval of an admission: from the arrival, after the previous one ended, until the next one begins."""
    previous = None
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        arrival = min(filter(None, (row["edregtime"], row["admittime"])))
        earliest = arrival if previous is None else max(arrival, previous + SECOND)
        ends = [row["dischtime"], following and following["admittime"] - SECOND]
        row["start"] = min(earliest, row["admittime"])
        row["end"] = min(filter(None, ends), default=datetime(9999, 1, 1))
        previous = row["end"] if previous is None else max(previous, row["end"])


def _after_death(row: Admission) -> bool:
    """Whether an admission begins after the death, as that of an organ donor does."""
    if row["died_on"] is None or row["doubtful"] or (row["deathtime"] and row["deathtime"] == row["died_at"]):
        return False
    return bool(row["admittime"].date() > row["died_on"] or (row["died_at"] and row["admittime"] >= row["died_at"]))


def _alive_at(row: Admission, time: datetime) -> bool:
    died = row["deathtime"] if row["doubtful"] else row["died_at"]
    return died is None or died > time or died < row["admittime"]


def _died_within(row: Admission, days: int) -> bool | None:
    if row["died_on"] is None:
        return False
    gap = (row["died_on"] - row["dischtime"].date()).days
    return None if row["doubtful"] or gap < 0 else gap <= days


def _died_in_hospital(row: Admission) -> bool | None:
    flagged = row["hospital_expire_flag"] == "1"
    died_at = row["died_at"]
    gone = max(filter(None, (row["dischtime"], row["deathtime"])))
    nested = died_at is not None and row["admittime"] <= died_at <= row["dischtime"]
    early = row["died_on"] is not None and row["died_on"] < row["dischtime"].date()
    if row["doubtful"] or (not flagged and not nested and early):
        return None
    return flagged or (died_at is not None and row["admittime"] <= died_at <= gone)


def picked(rows: list[Admission], index: str) -> list[Admission]:
    """The index admissions of a subject."""
    return {"first": rows[:1], "last": rows[-1:], "every": rows}[index]


def labels_at_discharge(
    hospital: Hospital, index: str, *, observation_stays: bool = True, elective: bool = True
) -> dict[Key, tuple[datetime, bool, bool, bool | None]]:
    """(admission, no stay) -> prediction time, readmission_30d, icu_90d, mortality_180d."""
    table: dict[Key, tuple[datetime, bool, bool, bool | None]] = {}
    for subject in hospital.admissions:
        rows = hospital.counting(subject, observation_stays=observation_stays)
        for row in picked(rows, index):
            end = row["dischtime"]
            if row["hospital_expire_flag"] == "1" or hospital.age(row) < 18 or not _alive_at(row, end):
                continue
            later = [other for other in rows if other is not row and other["admittime"] > end]
            unplanned = bool(later) and (elective or later[0]["admission_type"] not in ELECTIVE)
            readmitted = unplanned and later[0]["admittime"] - end <= timedelta(days=30)
            ids = {other["hadm_id"] for other in rows if other is not row}
            intimes = [s["intime"] for s in hospital.stays[subject] if s["hadm_id"] in ids and s["intime"] > end]
            icu = any(intime - end <= timedelta(days=90) for intime in intimes)
            table[int(row["hadm_id"]), None] = (end, readmitted, icu, _died_within(row, 180))
    return table


def labels_in_the_unit(hospital: Hospital, index: str, *, in_unit: bool) -> dict[Key, tuple[datetime, bool | None]]:
    """(admission, stay) -> prediction time, in_hospital_mortality."""
    table: dict[Key, tuple[datetime, bool | None]] = {}
    for subject in hospital.admissions:
        admissions = {row["hadm_id"]: row for row in hospital.counting(subject)}
        firsts: dict[str, Admission] = {}
        for icu in hospital.stays[subject]:
            if icu["hadm_id"] in admissions:
                firsts.setdefault(icu["hadm_id"], icu)
        for icu in picked(list(firsts.values()), index):
            row = admissions[icu["hadm_id"]]
            landmark = icu["intime"] + DAY
            gone = max(filter(None, (row["dischtime"], row["deathtime"])))
            out = in_unit and icu["outtime"] is not None and icu["outtime"] <= landmark
            if hospital.age(row) >= 18 and gone > landmark and _alive_at(row, landmark) and not out:
                table[int(row["hadm_id"]), int(icu["stay_id"])] = (landmark, _died_in_hospital(row))
    return table
