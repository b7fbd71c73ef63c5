"""Settings of eICU cohorts."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.config import ReleaseCohortConfig

OLDEST = 90
"""Years that stand for the age `> 89`."""
TASKS = {
    "unit_24h": ("in_hospital_mortality", "unit_mortality"),
    "unit_discharge": ("icu_readmission", "in_hospital_mortality"),
}
"""Landmark -> the outcomes that can be predicted there."""


@dataclass(kw_only=True)
class EICUCohortConfig(ReleaseCohortConfig):
    """Which unit stays of eICU, seen from when, with which outcomes."""

    index: Literal["first", "every"] = "first"
    """Which unit stay of a subject is the unit. It is picked first and then the rules apply."""
    landmark: Literal["unit_24h", "unit_discharge"] = "unit_24h"
    """When the prediction is made: 24 h into the unit stay, or when the subject leaves the unit."""
    min_age: int = 18
    """Years at admission; `> 89` counts as 90."""
    readmission: Literal["gap", "muse"] = "gap"
    """`gap`: the next unit stay begins after this one ends and is no step-down; `muse`: it begins within 15 days."""
    fold_by: Literal["subject", "hospital"] = "subject"
    """What is drawn into splits and folds as a whole: subjects, or hospitals, of which each subject keeps one."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; empty means those of the landmark in `TASKS`."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        offered = TASKS[self.landmark]
        self.tasks = list(self.tasks or offered)
        for task in self.tasks:
            if task not in {name for names in TASKS.values() for name in names}:
                known = ", ".join(sorted({name for names in TASKS.values() for name in names}))
                raise ValueError(f"cohort.tasks: unknown task {task!r}; known are {known}")
            if task not in offered:
                raise ValueError(
                    f"cohort.tasks: {task} does not fit cohort.landmark={self.landmark}, which has {', '.join(offered)}"
                )
        if not 0 <= self.min_age <= OLDEST:
            raise ValueError(f"cohort.min_age={self.min_age} must lie in 0 to {OLDEST}: older ages are written '> 89'")


CohortConfig = EICUCohortConfig
"""The name by which the registry finds the settings of a database."""
