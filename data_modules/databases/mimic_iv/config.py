"""Settings of MIMIC-IV cohorts."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.icd_blocks import expand
from data_modules.cohorts.value_tasks import refuse_mixed
from data_modules.databases.mimic_iv import tasks
from data_modules.errors import UserError
from data_modules.settings import read_when

YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")
AFTER_DISCHARGE = ("discharge_note", "diagnosis_codes", "drg_codes")
"""Modalities that do not exist before discharge."""
BILLING_CODES = ("diagnosis_codes", "drg_codes")
"""Modalities of the codes that phenotypes are derived from."""
DEFAULT_TASKS = {
    "discharge": ("readmission_30d", "icu_90d", "mortality_180d"),
    "icu_24h": ("in_hospital_mortality",),
}


@dataclass(kw_only=True)
class MIMICCohortConfig(ReleaseCohortConfig):
    """Index, landmark, rules and outcomes of a MIMIC-IV cohort."""

    index: Literal["first", "last", "every"] = "first"
    """The admission of each subject to use, selected before the rules apply."""
    landmark: Literal["discharge", "icu_24h"] = "discharge"
    """Time of the prediction: at discharge, or 24 h into the first ICU stay."""
    in_unit: bool = field(default=False, metadata=read_when(".landmark = icu_24h"))
    """At icu_24h: keep only rows that are still in the unit."""
    min_age: int = 18
    """Minimum age in years at admission."""
    anchor_year_groups: list[str] | None = None
    """Keep subjects of these groups ("2008 - 2010"); null keeps all. Notes end in 2019, images cover 2011-2016."""
    note_grace_hours: float = 0.0
    """At discharge: hours after discharge within which the discharge summary may still be stored."""
    early_events: Literal["exclude", "keep"] = field(default="exclude", metadata=read_when(".note_grace_hours > 0"))
    """Rows with an outcome within the grace: count and exclude them, or keep them."""
    observation_stays: bool = True
    """Whether observation stays (EU, ambulatory, direct) count as admissions."""
    elective_readmissions: bool = field(default=True, metadata=read_when(".tasks has readmission"))
    """Whether the next admission counts as a readmission if it is elective or same-day surgery."""
    min_gap_hours: float = field(default=0.0, metadata=read_when(".tasks has readmission or .tasks has icu"))
    """Hours after discharge up to which the next admission is a transfer and not counted as an outcome."""
    death_in_window: Literal["negative", "exclude", "composite"] = field(
        default="negative", metadata=read_when(".tasks has readmission or .tasks has icu")
    )
    """Outcome of a row without an event whose subject dies in the window: False, unknown, or True (composite)."""
    organ_donors: bool = False
    """Whether an admission that begins after the subject's death (an organ donor's) counts."""
    overlapping_admissions: bool = True
    """Whether to keep an index admission that overlaps another one of the subject."""
    max_reversed_share: float = 0.001
    """Maximum share of admissions with dischtime before admittime to drop; a larger share is an error."""
    fold_by: Literal["subject", "year_group"] = "subject"
    """Unit of folds: subjects, or a fold for each anchor_year_group, in order of time."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; empty uses those of the landmark in `DEFAULT_TASKS`, `phenotypes` is every block of diagnosis codes."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        self.tasks = expand(self.tasks or DEFAULT_TASKS[self.landmark])
        super().__post_init__()
        refuse_mixed(self.tasks)
        parsed = [tasks.parse_task(task) for task in self.tasks]
        for task in parsed:
            if task.kind == tasks.PHENOTYPE:
                continue
            if task.is_of_the_stay != (self.landmark == "icu_24h"):
                wanted = (
                    "in_hospital_mortality and length_of_stay"
                    if self.landmark == "icu_24h"
                    else "outcomes after discharge"
                )
                raise UserError(
                    f"cohort.tasks: {task.name} does not fit cohort.landmark={self.landmark}, which has {wanted}"
                )
            if self.index == "last" and task.needs_later_admission:
                raise UserError(
                    f"cohort.index=last has no later admission, so {task.name} would always be False; "
                    "use first or every, or remove the task"
                )
        late = sorted(set(AFTER_DISCHARGE) & set(self.modalities)) if self.landmark != "discharge" else []
        if late:
            raise UserError(
                f"cohort.modalities: {', '.join(late)} is written after discharge and reveals the outcome of the stay; "
                f"it cannot be an input at cohort.landmark={self.landmark}"
            )
        if any(task.kind == tasks.PHENOTYPE for task in parsed):
            self._refuse_codes()
        unknown = sorted(set(self.anchor_year_groups or []) - set(YEAR_GROUPS))
        if unknown:
            raise UserError(f"cohort.anchor_year_groups: unknown {unknown}; known groups are {', '.join(YEAR_GROUPS)}")
        if self.min_age < 0 or not 0 <= self.max_reversed_share <= 1:
            raise UserError(
                f"cohort.min_age={self.min_age} must be at least 0, and "
                f"cohort.max_reversed_share={self.max_reversed_share} between 0 and 1"
            )
        if self.min_gap_hours < 0:
            raise UserError(f"cohort.min_gap_hours={self.min_gap_hours} must be at least 0")
        if self.in_unit and self.landmark != "icu_24h":
            raise UserError("cohort.in_unit=true requires cohort.landmark=icu_24h")
        if self.note_grace_hours < 0:
            raise UserError(f"cohort.note_grace_hours={self.note_grace_hours} must be at least 0")
        if self.note_grace_hours > 0 and self.landmark != "discharge":
            raise UserError(
                f"cohort.note_grace_hours={self.note_grace_hours} must be 0 at cohort.landmark={self.landmark}: "
                "set cohort.note_grace_hours=0, or cohort.landmark=discharge"
            )

    def _refuse_codes(self) -> None:
        coded = [name for name in BILLING_CODES if name in self.modalities]
        if coded:
            raise UserError(
                f"cohort.modalities: {', '.join(coded)} holds the codes that phenotypes are derived from; "
                "remove it, or the phenotypes from cohort.tasks"
            )


CohortConfig = MIMICCohortConfig
"""The name that the registry reads."""
