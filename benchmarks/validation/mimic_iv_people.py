"""Demographics of MIMIC-IV, by plain loops; categories are listed cell by cell, as the demo has them."""

import math
from datetime import datetime, timedelta

from benchmarks.validation.mimic_iv import Admission, Hospital

YEAR = timedelta(days=365)
GROUPS = {
    "gender": {"f": {"F"}, "m": {"M"}, "other": set[str]()},
    "race": {
        "asian": set[str](),
        "black": {"BLACK/CAPE VERDEAN", "BLACK/AFRICAN AMERICAN"},
        "hispanic": {
            "HISPANIC/LATINO - PUERTO RICAN", "HISPANIC/LATINO - SALVADORAN", "HISPANIC/LATINO - CUBAN",
            "HISPANIC OR LATINO",
        },
        "native": set[str](),
        "white": {"WHITE", "WHITE - OTHER EUROPEAN", "WHITE - BRAZILIAN", "PORTUGUESE"},
        "unknown": {"UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER"},
        "other": {"OTHER"},
    },
    "insurance": {"medicare": {"Medicare"}, "medicaid": {"Medicaid"}, "private": set[str](), "other": {"Other"}},
    "marital_status": {
        "married": {"MARRIED"}, "single": {"SINGLE"}, "widowed": {"WIDOWED"}, "divorced": {"DIVORCED"},
        "other": set[str](),
    },
    "language": {"english": {"ENGLISH"}, "other": {"?"}},
    "admission_type": {
        "emergency": {"EW EMER.", "DIRECT EMER."},
        "urgent": {"URGENT"},
        "observation": {"EU OBSERVATION", "OBSERVATION ADMIT", "DIRECT OBSERVATION", "AMBULATORY OBSERVATION"},
        "elective": {"ELECTIVE"},
        "surgical": {"SURGICAL SAME DAY ADMISSION"},
        "other": set[str](),
    },
    "admission_location": {
        "emergency": {"EMERGENCY ROOM"},
        "hospital": {"TRANSFER FROM HOSPITAL"},
        "skilled": {"TRANSFER FROM SKILLED NURSING FACILITY"},
        "referral": {"PHYSICIAN REFERRAL", "WALK-IN/SELF REFERRAL", "CLINIC REFERRAL"},
        "procedure": {"PACU", "PROCEDURE SITE"},
        "unknown": {"INFORMATION NOT AVAILABLE"},
        "other": {"INTERNAL TRANSFER TO OR FROM PSYCH"},
    },
}  # fmt: skip
"""Column -> group -> its cells."""


def hours(gap: timedelta) -> float:
    """A duration in hours."""
    return gap.total_seconds() / 3600


def indicators(cells: Admission) -> dict[str, float]:
    """1 for the group of a cell and 0 for the others; NaN for an empty cell."""
    table = {}
    for column, groups in GROUPS.items():
        for group, members in groups.items():
            table[f"{column}/{group}"] = float(cells[column] in members) if cells[column] else math.nan
    return table


def demographics(hospital: Hospital, row: Admission, landmark: datetime) -> dict[str, float]:
    """The columns of one admission."""
    subject, began = row["subject_id"], row["admittime"]
    arrival = min(filter(None, (row["edregtime"], began)))
    past = [
        other
        for other in hospital.admissions[subject]
        if other is not row and other["dischtime"] and other["admittime"] <= other["dischtime"] <= began
    ]
    begun = [stay for stay in hospital.stays[subject] if stay["intime"] <= landmark]
    here = [stay for stay in begun if stay["hadm_id"] == row["hadm_id"]]
    ended = [stay["outtime"] if stay["outtime"] and stay["outtime"] < landmark else landmark for stay in here]
    reversed_stay = any(stay["outtime"] and stay["outtime"] < stay["intime"] for stay in here)
    in_unit = sum(hours(end - stay["intime"]) for stay, end in zip(here, ended, strict=True))
    return {
        "age": float(hospital.age(row)),
        **indicators({**row, **hospital.patients[subject]}),
        "hours_in_emergency": hours(began - arrival),
        "hours_in_hospital": hours(landmark - began),
        "earlier_admissions": len(past),
        "earlier_admissions_365_days": sum(began - other["dischtime"] <= YEAR for other in past),
        "earlier_days_in_hospital": sum(hours(other["dischtime"] - other["admittime"]) / 24 for other in past),
        "days_since_discharge": min((hours(began - other["dischtime"]) / 24 for other in past), default=math.nan),
        "icu_stays": len(here),
        "icu_hours": math.nan if reversed_stay else in_unit,
        "earlier_icu_stays": sum(stay not in here and stay["intime"] < began for stay in begun),
    }
