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
    missing_tables: Literal["drop", "error"] = "drop"
    """What a missing table that only a modality needs does: drop the modality loudly, or refuse."""
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
