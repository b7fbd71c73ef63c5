"""Fits the boosted trees that a network is blended with (`evaluation.blend`), after it is trained."""

from dataclasses import replace

from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.folded import LARGEST
from mmnar_lightning.baselines.inputs import check_vectors
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.evaluation.blend import Blended, blend
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import estimator
from mmnar_lightning.runs.run import Run

TREES = "boosted_trees"
"""The baseline that is blended."""


def check(config: ExperimentConfig, cohort: OpenedCohort) -> None:
    """Refuse a cohort that trees cannot read, before anything is trained."""
    if _is_on(config):
        check_vectors(f"evaluation.blend=true: {TREES}", cohort.modalities)


def fit_and_blend(run: Run, network: ScoredRows) -> Blended | None:
    """Fit the trees as a run of that baseline does, on the same rows and inner folds, and predict the test rows.

    Args:
        run: of the network.
        network: the test rows, with the logits that are reported in the end.

    Returns:
        The predictions of both; None without `evaluation.blend`.
    """
    if not _is_on(run.config):
        return None
    config = replace(run.config, baseline=replace(run.config.baseline, name=TREES))
    cohort = run.cohort.with_raw_tables()
    trees, _ = estimator.fitted(config, cohort)
    rows = estimator.test_rows(cohort, trees)
    return blend(network, rows.with_logits(rows.logits.clamp(-LARGEST, LARGEST)), trees.iterations)


def _is_on(config: ExperimentConfig) -> bool:
    return config.evaluation.blend and config.baseline.name == "none"
