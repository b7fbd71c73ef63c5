"""Weights of train rows by the inverse probability of their missingness pattern."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules import patterns
from data_modules.loading.arrays import ModalityArray
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines import inverse_probability
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say

TINY = 1e-12
"""Smallest total variance of a modality."""


def weighted(config: ExperimentConfig, cohort: OpenedCohort) -> OpenedCohort:
    """Give the train rows of a cohort the weights that the settings ask for; all other rows have weight 1.

    Args:
        config: of the experiment.
        cohort: as the baseline reads it.

    Returns:
        The cohort with weights, or as it is without `baseline.inverse_probability`.
    """
    quantile = config.baseline.inverse_probability
    if quantile is None:
        return cohort
    rows, arrays = cohort.rows("train"), cohort.arrays
    columns, names = _columns(cohort, rows, quantile)
    pattern, subject = patterns.encode(arrays.present[rows]).numpy(), arrays.subject[rows].numpy()
    found = inverse_probability.weights(columns, pattern, subject, config.privacy.min_count, quantile)
    effective = np.square(found.sum()) / np.square(found).sum() / len(found)
    say(f"inverse probability: patterns given {', '.join(names)}; effective share of the train rows {effective:.0%}")
    weight = torch.ones(len(arrays.subject))
    weight[rows] = torch.from_numpy(found).float()
    return replace(cohort, arrays=arrays.with_weight(weight))


def _columns(cohort: OpenedCohort, rows: Tensor, quantile: float) -> tuple[NDArray[np.float64], list[str]]:
    """The inputs of modalities that all train rows have, each of total variance 1, and the names of these."""
    always = cohort.arrays.present[rows].all(0).tolist()
    parts, names = [], []
    for place, modality in enumerate(cohort.modalities):
        array = cohort.arrays.arrays[modality.name]
        if always[place] and isinstance(array, ModalityArray):
            parts.append(_scaled(_inputs(array, rows.numpy())))
            names.append(modality.name)
    if not parts:
        raise ConfigError(
            f"baseline.inverse_probability={quantile}: no modality with one vector per row is present in every train "
            "row, and the probability of a pattern may depend on nothing else; set it to null, or add such a modality "
            "to cohort.modalities"
        )
    return np.concatenate(parts, axis=1), names


def _inputs(array: ModalityArray, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standardised values, the mean where not measured, and a flag for each column that is not always measured."""
    values = replace(array, raw=False).gather(rows).double().numpy()
    missing = np.isnan(array.values[rows])
    return np.concatenate([values, missing[:, missing.any(0)].astype(np.float64)], axis=1)


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """So that one penalty shrinks every modality alike, however many columns it has."""
    total = values.var(0).sum()
    return np.asarray((values - values.mean(0)) / np.sqrt(total if total > TINY else 1.0))
