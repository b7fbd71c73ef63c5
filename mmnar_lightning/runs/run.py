"""A run: its configuration, opened datamodule and folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from data_modules.datamodule import CohortDataModule
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.evaluation.scores import Scoring


@dataclass(frozen=True)
class Run:
    """State shared by training, evaluation and report of a run.

    Attributes:
        config: the whole configuration.
        datamodule: opened.
        folder: of the run.
    """

    config: ExperimentConfig
    datamodule: CohortDataModule
    folder: Path

    @property
    def cohort(self) -> OpenedCohort:
        """The opened cohort."""
        return self.datamodule.cohort

    @property
    def scoring(self) -> Scoring:
        """The scoring of its test rows."""
        return scoring_of(self.config)

    @property
    def scores_a_fold(self) -> bool:
        """Whether other runs score other folds of the same rows, from all of which small counts could follow."""
        return scores_a_fold(self.config)

    def of(self, config: ExperimentConfig) -> "Run":
        """The same run with other settings."""
        return replace(self, config=config)


def scoring_of(config: ExperimentConfig) -> Scoring:
    """The scoring that the settings specify."""
    return Scoring(
        num_replicates=config.evaluation.num_replicates, seed=config.seed, min_count=config.privacy.min_count
    )


def scores_a_fold(config: ExperimentConfig) -> bool:
    """Whether a run with these settings scores a part of the rows that its siblings score other parts of."""
    return bool(config.cohort.split.held_folds)
