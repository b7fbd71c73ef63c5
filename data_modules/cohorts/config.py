"""Settings that every cohort has, whichever database it comes from."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.splits import SplitConfig


@dataclass(kw_only=True)
class CohortConfig:
    """What a cohort is called, what it predicts, from what, and how it is split."""

    name: str = "cohort"
    """Names the cohort's folder, together with a fingerprint of the settings and the raw files."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; a window in days is part of the name: `readmission_30d`."""
    modalities: list[str] = field(default_factory=list)
    """Inputs, in the order of the characters of a pattern label."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Fractions and salt of the subject-level splits."""

    def __post_init__(self) -> None:
        """Refuse a cohort that predicts nothing, from nothing, or the same thing twice."""
        if not self.name.replace("-", "_").isidentifier():
            raise ValueError(f"cohort.name={self.name!r} must be letters, digits, '_' or '-': it names a folder")
        for key in ("tasks", "modalities"):
            names = getattr(self, key)
            if len(set(names)) != len(names):
                raise ValueError(f"cohort.{key}={names} names something twice")


@dataclass(kw_only=True)
class ReleaseCohortConfig(CohortConfig):
    """Settings of every cohort that is built from the raw tables of a release."""

    missing_tables: Literal["drop", "error"] = "drop"
    """What a missing table that only a modality needs does: drop the modality loudly, or refuse."""
    min_vocabulary_subjects: int = 5
    """Fewest train subjects with a drug, organism, procedure or code for it to become a column."""
    max_vocabulary: int = 200
    """Most columns of one vocabulary, the most frequent first."""

    def __post_init__(self) -> None:
        """Refuse limits below one."""
        super().__post_init__()
        for key in ("min_vocabulary_subjects", "max_vocabulary"):
            if getattr(self, key) < 1:
                raise ValueError(f"cohort.{key}={getattr(self, key)} must be at least 1")
