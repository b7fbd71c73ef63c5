"""Settings of MIMIC-IV cohorts."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.databases.mimic_iv import tasks

YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")
AFTER_DISCHARGE = ("discharge_note", "diagnosis_codes", "drg_codes")
"""Modalities that do not exist before discharge."""
DEFAULT_TASKS = {
    "discharge": ("readmission_30d", "icu_90d", "mortality_180d"),
    "icu_24h": ("in_hospital_mortality",),
}


@dataclass(kw_only=True)
class MIMICCohortConfig(ReleaseCohortConfig):
    """Which admissions of MIMIC-IV, seen from when, with which outcomes."""

    index: Literal["first", "last", "every"] = "first"
    """Which admission of a subject is the unit. It is picked first and then the rules apply."""
    landmark: Literal["discharge", "icu_24h"] = "discharge"
    """When the prediction is made: at discharge, or 24 h into the first ICU stay."""
    in_unit: bool = False
    """At icu_24h: keep only those who are also still in the unit."""
    min_age: int = 18
    """Years at admission."""
    anchor_year_groups: list[str] | None = None
    """Keep subjects of these groups ("2008 - 2010"); null keeps all. Notes end in 2019, images cover 2011-2016."""
    note_grace_hours: float = 0.0
    """At discharge: hours after it within which the index admission's own summary may still be stored."""
    early_events: Literal["exclude", "keep"] = "exclude"
    """Rows whose outcome falls inside the grace: counted and left out, or kept."""
    observation_stays: bool = True
    """Whether observation stays (EU, ambulatory, direct) count as admissions."""
    elective_readmissions: bool = True
    """Whether the next admission counts as a readmission when it is elective or same-day surgery."""
    organ_donors: bool = False
    """Whether an admission that begins after the subject's death (an organ donor's) counts."""
    overlapping_admissions: bool = True
    """Whether an index that another admission of the subject overlaps is kept."""
    max_reversed_share: float = 0.001
    """Largest share of admissions with dischtime before admittime that is dropped rather than refused."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; empty means those of the landmark in `DEFAULT_TASKS`."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        self.tasks = list(self.tasks or DEFAULT_TASKS[self.landmark])
        parsed = [tasks.parse_task(task) for task in self.tasks]
        for task in parsed:
            if (task.kind == "in_hospital_mortality") != (self.landmark == "icu_24h"):
                wanted = "in_hospital_mortality" if self.landmark == "icu_24h" else "outcomes after discharge"
                raise ValueError(
                    f"cohort.tasks: {task.name} does not fit cohort.landmark={self.landmark}, which has {wanted}"
                )
            if self.index == "last" and task.needs_later_admission:
                raise ValueError(
                    f"cohort.index=last has no later admission, so {task.name} would be False by construction; "
                    "use first or every, or drop the task"
                )
        late = sorted(set(AFTER_DISCHARGE) & set(self.modalities)) if self.landmark != "discharge" else []
        if late:
            raise ValueError(
                f"cohort.modalities: {', '.join(late)} is written after discharge and tells how the stay ended; "
                f"it cannot be an input at cohort.landmark={self.landmark}"
            )
        unknown = sorted(set(self.anchor_year_groups or []) - set(YEAR_GROUPS))
        if unknown:
            raise ValueError(f"cohort.anchor_year_groups: {unknown} is none of {', '.join(YEAR_GROUPS)}")
        if self.min_age < 0 or not 0 <= self.max_reversed_share <= 1:
            raise ValueError(
                f"cohort.min_age={self.min_age} must be at least 0, and "
                f"cohort.max_reversed_share={self.max_reversed_share} between 0 and 1"
            )
        if self.in_unit and self.landmark != "icu_24h":
            raise ValueError("cohort.in_unit=true needs cohort.landmark=icu_24h")
        if self.note_grace_hours < 0 or (self.note_grace_hours > 0 and self.landmark != "discharge"):
            raise ValueError(
                f"cohort.note_grace_hours={self.note_grace_hours} must be 0 or, at cohort.landmark=discharge, more"
            )


CohortConfig = MIMICCohortConfig
"""The name by which the registry finds the settings of a database."""
