"""Settings that cohorts of all databases share."""

import math
from dataclasses import dataclass, field
from typing import Literal

from data_modules.errors import UserError
from data_modules.settings import read_when
from data_modules.vocabulary import SPLITS, check_name


@dataclass(kw_only=True)
class SplitConfig:
    """Fractions of the subjects per split, salt and folds."""

    train: float = 0.60
    """Fraction that fits weights, scales, imputers and vocabularies."""
    calibration: float = 0.15
    """Fraction that fits the rectifier."""
    val: float = 0.10
    """Fraction for early stopping and sweeps."""
    test: float = 0.15
    """Fraction that only `evaluate` reads."""
    num_folds: int = 5
    """Number of subject-level folds, for cross-fitting and small cohorts."""
    salt: str = "mmnar"
    """Salt of the hash that draws splits and folds."""
    test_fold: int | None = None
    """The fold that is the test split, from 0; the other subjects are hashed into train, calibration and val in the
    proportions of their fractions. null draws test by its fraction. `evaluation.protocol=kfold` runs every fold."""
    crossfit_fold: int | None = None
    """The fold of train and calibration that is half B of calibration, from 0; the next fold is half A, and the other
    folds are train. `rectifier.fit=crossfit` runs every fold."""
    test_from: int | None = None
    """This fold and all later ones are the test split, and the earlier ones are hashed into the other splits; for folds
    in order of time (`cohort.fold_by=year_group`). `evaluation.protocol=temporal` runs every boundary."""
    target_calibration: float = 0.0
    """Share of the subjects of the held-out folds that fits the rectifier, or enters the fit of a refitted baseline, in
    place of test; the other subjects are then hashed into train and val only."""

    def __post_init__(self) -> None:
        """Refuse negative fractions, fractions that do not sum to 1, and folds out of range."""
        fractions = self.fractions
        if min(fractions.values()) < 0 or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
            raise UserError(f"cohort.split: the fractions {fractions} must be at least 0 and sum to 1")
        if self.train <= 0:
            raise UserError("cohort.split.train must be above 0, because models are fitted on it")
        if self.num_folds < 2:
            raise UserError(f"cohort.split.num_folds={self.num_folds} must be at least 2")
        for key, fold in self.held_folds.items():
            if not 0 <= fold < self.num_folds:
                folds = f"with cohort.split.num_folds={self.num_folds} the folds are 0 to {self.num_folds - 1}"
                raise UserError(f"cohort.split.{key}={fold} is not a fold: {folds}")
        if self.test_from == 0:
            raise UserError("cohort.split.test_from=0 leaves no fold for training; the first boundary is 1")
        if len(self.held_folds) > 1:
            keys = " and ".join(f"cohort.split.{key}" for key in self.held_folds)
            raise UserError(f"{keys} use the same folds: set one of them")
        if not 0 <= self.target_calibration < 1:
            raise UserError(
                f"cohort.split.target_calibration={self.target_calibration} must be at least 0 and below 1: the "
                "other subjects of the held-out folds are tested"
            )
        if self.crossfit_fold is not None and self.num_folds < 3:
            raise UserError(
                f"cohort.split.num_folds={self.num_folds} must be at least 3 for cohort.split.crossfit_fold: one fold "
                "per half of calibration, the others for training"
            )

    @property
    def fractions(self) -> dict[str, float]:
        """Split -> fraction, in the order of `SPLITS`."""
        return {split: float(getattr(self, split)) for split in SPLITS}

    @property
    def held_folds(self) -> dict[str, int]:
        """Setting -> fold, of the settings that name a held-out fold."""
        named = {key: getattr(self, key) for key in ("test_fold", "test_from", "crossfit_fold")}
        return {key: fold for key, fold in named.items() if fold is not None}


@dataclass(kw_only=True)
class CohortConfig:
    """Name, tasks, modalities and splits of a cohort."""

    name: str = "cohort"
    """Prefix of the cohort folder, before a fingerprint of the settings and raw files."""
    tasks: list[str] = field(default_factory=list)
    """Outcomes; the name includes the window in days: `readmission_30d`."""
    modalities: list[str] = field(default_factory=list)
    """Inputs, in the order of the characters of pattern labels."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Fractions and salt of the subject-level splits."""

    def __post_init__(self) -> None:
        """Refuse invalid names, and tasks or modalities listed twice."""
        check_name("cohort.name", self.name, begins_with_digit=False)
        for key in ("tasks", "modalities"):
            names = getattr(self, key)
            if len(set(names)) != len(names):
                raise UserError(f"cohort.{key}={names} has duplicates")


@dataclass(kw_only=True)
class ReleaseCohortConfig(CohortConfig):
    """Settings of cohorts built from the raw tables of a release."""

    missing_tables: Literal["drop", "error"] = "drop"
    """If a table of a modality is missing: drop the modality with a warning, or raise an error."""
    min_vocabulary_subjects: int = 5
    """Minimum number of train subjects with a drug, organism, procedure or code that becomes a column."""
    max_vocabulary: int = 200
    """Maximum number of columns of a vocabulary, most frequent first."""
    pretraining_rows: bool = field(
        default=False,
        metadata=read_when(
            "objective.pretrain_epochs > 0 or model.additive.canonical > 0 and model.additive.inverse_penalties is set "
            "and baseline.name = none"
        ),
    )
    """Also derive the inputs of the other admissions (eICU: unit stays) of train subjects, for pre-training and for
    canonical axes only."""
    verify: bool = field(default=False, metadata=read_when("simulated = false"))
    """Compare the raw tables with SHA256SUMS.txt of the release before the build; the cohort does not depend on it."""

    def __post_init__(self) -> None:
        """Refuse limits below one."""
        super().__post_init__()
        for key in ("min_vocabulary_subjects", "max_vocabulary"):
            if getattr(self, key) < 1:
                raise UserError(f"cohort.{key}={getattr(self, key)} must be at least 1")


@dataclass(kw_only=True)
class CustomCohortConfig(CohortConfig):
    """The tasks and modalities of a custom cohort to use."""

    tasks: list[str] = field(default_factory=list)
    """Tasks to use; empty uses every `label/<task>` of the cohort."""
    modalities: list[str] = field(default_factory=list)
    """Modalities to use; empty uses every `present/<modality>` of the cohort."""
