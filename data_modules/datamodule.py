"""LightningDataModules: a cohort folder as loaders of its four subject-level splits."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import torch
from lightning import LightningDataModule
from torch import Tensor

from data_modules import stage
from data_modules.build import COHORT, MODALITIES, SCORES, build_cohort
from data_modules.cohorts import splits
from data_modules.cohorts.columns import PRESENT, validate
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.presence import count_patterns
from data_modules.custom import CustomCohortConfig, build_custom
from data_modules.items import open_store
from data_modules.loader import (
    CohortArrays,
    EvalLoader,
    LoaderConfig,
    ModalityArray,
    Store,
    TrainLoader,
    principal_axes,
)
from data_modules.patterns import encode
from data_modules.sources.eicu import EICU
from data_modules.sources.mimic_iv import MIMIC_IV
from data_modules.sources.reader import Release
from data_modules.sources.schema import Source
from data_modules.vocabulary import ARRAY_KINDS, Kind, Modality


class CohortDataModule(LightningDataModule):
    """A finished cohort folder, whichever source it came from.

    `setup` opens it; afterwards `cohort`, `manifest`, `tasks`, `modalities` (those that the model can read: they
    have one float vector a row, or items) and `left_out` (lines for people) are there.

    `accumulate` is the number of parts that a training batch is taken in.

    `vectors`, when it is set, takes the cohort's folder and gives folders with arrays of modalities that have none of
    their own (documents, images).

    Args:
        loader: how rows become batches.
        seed: of the training order.
    """

    def __init__(self, *, loader: LoaderConfig, seed: int = 0) -> None:
        super().__init__()
        self.loader = loader
        self.seed = seed
        self.accumulate = 1
        self.folder: Path | None = None
        self.vectors: Callable[[Path], Mapping[str, Path]] = lambda _: {}

    def build(self) -> Path:
        """Build the cohort unless it is there; returns its folder."""
        raise TypeError(f"{type(self).__name__} does not say how its cohort is built")

    def prepare_data(self) -> None:
        """Build the cohort and its vectors, on one process of each node."""
        self.vectors(self.build())

    def setup(self, stage: str | None = None) -> None:
        """Open the cohort folder; safe to call again."""
        if self.folder is None:
            self.open(self.build())

    def open(self, folder: Path) -> None:
        """Open a finished cohort folder.

        Raises:
            ValueError: when no modality of the cohort can be read by the model.
            ContractError: when the rows break the cohort contract.
        """
        self.manifest: dict[str, Any] = stage.read_json(folder / stage.MANIFEST)
        self.cohort = pl.read_parquet(folder / COHORT)
        validate(self.cohort, folder / COHORT)
        declared = [Modality(**entry) for entry in self.manifest["modalities"]]
        folders = {entry.name: folder / MODALITIES / entry.name for entry in declared if entry.kind in ARRAY_KINDS}
        encoded = self.vectors(folder)
        folders |= encoded
        arrays = {entry.name: open_store(folders[entry.name]) for entry in declared if entry.name in folders}
        self.modalities = [
            replace(entry, kind=_kind(entry, arrays[entry.name]), width=arrays[entry.name].width)
            for entry in declared
            if entry.name in arrays
        ]
        self.left_out = [
            f"{entry.name} is left out of the model: its {entry.kind} have no vectors"
            for entry in declared
            if entry.name not in arrays
        ]
        for name, place in encoded.items():
            self.left_out.extend(f"{name}: {line}" for line in stage.read_json(place / stage.MANIFEST)["left_out"])
        self._drop_rows_without_vectors(arrays)
        if not self.modalities:
            raise ValueError(f"{folder}: no modality has vectors ({'; '.join(self.left_out)})")
        self._hold_out_pattern()
        self.tasks: list[str] = list(self.manifest["tasks"])
        self.arrays = CohortArrays(self.cohort, self.tasks, arrays)
        self.folder = folder

    def _drop_rows_without_vectors(self, arrays: Mapping[str, Store]) -> None:
        """Count a modality as absent where its documents or images gave no vector, and say how often."""
        for name, array in arrays.items():
            if array.present is None:
                continue
            before = self.cohort[PRESENT + name]
            lost = before & ~pl.Series(array.present)
            if lost.any():
                share = len(lost.arg_true()) / len(lost)
                self.left_out.append(f"{name} counts as absent in the {share:.1%} of rows that have no vector")
            self.cohort = self.cohort.with_columns((before & ~lost).alias(PRESENT + name))

    @property
    def holds_out(self) -> bool:
        """Whether a pattern stands in test alone."""
        return self.loader.held_pattern is not None

    def _hold_out_pattern(self) -> None:
        """Leave the rows of `loader.held_pattern` in no split but test; the cohort's scales and vocabularies know them.

        Raises:
            ValueError: when there is no such row, or no other.
        """
        if self.loader.held_pattern is None:
            return
        given, names = set(self.loader.held_pattern), [modality.name for modality in self.modalities]
        held = pl.all_horizontal(pl.col(PRESENT + name) == (name in given) for name in names)
        count = self.cohort.filter(held & (pl.col("split") != "test")).height
        left = self.cohort.filter(~held & (pl.col("split") == "train")).height
        if given - set(names) or not count or not left:
            raise ValueError(
                f"loader.held_pattern={self.loader.held_pattern}: {count} rows outside of test have exactly these "
                f"of the modalities {names}, and {left} train rows have others; both are needed"
            )
        kept = pl.when(~held | (pl.col("split") == "test")).then("split")
        self.cohort = self.cohort.with_columns(split=kept)
        self.left_out.append(f"rows with exactly {', '.join(sorted(given)) or 'nothing'} are in no split but test")

    @property
    def scores(self) -> dict[str, Tensor]:
        """Score -> (N, T) float64, predictions that others made of the rows, NaN where there is none; no input."""
        path = self.folder / SCORES if self.folder else None
        if path is None or not path.is_file():
            return {}
        table = pl.read_parquet(path).sort("row_id")
        names = dict.fromkeys(name.split("/")[0] for name in table.columns if "/" in name)
        return {name: torch.stack([self._score(table, f"{name}/{task}") for task in self.tasks], -1) for name in names}

    @staticmethod
    def _score(table: pl.DataFrame, column: str) -> Tensor:
        if column not in table.columns:
            return torch.full((table.height,), torch.nan, dtype=torch.float64)
        return torch.from_numpy(table[column].fill_null(float("nan")).to_numpy(writable=True))

    @property
    def patterns(self) -> list[int]:
        """Pattern ids over the modalities that the model reads, the most frequent first."""
        names = [modality.name for modality in self.modalities]
        return [int(entry["pattern"]) for entry in count_patterns(self.cohort, names)]

    @property
    def train_patterns(self) -> Tensor:
        """Ids of the patterns that some train row has, int64."""
        seen: Tensor = torch.unique(encode(self.arrays.present[self.rows("train")]))
        return seen

    @property
    def item_modalities(self) -> list[Modality]:
        """Modalities that are several items a row rather than one vector."""
        return [modality for modality in self.modalities if modality.kind not in ARRAY_KINDS]

    @property
    def varying(self) -> Tensor:
        """(M,) bool, modalities that some train rows have and others lack."""
        present = self.arrays.present[self.rows("train")]
        return present.any(0) & ~present.all(0)

    def axes(self, count: int) -> dict[str, Tensor]:
        """Modality -> (width, count) float, the principal axes of its train rows; none for one that is not wider."""
        train = self.rows("train")
        return {
            modality.name: principal_axes(
                self.arrays.arrays[modality.name], train[self.arrays.present[train, position]].numpy(), count
            )
            for position, modality in enumerate(self.modalities)
            if modality.kind in ARRAY_KINDS and 0 < count < modality.width
        }

    def rows(self, split: str) -> Tensor:
        """(N,) int64 row ids of a split."""
        chosen = self.cohort.filter(pl.col("split") == split)["row_id"]
        return torch.from_numpy(chosen.cast(pl.Int64).to_numpy(writable=True))

    def calibration_half(self, half: splits.Half) -> Tensor:
        """(N,) int64 row ids of a half of the calibration split; no subject is in both halves.

        Args:
            half: A gives the rectifier of the training loss, B the one of the output. Under
                `cohort.split.crossfit_fold=k`, B is fold k and A the next one; otherwise a hash of the subject tells.
        """
        drawn = self.manifest["config"]["split"]
        rows = splits.calibration_half(self.cohort, half, drawn["salt"], drawn["crossfit_fold"])
        return torch.from_numpy(rows.cast(pl.Int64).to_numpy(writable=True))

    def _ranks(self) -> dict[str, int]:
        trainer = self.trainer
        if trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": trainer.global_rank, "world_size": trainer.world_size}

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches of the train split."""
        return TrainLoader(
            self.arrays,
            self.rows("train"),
            batch_size=self.loader.batch_size,
            seed=self.seed,
            accumulate=self.accumulate,
            **self._ranks(),
        )

    def eval_dataloader(self, split: str) -> EvalLoader:
        """Batches of a split in order."""
        return self.rows_dataloader(self.rows(split))

    def rows_dataloader(self, rows: Tensor) -> EvalLoader:
        """Batches of any rows, (N,) int64, in order."""
        return EvalLoader(self.arrays, rows, batch_size=self.loader.eval_batch_size, **self._ranks())

    def val_dataloader(self) -> EvalLoader:
        """Batches of the val split."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> EvalLoader:
        """Batches of the test split; only `evaluate` asks for them."""
        return self.eval_dataloader("test")


def _kind(entry: Modality, array: Store) -> Kind:
    """How a modality reaches the model: documents and images that are one vector a row are vectors."""
    return "vectors" if isinstance(array, ModalityArray) and entry.kind not in ARRAY_KINDS else entry.kind


class ReleaseDataModule(CohortDataModule):
    """A cohort that is built from the raw tables of a release on first use; each source has its own below.

    Args:
        roots: `:`-separated folders of the release.
        config: which rows, outcomes and modalities.
        data: `paths.data`.
        loader: how rows become batches.
        seed: of the training order.
    """

    release_source: ClassVar[Source]

    def __init__(
        self, *, roots: str, config: ReleaseCohortConfig, data: Path, loader: LoaderConfig, seed: int = 0
    ) -> None:
        super().__init__(loader=loader, seed=seed)
        self.roots = roots
        self.config = config
        self.data = data

    def build(self) -> Path:
        """Build the cohort unless it is there; returns its folder."""
        return build_cohort(Release.parse(self.release_source, self.roots), self.config, self.data)


class MIMICDataModule(ReleaseDataModule):
    """A MIMIC-IV cohort."""

    release_source = MIMIC_IV


class EICUDataModule(ReleaseDataModule):
    """An eICU cohort."""

    release_source = EICU


class CustomDataModule(CohortDataModule):
    """A cohort that someone else wrote, obeying docs/cohort.md.

    Args:
        source: the folder that they wrote; it is only read.
        config: which of its tasks and modalities to use.
        data: `paths.data`.
        loader: how rows become batches.
        seed: of the training order.
    """

    def __init__(
        self, *, source: Path, config: CustomCohortConfig, data: Path, loader: LoaderConfig, seed: int = 0
    ) -> None:
        super().__init__(loader=loader, seed=seed)
        self.source = source
        self.config = config
        self.data = data

    def build(self) -> Path:
        """Check and import the cohort unless that was done; returns the imported folder."""
        return build_custom(self.source, self.config, self.data)
