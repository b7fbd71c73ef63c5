"""An opened cohort folder: rows, labels, presence and arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules import stage
from data_modules.cohorts import pretraining, splits, subgroups
from data_modules.cohorts.build import BUILD, COHORT, MODALITIES
from data_modules.cohorts.columns import PRESENT, kind_of, validate
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.presence import count_patterns, scored
from data_modules.cohorts.published import POINTS, SCORES
from data_modules.errors import UserError
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store, principal_axes, quantile_edges
from data_modules.loading.items import open_store
from data_modules.patterns import encode
from data_modules.vocabulary import ARRAY_KINDS, Kind, Modality, TaskKind

ENCODE = "mmnar embed"
"""The command that builds an embedding store again."""


@dataclass(frozen=True, eq=False)
class OpenedCohort:
    """The parts of a cohort that models, loaders and evaluations read.

    Attributes:
        folder: folder of the cohort.
        manifest: manifest of the cohort stage.
        table: the rows of `cohort.parquet`, sorted by `row_id`.
        tasks: T tasks, in the order of the logits.
        modalities: M modalities that a model can read, in the order of the pattern's bits: one float vector per row, or
            items.
        left_out: lines for the user on data that the model does not read.
        arrays: inputs, labels and presence by row, those of the pre-training rows last, without labels.
        holds_out: whether a pattern is only in the test split.
        pretraining_rows: (E,) int64, ids of the rows that only pre-training reads.
        encoders: modality -> digest of its encoder, of texts and images.
    """

    folder: Path
    manifest: dict[str, Any]
    table: pl.DataFrame
    tasks: list[str]
    modalities: list[Modality]
    left_out: list[str]
    arrays: CohortArrays
    holds_out: bool = False
    pretraining_rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    encoders: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the settings and raw files of the cohort."""
        return str(self.manifest["fingerprint"])

    @property
    def kind(self) -> TaskKind:
        """Whether the tasks are outcomes that are yes or no, or numbers."""
        return kind_of(self.table)

    @property
    def deviations(self) -> list[float] | None:
        """(T,) standard deviations of tasks that are numbers, in which the arrays have them; None of other tasks."""
        scale = self.arrays.scale
        return None if scale is None else scale.deviation.tolist()

    @property
    def names(self) -> list[str]:
        """Names of the modalities, in order."""
        return [modality.name for modality in self.modalities]

    @cached_property
    def patterns(self) -> list[int]:
        """Patterns over the modalities, most frequent first."""
        return [int(entry["pattern"]) for entry in count_patterns(self.table, self.names)]

    @property
    def scored_patterns(self) -> list[int]:
        """The patterns that are scored one by one, and `REST` for all others where there are more."""
        return scored(self.patterns, len(self.tasks))

    @property
    def train_patterns(self) -> Tensor:
        """(P,) int64, ids of the patterns of the train rows."""
        seen: Tensor = torch.unique(encode(self.arrays.present[self.rows("train")]))
        return seen

    @property
    def item_modalities(self) -> list[Modality]:
        """Modalities with items instead of one vector per row."""
        return [modality for modality in self.modalities if modality.kind not in ARRAY_KINDS]

    @property
    def varying(self) -> Tensor:
        """(M,) bool, True = present in some but not all train rows."""
        present = self.arrays.present[self.rows("train")]
        return present.any(0) & ~present.all(0)

    @property
    def scores(self) -> dict[str, Tensor]:
        """Score -> (N, T) float64, published predictions, NaN where there is none; never an input."""
        table = self._published
        names = dict.fromkeys(name.split("/")[0] for name in table.columns if "/" in name and not name.endswith(POINTS))
        return {name: torch.stack([_score(table, f"{name}/{task}") for task in self.tasks], -1) for name in names}

    @property
    def points(self) -> dict[str, Tensor]:
        """Score -> (N,) float64, points of published scores, NaN where there are none; never an input of this name."""
        table = self._published
        return {name.removesuffix(POINTS): _score(table, name) for name in table.columns if name.endswith(POINTS)}

    @property
    def _published(self) -> pl.DataFrame:
        path = self.folder / SCORES
        return pl.read_parquet(path).sort("row_id") if path.is_file() else pl.DataFrame()

    @property
    def subgroups(self) -> pl.DataFrame:
        """`subgroup/<attribute>` of the N rows, text, null = unknown; never an input."""
        return subgroups.read(self.folder, self.table)

    def axes(self, count: int) -> dict[str, Tensor]:
        """Modality -> (width, count) float, principal axes of its train rows, for vectors wider than `count`."""
        # Not of tables: their columns were chosen one by one, and the variance of a column says nothing of its use.
        return {
            modality.name: principal_axes(self.arrays.arrays[modality.name], self._train_rows(position), count)
            for position, modality in enumerate(self.modalities)
            if modality.kind == "vectors" and 0 < count < modality.width
        }

    def edges(self, bins: int) -> dict[str, tuple[list[Tensor], Tensor]]:
        """Table -> edges of its columns and whether each has missing values, as of `quantile_edges`, on train rows."""
        found = {}
        for position, modality in enumerate(self.modalities):
            array = self.arrays.arrays[modality.name]
            if modality.kind == "table" and bins and isinstance(array, ModalityArray):
                rows = self._train_rows(position)
                subject = self.arrays.subject[torch.from_numpy(rows)].numpy()
                found[modality.name] = quantile_edges(array.values, rows, subject, bins)
        return found

    def _train_rows(self, position: int) -> NDArray[np.int64]:
        """(n,) row ids of train rows with a modality."""
        train = self.rows("train")
        own: NDArray[np.int64] = train[self.arrays.present[train, position]].numpy()
        return own

    def rows(self, split: str) -> Tensor:
        """(N,) int64 row ids of a split."""
        return _row_ids(self.table, split)

    def with_raw_tables(self) -> "OpenedCohort":
        """The same cohort with its tables as they are stored, NaN where not measured."""
        stores = _as_read(self.arrays.arrays, self.modalities, raw_tables=True)
        return replace(self, arrays=self.arrays.with_stores(stores))

    def calibration_half(self, half: splits.Half) -> Tensor:
        """Row ids of one half of the calibration split; the halves share no subject.

        Args:
            half: A fits the rectifier of the training loss, B that of the output. Under `cohort.split.crossfit_fold=k`,
                B is fold k and A the next fold; with `target_calibration` B is all of it; otherwise a hash of the
                subject decides.

        Returns:
            (N,) int64.
        """
        rows = splits.calibration_half(self.table, half, SplitConfig(**self.manifest["config"]["split"]))
        return torch.from_numpy(rows.cast(pl.Int64).to_numpy(writable=True))


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
    declared = [Modality(**entry) for entry in manifest["modalities"]]
    folders = {entry.name: folder / MODALITIES / entry.name for entry in declared if entry.kind in ARRAY_KINDS}
    folders |= encoded
    stores = {entry.name: open_store(folders[entry.name]) for entry in declared if entry.name in folders}
    modalities = [
        replace(entry, kind=_kind(entry, stores[entry.name]), width=stores[entry.name].width)
        for entry in declared
        if entry.name in stores
    ]
    left_out = [
        f"{entry.name} is not read by the model: its {entry.kind} are not encoded"
        for entry in declared
        if entry.name not in stores
    ]
    for name in encoded:
        left_out.extend(f"{name}: {line}" for line in encodings[name]["left_out"])
    every, lines = _without_lost_rows(pretraining.appended(table, folder), stores)
    left_out += lines
    if not modalities:
        raise UserError(
            f"{folder}: the model can read no modality ({'; '.join(left_out)}); choose an encoder under embed."
        )
    if reading.held_pattern is not None:
        every = _hold_out(every, modalities, reading.held_pattern)
        named = ", ".join(sorted(reading.held_pattern)) or "nothing"
        left_out.append(f"rows with exactly {named} are only in the test split")
    fold = None
    if reading.inner_folds:
        fold = _inner_folds(every, reading, manifest["config"]["split"]["salt"])
        every = every.with_columns(split=pl.col("split").replace("val", "train"))
    tasks = list(manifest["tasks"])
    site = _site(every, SplitConfig(**manifest["config"]["split"]))
    return OpenedCohort(
        folder,
        manifest,
        every.head(table.height),
        tasks,
        modalities,
        left_out,
        CohortArrays(every, tasks, _as_read(stores, modalities, raw_tables=reading.raw_tables), fold, site),
        reading.held_pattern is not None,
        _row_ids(every, pretraining.SPLIT),
        {name: stage.digest(found["encoder"]) for name, found in encodings.items() if "encoder" in found},
    )


def _site(table: pl.DataFrame, config: SplitConfig) -> Tensor | None:
    """(N,) bool, the rows of held-out folds with calibration rows of their own; None without these."""
    if not config.target_calibration:
        return None
    held = table["split"].is_in(["calibration", "test"]).fill_null(value=False)
    return torch.from_numpy(held.to_numpy(writable=True))


def _row_ids(table: pl.DataFrame, split: str) -> Tensor:
    chosen = table.filter(pl.col("split") == split)["row_id"]
    return torch.from_numpy(chosen.cast(pl.Int64).to_numpy(writable=True))


def _as_read(stores: Mapping[str, Store], modalities: Sequence[Modality], *, raw_tables: bool) -> dict[str, Store]:
    """The stores of the modalities; with `raw_tables`, tables are gathered as they are stored."""
    tables = {modality.name for modality in modalities if raw_tables and modality.kind == "table"}
    return {
        name: replace(store, raw=True) if name in tables and isinstance(store, ModalityArray) else store
        for name, store in stores.items()
    }


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


def _score(table: pl.DataFrame, column: str) -> Tensor:
    if column not in table.columns:
        return torch.full((table.height,), torch.nan, dtype=torch.float64)
    return torch.from_numpy(table[column].fill_null(float("nan")).to_numpy(writable=True))
