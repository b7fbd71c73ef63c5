"""The tasks of MIMIC-IV; names include the window in days: `readmission_30d`, `icu_90d`, `mortality_180d`.

Phenotypes (`cohorts/icd_blocks.py`) are blocks of the diagnosis codes of the index admission.
"""

import re
from dataclasses import dataclass

from data_modules.cohorts import icd_blocks
from data_modules.cohorts.value_tasks import LENGTH_OF_STAY
from data_modules.errors import UserError

MAX_WINDOW_DAYS = 365
"""Deaths after discharge are recorded for one year (MIMIC-IV documentation of `dod`)."""

PHENOTYPE, IN_HOSPITAL = "phenotype", "in_hospital_mortality"
_WINDOWED = re.compile(r"(readmission|icu|mortality)_([1-9]\d*)d")


@dataclass(frozen=True, kw_only=True)
class Task:
    """An outcome: name, kind and window in days (None without a window)."""

    name: str
    kind: str
    window_days: int | None = None

    @property
    def is_of_the_stay(self) -> bool:
        """Whether the outcome ends with the index admission, so that it is known at discharge."""
        return self.kind in {IN_HOSPITAL, LENGTH_OF_STAY}

    @property
    def needs_later_admission(self) -> bool:
        """Whether the outcome is observed only in an admission after the index."""
        return self.kind in {"readmission", "icu"}


def parse_task(name: str) -> Task:
    """Parse the name of a task.

    Returns:
        The task.

    Raises:
        UserError: for an unknown name, or a window longer than deaths are recorded.

    >>> parse_task("icu_90d").window_days
    90
    """
    if name in {IN_HOSPITAL, LENGTH_OF_STAY}:
        return Task(name=name, kind=name)
    if icd_blocks.is_phenotype(name):
        return Task(name=name, kind=PHENOTYPE)
    match = _WINDOWED.fullmatch(name)
    if match is None:
        raise UserError(
            f"cohort.tasks: unknown task {name!r}; known tasks are readmission_<days>d, icu_<days>d, "
            "mortality_<days>d, in_hospital_mortality, length_of_stay and phenotypes"
        )
    days = int(match[2])
    if days > MAX_WINDOW_DAYS:
        raise UserError(
            f"cohort.tasks: the window of {name!r} is {days} days, but outcomes are recorded for {MAX_WINDOW_DAYS} days"
        )
    return Task(name=name, kind=match[1], window_days=days)
