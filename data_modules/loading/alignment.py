"""Aligns a target cohort to a source cohort, so that a model trained on the source can be evaluated on the target."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from data_modules.cohorts.build import MODALITIES
from data_modules.cohorts.columns import LABEL, PRESENT
from data_modules.errors import UserError
from data_modules.features.store import Statistics, read_columns
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store
from data_modules.loading.items import PixelItems, VectorItems
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import ARRAY_KINDS, Modality


class TransferError(UserError):
    """A model of the source cannot read the target; names the task, modality or column."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a trained model reads: the inputs and tasks of the cohort that it was trained on.

    Attributes:
        tasks: T names, in the order of the logits.
        modalities: M modalities, in the order of the pattern's bits.
        statistics: modality -> mean and scale of its vectors over the train rows; pixels and tokens have none.
        columns: modality that is a table -> names of its columns; None for one that is known by its place alone.
        raw: tables that the model reads as they are stored, NaN where not measured.
    """

    tasks: Sequence[str]
    modalities: Sequence[Modality]
    statistics: Mapping[str, Statistics]
    columns: Mapping[str, Sequence[str | None]]
    raw: Collection[str] = ()

    @classmethod
    def of(cls, cohort: OpenedCohort) -> "Source":
        """The source that an opened cohort is."""
        stores = cohort.arrays.arrays
        scaled = {name: store for name, store in stores.items() if isinstance(store, ModalityArray | VectorItems)}
        tables = [modality.name for modality in cohort.modalities if modality.kind == "table"]
        return cls(
            tasks=cohort.tasks,
            modalities=cohort.modalities,
            statistics={name: store.statistics for name, store in scaled.items()},
            columns={name: read_columns(cohort.folder / MODALITIES / name) for name in tables},
            raw={name for name, store in scaled.items() if isinstance(store, ModalityArray) and store.raw},
        )


def align(target: OpenedCohort, source: Source, *, labelled: bool = True) -> OpenedCohort:
    """Give a target cohort the tasks, modalities and scales of a source cohort, for models of the source.

    Values are scaled by the statistics of the source's train rows. A modality that the target lacks is absent from all
    rows; one that only the target has is not read. `left_out` lists both. All rows are rows of the target.

    Args:
        target: its rows are kept.
        source: its tasks, modalities and scales replace those of the target.
        labelled: whether the target must have all tasks; otherwise the labels of a task that it lacks are unknown.

    Returns:
        The aligned target.

    Raises:
        TransferError: if the target lacks a task that it must have, or the cohorts store a modality differently.
    """
    lacking = [task for task in source.tasks if LABEL + task not in target.table.columns]
    if lacking and labelled:
        raise TransferError(f"the target's tasks are {', '.join(target.tasks)}; it lacks {', '.join(lacking)}")
    own = {modality.name: modality for modality in target.modalities}
    stores = {entry.name: _store(entry, own.get(entry.name), target, source) for entry in source.modalities}
    absent = [name for name in stores if name not in own]
    left_out = [f"{name} is absent from every row: the target lacks it" for name in absent]
    left_out += [f"{name} is not read: the source lacks it" for name in own if name not in stores]
    unknown = [pl.lit(None, dtype=pl.Boolean).alias(LABEL + task) for task in lacking]
    table = target.table.with_columns(*(pl.lit(value=False).alias(PRESENT + name) for name in absent), *unknown)
    return replace(
        target,
        table=table,
        tasks=list(source.tasks),
        modalities=list(source.modalities),
        left_out=[*target.left_out, *left_out],
        arrays=CohortArrays(table, source.tasks, stores, site=torch.ones(table.height, dtype=torch.bool)),
        pretraining_rows=target.pretraining_rows[:0],  # nothing is trained on the target
    )


def _store(entry: Modality, found: Modality | None, target: OpenedCohort, source: Source) -> Store:
    """A modality of the target in the scale of the source."""
    if found is None:
        return _absent(entry, target.table.height, source)
    if (found.kind, found.width) != (entry.kind, entry.width):
        raise TransferError(
            f"{entry.name} is {entry.kind} of width {entry.width} in the source, but {found.kind} of width "
            f"{found.width} in the target; use modalities with the same columns in both, such as harmonised_vitals"
        )
    if entry.kind == "table":
        _check_columns(entry.name, target, source)
    return _rescaled(entry, target.arrays.arrays[entry.name], source)


def _absent(entry: Modality, num_rows: int, source: Source) -> Store:
    """A modality that no row has."""
    if entry.name not in source.statistics or entry.kind not in ARRAY_KINDS:
        raise TransferError(f"{entry.name}: the target lacks it, and {entry.kind} cannot be absent from every row")
    zeros = np.zeros((num_rows, entry.width), np.float32)
    return ModalityArray(zeros, source.statistics[entry.name], raw=entry.name in source.raw)


def _rescaled(entry: Modality, own: Store, source: Source) -> Store:
    """The values in the scale of other train rows; pixels are not scaled."""
    if isinstance(own, PixelItems) and entry.name not in source.statistics:
        return own
    is_scaled = isinstance(own, ModalityArray | VectorItems) and entry.name in source.statistics
    if not is_scaled or isinstance(own, ModalityArray) != (entry.kind in ARRAY_KINDS):
        raise TransferError(f"{entry.name}: its {entry.kind} are encoded with parameters fitted on one cohort only")
    if isinstance(own, ModalityArray):
        return replace(own, statistics=source.statistics[entry.name], raw=entry.name in source.raw)
    assert isinstance(own, VectorItems)
    own = copy(own)
    own.statistics = source.statistics[entry.name]
    return own


def _check_columns(name: str, target: OpenedCohort, source: Source) -> None:
    theirs, own = source.columns[name], read_columns(target.folder / MODALITIES / name)
    differing = [pair for pair in zip(theirs, own, strict=True) if pair[0] not in {pair[1], None}]
    if differing:
        first, other = differing[0]
        raise TransferError(
            f"{name}: {len(differing)} of {len(own)} columns differ, the first is {first} in the source and "
            f"{other} in the target; vocabularies are fitted per cohort, use modalities with the same columns in both"
        )
