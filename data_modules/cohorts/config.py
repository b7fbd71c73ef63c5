"""Settings that every cohort has, whichever database it comes from."""

import math
from dataclasses import dataclass, field
from typing import Literal

from data_modules.vocabulary import SPLITS


@dataclass(kw_only=True)
class SplitConfig:
    """Fractions of the subjects, and the salt that draws them."""

    train: float = 0.60
    """Fraction whose rows fit the weights, scalers, imputers and vocabularies."""
    calibration: float = 0.15
    """Fraction kept for the rectifier."""
    val: float = 0.10
    """Fraction for early stopping and sweeps."""
    test: float = 0.15
    """Fraction read once, by `evaluate`."""
    num_folds: int = 5
    """Subject-level folds, for cross-fitting and small cohorts."""
    salt: str = "mmnar"
    """Another salt draws other splits."""
    test_fold: int | None = None
    """The fold that is test, from 0; the other subjects are hashed into train, calibration and val in their
    proportions. null draws test by its fraction. `evaluation.protocol=kfold` runs every fold."""
    crossfit_fold: int | None = None
    """The fold of train and calibration that is held out for the rectifier, from 0; the next fold is the other half
    of calibration, and all the rest trains. `rectifier.fit=crossfit` runs every fold."""

    def __post_init__(self) -> None:
        """Refuse fractions that are negative or do not add up to one, and folds that are not there."""
        fractions = self.fractions
        if min(fractions.values()) < 0 or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
            raise ValueError(f"cohort.split: the fractions {fractions} must be at least 0 and add up to 1")
        if self.train <= 0:
            raise ValueError("cohort.split.train must be above 0: nothing could be fitted")
        if self.num_folds < 2:
            raise ValueError(f"cohort.split.num_folds={self.num_folds} must be at least 2")
        for key in ("test_fold", "crossfit_fold"):
            fold = getattr(self, key)
            if fold is not None and not 0 <= fold < self.num_folds:
                folds = f"with cohort.split.num_folds={self.num_folds} the folds are 0 to {self.num_folds - 1}"
                raise ValueError(f"cohort.split.{key}={fold} is no fold: {folds}")
        if self.crossfit_fold is not None and self.test_fold is not None:
            raise ValueError("cohort.split.test_fold and cohort.split.crossfit_fold share the folds: set one of them")
        if self.crossfit_fold is not None and self.num_folds < 3:
            raise ValueError(
                f"cohort.split.num_folds={self.num_folds} must be at least 3 for cohort.split.crossfit_fold: one fold "
                "for each half of calibration, the rest to train on"
            )

    @property
    def fractions(self) -> dict[str, float]:
        """Split -> fraction, in the order of `SPLITS`."""
        return {split: float(getattr(self, split)) for split in SPLITS}


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


@dataclass(kw_only=True)
class CustomCohortConfig(CohortConfig):
    """Which of a foreign cohort's tasks and modalities to use."""

    tasks: list[str] = field(default_factory=list)
    """Tasks to use; empty means every `label/<task>` of the cohort."""
    modalities: list[str] = field(default_factory=list)
    """Modalities to use; empty means every `present/<modality>` of the cohort."""
