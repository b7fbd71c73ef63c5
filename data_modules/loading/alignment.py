"""One cohort aligned to another, so that a model of the source can be tested on a target."""

from copy import copy
from dataclasses import replace

import numpy as np
import polars as pl

from data_modules.cohorts.build import MODALITIES
from data_modules.cohorts.columns import LABEL, PRESENT
from data_modules.errors import UserError
from data_modules.features.store import read_columns
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store
from data_modules.loading.items import TokenItems, VectorItems
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import Modality


class TransferError(UserError):
    """The model of one cohort cannot read another: which task, modality or column."""


def align(target: OpenedCohort, source: OpenedCohort) -> OpenedCohort:
    """An opened cohort with the tasks, modalities and scales of another, whose model is then to read it.

    Values are scaled by the statistics of the source's train rows. A modality that the target does not have is absent
    from all its rows; one that only the target has is not read. `left_out` says so.

    Args:
        target: whose rows are kept.
        source: whose tasks, modalities and scales replace those of the target.

    Raises:
        TransferError: when the target lacks a task, or a modality of one name holds something else in both.
    """
    lacking = [task for task in source.tasks if LABEL + task not in target.table.columns]
    if lacking:
        raise TransferError(f"the target's tasks are {', '.join(target.tasks)}; it lacks {', '.join(lacking)}")
    own = {modality.name: modality for modality in target.modalities}
    stores = {entry.name: _store(entry, own.get(entry.name), target, source) for entry in source.modalities}
    absent = [name for name in stores if name not in own]
    left_out = [f"{name} is absent from every row: the target does not have it" for name in absent]
    left_out += [f"{name} is not read: the source does not have it" for name in own if name not in stores]
    table = target.table.with_columns(pl.lit(value=False).alias(PRESENT + name) for name in absent)
    return replace(
        target,
        table=table,
        tasks=list(source.tasks),
        modalities=list(source.modalities),
        left_out=[*target.left_out, *left_out],
        arrays=CohortArrays(table, source.tasks, stores),
    )


def _store(entry: Modality, found: Modality | None, target: OpenedCohort, source: OpenedCohort) -> Store:
    """A modality of the target, in the scale of the source."""
    theirs = source.arrays.arrays[entry.name]
    if found is None:
        if not isinstance(theirs, ModalityArray):
            raise TransferError(f"{entry.name}: the target has none, and {entry.kind} of no row cannot be read")
        return ModalityArray(np.zeros((target.table.height, entry.width), np.float32), theirs.statistics)
    own = target.arrays.arrays[entry.name]
    if (found.kind, found.width) != (entry.kind, entry.width):
        raise TransferError(
            f"{entry.name} is {entry.kind} of width {entry.width} in the source, but {found.kind} of width "
            f"{found.width} in the target; name modalities that both hold alike, such as harmonised_vitals"
        )
    if type(own) is not type(theirs) or isinstance(own, TokenItems):
        raise TransferError(f"{entry.name}: its {entry.kind} are encoded with what was learnt from one cohort alone")
    if entry.kind == "table":
        _check_columns(entry.name, target, source)
    return _rescaled(own, theirs)


def _rescaled(own: Store, theirs: Store) -> Store:
    """The same values in the scale of other train rows; pixels have none."""
    if isinstance(own, ModalityArray) and isinstance(theirs, ModalityArray):
        return replace(own, statistics=theirs.statistics)
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
            f"{other} in the target; vocabularies are of one cohort, use modalities that both hold alike"
        )


def _columns(cohort: OpenedCohort, name: str) -> list[str]:
    return read_columns(cohort.folder / MODALITIES / name)
