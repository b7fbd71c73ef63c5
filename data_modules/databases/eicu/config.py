"""Settings of eICU cohorts."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.icd_blocks import expand, is_phenotype
from data_modules.cohorts.value_tasks import VALUE_TASKS, refuse_mixed
from data_modules.errors import UserError
from data_modules.settings import read_when

OLDEST = 90
"""Age in years that replaces `> 89`."""
DIAGNOSES = ("diagnoses", "diagnosis_entries")
"""Modalities of the entries that phenotypes are derived from."""
OFFERED = {"unit_24h": VALUE_TASKS}
"""Landmark -> further outcomes that can be predicted at it."""
TASKS = {
    "unit_24h": ("in_hospital_mortality", "unit_mortality"),
    "unit_discharge": ("icu_readmission", "in_hospital_mortality"),
}
"""Landmark -> outcomes that can be predicted at it, and are where none is listed."""


@dataclass(kw_only=True)
class EICUCohortConfig(ReleaseCohortConfig):
    """Index, landmark, rules and outcomes of an eICU cohort."""

    index: Literal["first", "every"] = "first"
    """The unit stay of each subject to use, selected before the rules apply."""
    landmark: Literal["unit_24h", "unit_discharge"] = "unit_24h"
    """Time of the prediction: 24 h into the unit stay, or at unit discharge."""
    min_age: int = 18
    """Minimum age in years at admission; `> 89` counts as 90."""
    readmission: Literal["gap", "muse"] = field(default="gap", metadata=read_when(".tasks has icu_readmission"))
    """`gap`: the next unit stay begins after this one ends and is not step-down; `muse`: it begins within 15 days."""
    min_gap_hours: float = field(default=0.0, metadata=read_when(".tasks has icu_readmission and .readmission = gap"))
    """Hours after the unit stay up to which the next unit stay is a transfer and no readmission."""
    death_in_window: Literal["negative", "exclude", "composite"] = field(
        default="negative", metadata=read_when(".tasks has icu_readmission")
    )
    """Readmission of a row without one whose subject dies in hospital: False, unknown, or True (composite)."""
    fold_by: Literal["subject", "hospital", "year_group"] = "subject"
    """Unit of splits and folds: subjects, or hospitals, with one hospital per subject; or a fold for each year of
    discharge, in order of time, with subjects in that of their first row."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; empty uses those of the landmark in `TASKS`, `phenotypes` is every block of diagnosis codes."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        offered = TASKS[self.landmark]
        self.tasks = expand(self.tasks or offered)
        super().__post_init__()
        refuse_mixed(self.tasks)
        offered = (*offered, *OFFERED.get(self.landmark, ()))
        known = list(dict.fromkeys(name for names in (*TASKS.values(), *OFFERED.values()) for name in names))
        for task in self.tasks:
            if is_phenotype(task):
                self._refuse_entries()
            elif task not in known:
                names = ", ".join([*sorted(known), "phenotypes"])
                raise UserError(f"cohort.tasks: unknown task {task!r}; known tasks are {names}")
            elif task not in offered:
                raise UserError(
                    f"cohort.tasks: {task} does not fit cohort.landmark={self.landmark}, which has {', '.join(offered)}"
                )
        if self.min_gap_hours < 0:
            raise UserError(f"cohort.min_gap_hours={self.min_gap_hours} must be at least 0")
        if not 0 <= self.min_age <= OLDEST:
            raise UserError(f"cohort.min_age={self.min_age} must lie in 0 to {OLDEST}: older ages are written '> 89'")

    def _refuse_entries(self) -> None:
        if self.landmark != "unit_24h":
            raise UserError(
                f"cohort.tasks: phenotypes do not fit cohort.landmark={self.landmark}: the diagnoses of the unit stay "
                "are entered by then, so nothing is left to predict; set cohort.landmark=unit_24h"
            )
        shown = [name for name in DIAGNOSES if name in self.modalities]
        if shown:
            raise UserError(
                f"cohort.modalities: {', '.join(shown)} holds the entries that phenotypes are derived from, most of "
                "which are made on the first day; remove it, or the phenotypes from cohort.tasks"
            )


CohortConfig = EICUCohortConfig
"""The name that the registry reads."""
