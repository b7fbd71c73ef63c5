"""Aligns a target cohort to a source cohort, so that a model trained on the source can be evaluated on the target."""

from copy import copy
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from data_modules.cohorts.build import MODALITIES
from data_modules.cohorts.columns import LABEL, PRESENT
from data_modules.errors import UserError
from data_modules.features.store import read_columns
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store
from data_modules.loading.items import TokenItems, VectorItems
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import Modality


class TransferError(UserError):
    """A model of the source cannot read the target; names the task, modality or column."""


def align(target: OpenedCohort, source: OpenedCohort) -> OpenedCohort:
    """Give a target cohort the tasks, modalities and scales of a source cohort, for models of the source.

    Values are scaled by the statistics of the source's train rows. A modality that the target lacks is absent from all
    rows; one that only the target has is not read. `left_out` lists both. All rows are rows of the target.

    Args:
        target: its rows are kept.
        source: its tasks, modalities and scales replace those of the target.

    Returns:
        The aligned target.

    Raises:
        TransferError: if the target lacks a task, or the cohorts store a modality differently.
    """
    lacking = [task for task in source.tasks if LABEL + task not in target.table.columns]
    if lacking:
        raise TransferError(f"the target's tasks are {', '.join(target.tasks)}; it lacks {', '.join(lacking)}")
    own = {modality.name: modality for modality in target.modalities}
    stores = {entry.name: _store(entry, own.get(entry.name), target, source) for entry in source.modalities}
    absent = [name for name in stores if name not in own]
    left_out = [f"{name} is absent from every row: the target lacks it" for name in absent]
    left_out += [f"{name} is not read: the source lacks it" for name in own if name not in stores]
    table = target.table.with_columns(pl.lit(value=False).alias(PRESENT + name) for name in absent)
    return replace(
        target,
        table=table,
        tasks=list(source.tasks),
        modalities=list(source.modalities),
        left_out=[*target.left_out, *left_out],
        arrays=CohortArrays(table, source.tasks, stores, site=torch.ones(table.height, dtype=torch.bool)),
        pretraining_rows=target.pretraining_rows[:0],  # nothing is trained on the target
    )


def _store(entry: Modality, found: Modality | None, target: OpenedCohort, source: OpenedCohort) -> Store:
    """A modality of the target in the scale of the source."""
    theirs = source.arrays.arrays[entry.name]
    if found is None:
        if not isinstance(theirs, ModalityArray):
            raise TransferError(f"{entry.name}: the target lacks it, and {entry.kind} cannot be absent from every row")
        zeros = np.zeros((target.table.height, entry.width), np.float32)
        return ModalityArray(zeros, theirs.statistics, raw=theirs.raw)
    own = target.arrays.arrays[entry.name]
    if (found.kind, found.width) != (entry.kind, entry.width):
        raise TransferError(
            f"{entry.name} is {entry.kind} of width {entry.width} in the source, but {found.kind} of width "
            f"{found.width} in the target; use modalities with the same columns in both, such as harmonised_vitals"
        )
    if type(own) is not type(theirs) or isinstance(own, TokenItems):
        raise TransferError(f"{entry.name}: its {entry.kind} are encoded with parameters fitted on one cohort only")
    if entry.kind == "table":
        _check_columns(entry.name, target, source)
    return _rescaled(own, theirs)


def _rescaled(own: Store, theirs: Store) -> Store:
    """The values in the scale of other train rows; pixels are not scaled."""
    if isinstance(own, ModalityArray) and isinstance(theirs, ModalityArray):
        return replace(own, statistics=theirs.statistics, raw=theirs.raw)
    if isinstance(own, VectorItems) and isinstance(theirs, VectorItems):
        own = copy(own)
        own.statistics = theirs.statistics
    return own


def _check_columns(name: str, target: OpenedCohort, source: OpenedCohort) -> None:
    theirs, own = (_columns(cohort, name) for cohort in (source, target))
    differing = [pair for pair in zip(theirs, own, strict=True) if pair[0] != pair[1]]
    if differing:
        first, other = differing[0]
        raise TransferError(
            f"{name}: {len(differing)} of {len(own)} columns differ, the first is {first} in the source and "
            f"{other} in the target; vocabularies are fitted per cohort, use modalities with the same columns in both"
        )


def _columns(cohort: OpenedCohort, name: str) -> list[str]:
    return read_columns(cohort.folder / MODALITIES / name)
