"""An opened cohort: rows, labels, presence and arrays."""

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

from data_modules.cohorts import splits, subgroups
from data_modules.cohorts.columns import kind_of
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.presence import count_patterns, scored
from data_modules.cohorts.published import POINTS, SCORES
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store, principal_axes, quantile_edges
from data_modules.patterns import encode
from data_modules.vocabulary import ARRAY_KINDS, Modality, TaskKind


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

    def edges(self, bins: int) -> dict[str, tuple[list[Tensor], Tensor, Tensor, Tensor]]:
        """Find how the columns of tables are put in bins.

        Args:
            bins: most bins of a column.

        Returns:
            Table -> edges of its C columns and whether each has missing values, as of `quantile_edges`; and (C,) mean
            and scale; all of train rows.
        """
        found: dict[str, tuple[list[Tensor], Tensor, Tensor, Tensor]] = {}
        for position, modality in enumerate(self.modalities):
            array = self.arrays.arrays[modality.name]
            if modality.kind == "table" and bins and isinstance(array, ModalityArray):
                rows = self._train_rows(position)
                subject = self.arrays.subject[torch.from_numpy(rows)].numpy()
                edges, missing = quantile_edges(array.values, rows, subject, bins)
                mean, scale = (torch.from_numpy(own) for own in (array.statistics.mean, array.statistics.scale))
                found[modality.name] = (edges, missing, mean, scale)
        return found

    def _train_rows(self, position: int) -> NDArray[np.int64]:
        """(n,) row ids of train rows with a modality."""
        train = self.rows("train")
        own: NDArray[np.int64] = train[self.arrays.present[train, position]].numpy()
        return own

    def rows(self, split: str) -> Tensor:
        """(N,) int64 row ids of a split."""
        return row_ids(self.table, split)

    def with_raw_tables(self) -> "OpenedCohort":
        """The same cohort with its tables as they are stored, NaN where not measured."""
        stores = as_read(self.arrays.arrays, self.modalities, raw_tables=True)
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


def row_ids(table: pl.DataFrame, split: str) -> Tensor:
    """Find the rows of a split.

    Args:
        table: as cohort.parquet.
        split: its name.

    Returns:
        (N,) int64.

    >>> row_ids(pl.DataFrame({"row_id": [0, 1], "split": ["train", "val"]}), "val")
    tensor([1])
    """
    chosen = table.filter(pl.col("split") == split)["row_id"]
    return torch.from_numpy(chosen.cast(pl.Int64).to_numpy(writable=True))


def as_read(stores: Mapping[str, Store], modalities: Sequence[Modality], *, raw_tables: bool) -> dict[str, Store]:
    """Choose whether tables are standardised when they are gathered.

    Args:
        stores: modality -> its values.
        modalities: with their kinds.
        raw_tables: gather tables as they are stored, NaN where not measured.

    Returns:
        The stores of the modalities.
    """
    tables = {modality.name for modality in modalities if raw_tables and modality.kind == "table"}
    return {
        name: replace(store, raw=True) if name in tables and isinstance(store, ModalityArray) else store
        for name, store in stores.items()
    }


def _score(table: pl.DataFrame, column: str) -> Tensor:
    if column not in table.columns:
        return torch.full((table.height,), torch.nan, dtype=torch.float64)
    return torch.from_numpy(table[column].fill_null(float("nan")).to_numpy(writable=True))
