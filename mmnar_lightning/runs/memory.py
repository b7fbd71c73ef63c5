"""Reads the train rows of a cohort for the frozen memory of a baseline."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_modules.loading.alignment import Source
from data_modules.loading.arrays import ModalityArray
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.inputs import check_vectors
from mmnar_lightning.baselines.memory import Memory, TrainRows, compute_memory
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.nn.inputs import InputMaps
from mmnar_lightning.saved.support import words_of


def frozen_memory(config: ExperimentConfig, cohort: OpenedCohort, maps: InputMaps) -> Memory:
    """Compute the memory of the train rows, which all models of a run share.

    Args:
        config: of the experiment.
        cohort: as the model reads it.
        maps: modality -> the fixed map that its vectors pass first.

    Returns:
        The memory, in which a value of too few subjects is what the encoders read where nothing was measured.
    """
    check_vectors(config.baseline.name, cohort.modalities)
    arrays, columns = _arrays(cohort), Source.of(cohort).columns
    words = {name: torch.from_numpy(words_of([str(column) for column in own])) for name, own in columns.items()}

    def read(rows: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        index = rows.numpy()
        counted = {}
        for name, array in arrays.items():
            stored = torch.from_numpy(np.array(array.values[index]))
            # A row without a word has nothing that could identify it.
            counted[name] = stored.isfinite() & ((stored != 0) | ~words.get(name, torch.tensor(data=False)))
        return {name: array.gather(index) for name, array in arrays.items()}, counted

    train = cohort.rows("train")
    rows = TrainRows(
        row_id=train, subject=cohort.arrays.subject[train], present=cohort.arrays.present[train], read=read
    )
    found = compute_memory(rows, cohort.modalities, maps, config.privacy.min_count)
    inputs = {name: values if arrays[name].raw else values.nan_to_num(0.0) for name, values in found.inputs.items()}
    return replace(found, inputs=inputs)


def _arrays(cohort: OpenedCohort) -> dict[str, ModalityArray]:
    return {name: store for name, store in cohort.arrays.arrays.items() if isinstance(store, ModalityArray)}
