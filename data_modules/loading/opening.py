"""Opens a cohort folder: which modalities are read, inner folds, and a pattern that is held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from data_modules import stage
from data_modules.cohorts import pretraining, splits
from data_modules.cohorts.build import BUILD, COHORT, MODALITIES
from data_modules.cohorts.columns import PRESENT, validate
from data_modules.cohorts.config import SplitConfig
from data_modules.errors import UserError
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store
from data_modules.loading.items import open_store
from data_modules.loading.opened import OpenedCohort, as_read, row_ids
from data_modules.vocabulary import ARRAY_KINDS, Kind, Modality

ENCODE = "mmnar embed"
"""The command that builds an embedding store again."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model reads a cohort.

    Attributes:
        held_pattern: the present modalities of the rows to keep only in test; None holds out nothing.
        inner_folds: K, folds of train and val together, which become the train split; 0 keeps the val split.
        inner_repeats: R, independent draws of the inner folds.
        raw_tables: gather tables as they are stored, NaN where not measured, instead of standardised.
    """

    held_pattern: Sequence[str] | None = None
    inner_folds: int = 0
    inner_repeats: int = 1
    raw_tables: bool = False


def open_cohort(folder: Path, encoded: Mapping[str, Path], reading: Reading | None = None) -> OpenedCohort:
    """Open a finished cohort folder.

    Rows that violate the cohort contract are a `ContractError`, files that changed since they were written a
    `StageError`.

    Args:
        folder: folder of the cohort.
        encoded: modality -> folder with the arrays or items of documents and images.
        reading: how a model reads it; None is the default.

    Returns:
        The opened cohort.

    Raises:
        UserError: if a model can read no modality, the pattern cannot be held out, or an inner fold has no subject.
    """
    reading = reading or Reading()
    manifest = stage.verify(folder, BUILD)
    encodings = {name: stage.verify(place, ENCODE) for name, place in encoded.items()}
    table = pl.read_parquet(folder / COHORT)
    validate(table, folder / COHORT, labelled=bool(manifest["tasks"]))
    declared, tasks = [Modality(**entry) for entry in manifest["modalities"]], list(manifest["tasks"])
    stores = _stores(folder, declared, encoded)
    modalities = [_as_stored(entry, stores[entry.name]) for entry in declared if entry.name in stores]
    every, lost = _without_lost_rows(pretraining.appended(table, folder), stores)
    left_out = [*_not_encoded(declared, stores, encodings), *lost]
    if not modalities:
        raise UserError(
            f"{folder}: the model can read no modality ({'; '.join(left_out)}); choose an encoder under embed."
        )
    if reading.held_pattern is not None:
        every = _hold_out(every, modalities, reading.held_pattern)
        named = ", ".join(sorted(reading.held_pattern)) or "nothing"
        left_out.append(f"rows with exactly {named} are only in the test split")
    fold, split = None, SplitConfig(**manifest["config"]["split"])
    if reading.inner_folds:
        fold = _inner_folds(every, reading, split.salt)
        every = every.with_columns(split=pl.col("split").replace("val", "train"))
    read = as_read(stores, modalities, raw_tables=reading.raw_tables)
    return OpenedCohort(
        folder=folder,
        manifest=manifest,
        table=every.head(table.height),
        tasks=tasks,
        modalities=modalities,
        left_out=left_out,
        arrays=CohortArrays(every, tasks, read, fold, _site(every, split)),
        holds_out=reading.held_pattern is not None,
        pretraining_rows=row_ids(every, pretraining.SPLIT),
        encoders={name: stage.digest(found["encoder"]) for name, found in encodings.items() if "encoder" in found},
    )


def _stores(folder: Path, declared: Sequence[Modality], encoded: Mapping[str, Path]) -> dict[str, Store]:
    """The values of the modalities that have any: those of the cohort, and encodings of documents and images."""
    folders = {entry.name: folder / MODALITIES / entry.name for entry in declared if entry.kind in ARRAY_KINDS}
    folders |= encoded
    return {entry.name: open_store(folders[entry.name]) for entry in declared if entry.name in folders}


def _as_stored(entry: Modality, store: Store) -> Modality:
    return replace(entry, kind=_kind(entry, store), width=store.width)


def _not_encoded(
    declared: Sequence[Modality], stores: Mapping[str, Store], encodings: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Lines on modalities without an encoder, and on what encoders left out."""
    lines = [
        f"{entry.name} is not read by the model: its {entry.kind} are not encoded"
        for entry in declared
        if entry.name not in stores
    ]
    return lines + [f"{name}: {line}" for name, found in encodings.items() for line in found["left_out"]]


def _site(table: pl.DataFrame, config: SplitConfig) -> Tensor | None:
    """(N,) bool, the rows of held-out folds with calibration rows of their own; None without these."""
    if not config.target_calibration:
        return None
    held = table["split"].is_in(["calibration", "test"]).fill_null(value=False)
    return torch.from_numpy(held.to_numpy(writable=True))


def _inner_folds(table: pl.DataFrame, reading: Reading, salt: str) -> Tensor:
    """(N, R) int64, the inner fold of every row of train, val and pre-training, -1 elsewhere."""
    drawn = splits.inner_fold(table, reading.inner_folds, reading.inner_repeats, salt)
    for folds in drawn:
        found = folds.filter(folds >= 0).n_unique()
        if found < reading.inner_folds:
            raise UserError(
                f"evaluation.inner_folds={reading.inner_folds}: {reading.inner_folds - found} of the folds have no "
                "subject of train or val; lower it"
            )
    return torch.stack([torch.from_numpy(folds.to_numpy(writable=True)) for folds in drawn], dim=1)


def _kind(entry: Modality, array: Store) -> Kind:
    """The kind that reaches the model: documents and images with one vector per row are vectors."""
    return "vectors" if isinstance(array, ModalityArray) and entry.kind not in ARRAY_KINDS else entry.kind


def _without_lost_rows(table: pl.DataFrame, stores: Mapping[str, Store]) -> tuple[pl.DataFrame, list[str]]:
    """Mark a modality as absent from rows whose documents or images have no vector; returns a line for each share."""
    lines = []
    for name, array in stores.items():
        if array.present is None:
            continue
        before = table[PRESENT + name]
        lost = before & ~pl.Series(array.present)
        if lost.any():
            share = len(lost.arg_true()) / len(lost)
            lines.append(f"{name} counts as absent from the {share:.1%} of rows without a vector")
        table = table.with_columns((before & ~lost).alias(PRESENT + name))
    return table, lines


def _hold_out(table: pl.DataFrame, modalities: Sequence[Modality], held_pattern: Sequence[str]) -> pl.DataFrame:
    """Remove the rows of a pattern from all splits but test, and from pre-training.

    Scales and vocabularies were still fitted on them.

    Returns:
        The table, `split` null in the removed rows.

    Raises:
        UserError: if no row outside test has the pattern, or every train row has it.
    """
    held_names, names = set(held_pattern), [modality.name for modality in modalities]
    held = pl.all_horizontal(pl.col(PRESENT + name) == (name in held_names) for name in names)
    count = table.filter(held & ~pl.col("split").is_in(["test", pretraining.SPLIT])).height
    left = table.filter(~held & (pl.col("split") == "train")).height
    if held_names - set(names) or not count or not left:
        raise UserError(
            f"loader.held_pattern={list(held_pattern)}: of the modalities {names}, {count} rows outside the test split "
            f"have exactly these, and {left} train rows have another pattern; both must be above 0"
        )
    kept = pl.when(~held | (pl.col("split") == "test")).then("split")
    return table.with_columns(split=kept)
