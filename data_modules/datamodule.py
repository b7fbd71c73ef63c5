"""LightningDataModules: loaders of the splits of a cohort folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import CustomCohortConfig, ReleaseCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.cohorts.fitting import Words
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.meds.spec import build_meds
from data_modules.databases.registry import database
from data_modules.loading.config import LoaderConfig
from data_modules.loading.loaders import EvalLoader, TrainLoader
from data_modules.loading.opened import OpenedCohort
from data_modules.loading.opening import Reading, open_cohort
from data_modules.loading.placed import RowSource, placed
from data_modules.raw.checksums import Meter, no_meter
from data_modules.raw.reader import Release

Encode = Callable[[Path], Mapping[str, Path]]
"""Cohort folder -> modality of documents or images -> folder with its arrays or items."""


def encode_nothing(folder: Path) -> Mapping[str, Path]:
    """Encode no documents or images; models do not read them."""
    return {}


class CohortDataModule(LightningDataModule):
    """A finished cohort folder from any database.

    `cohort` is available after `setup`.

    Args:
        loader: settings of the loaders.
        seed: seed of the training order.
        accumulate: number of parts of a training batch.
        pretrain_epochs: first epochs, which also read the pre-training rows of the cohort.
        encode: returns the folders with arrays or items of documents and images.
        reading: how the model reads the cohort; its `held_pattern` is that of `loader`.
    """

    def __init__(
        self,
        *,
        loader: LoaderConfig,
        seed: int = 0,
        accumulate: int = 1,
        pretrain_epochs: int = 0,
        encode: Encode = encode_nothing,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.loader = loader
        self.seed = seed
        self.accumulate = accumulate
        self.pretrain_epochs = pretrain_epochs
        self.encode = encode
        self.reading = replace(reading or Reading(), held_pattern=loader.held_pattern)
        self._cohort: OpenedCohort | None = None
        self._placed: tuple[torch.device, RowSource] | None = None

    @property
    def cohort(self) -> OpenedCohort:
        """The opened cohort."""
        assert self._cohort is not None, "setup() opens the cohort"
        return self._cohort

    def build(self) -> Path:
        """Build the cohort unless it exists, and return its folder.

        Raises:
            TypeError: in a subclass that does not override it.
        """
        raise TypeError(f"{type(self).__name__} does not override build()")

    def prepare_data(self) -> None:
        """Build the cohort and its encodings, in one process per node."""
        self.encode(self.build())

    def setup(self, stage: str | None = None) -> None:
        """Open the cohort folder, once."""
        if self._cohort is None:
            folder = self.build()
            self.use(open_cohort(folder, self.encode(folder), self.reading))

    def use(self, cohort: OpenedCohort) -> None:
        """Use an opened cohort, for example one aligned to another."""
        self._cohort, self._placed = cohort, None

    def _ranks(self) -> dict[str, int]:
        trainer = self.trainer
        if trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": trainer.global_rank, "world_size": trainer.world_size}

    def rows_at_model(self) -> RowSource:
        """The rows of the cohort where `loader.device` puts them; without a Trainer in the files."""
        if self.trainer is None:
            return self.cohort.arrays
        device = self.trainer.strategy.root_device
        if self._placed is None or self._placed[0] != device:
            self._placed = device, placed(self.cohort.arrays, self.loader.device, device)
        return self._placed[1]

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches of the train split."""
        rows = self.cohort.rows("train")
        return TrainLoader(
            self.rows_at_model(),
            rows[: self.loader.max_train_rows or len(rows)],
            batch_size=self.loader.batch_size,
            seed=self.seed,
            accumulate=self.accumulate,
            more=self.cohort.pretraining_rows,
            pretrain_epochs=self.pretrain_epochs,
            **self._ranks(),
        )

    def eval_dataloader(self, split: str) -> EvalLoader:
        """Batches of a split, in row order."""
        return self.rows_dataloader(self.cohort.rows(split))

    def rows_dataloader(self, rows: Tensor) -> EvalLoader:
        """Batches of the given row ids, (N,) int64, in order."""
        return EvalLoader(self.rows_at_model(), rows, batch_size=self.loader.eval_batch_size, **self._ranks())

    def val_dataloader(self) -> EvalLoader:
        """Batches of the val split; with inner folds of the train split, whose rows are predicted where held out."""
        return self.eval_dataloader("train" if self.reading.inner_folds else "val")

    def test_dataloader(self) -> EvalLoader:
        """Batches of the test split; only `evaluate` reads them."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> EvalLoader:
        """Batches of the test split, for `Trainer.predict`."""
        return self.eval_dataloader("test")


class ReleaseDataModule(CohortDataModule):
    """A cohort built from the raw tables of a release on first use.

    Args:
        dataset: name of the database in the registry.
        roots: `:`-separated folders of the release.
        config: rows, outcomes and modalities of the cohort.
        data: `paths.data`.
        meter: shows the progress of `cohort.verify`.
        vocabularies: prefix -> words to use instead of those of this release's train rows.
        **settings: arguments of `CohortDataModule`.
    """

    def __init__(
        self,
        dataset: str,
        *,
        roots: str,
        config: ReleaseCohortConfig,
        data: Path,
        meter: Meter = no_meter,
        vocabularies: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.vocabularies = dict(vocabularies or {})
        self.database = database(dataset)
        self.roots = roots
        self.config = config
        self.data = data
        self.meter = meter

    def build(self) -> Path:
        """Build the cohort unless it exists, and return its folder."""
        release = Release.parse(self.database.schema, self.roots)
        return build_cohort(self.database, release, self.config, self.data, self.meter, self.vocabularies)


class MIMICDataModule(ReleaseDataModule):
    """A MIMIC-IV cohort; see `ReleaseDataModule`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("mimic", **settings)


class EICUDataModule(ReleaseDataModule):
    """An eICU cohort; see `ReleaseDataModule`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("eicu", **settings)


class CustomDataModule(CohortDataModule):
    """A custom cohort that follows the contract of docs/cohort.md.

    Args:
        source: folder of the custom cohort, only read.
        config: the tasks and modalities to use.
        data: `paths.data`.
        labelled: whether it must have a task; rows that are only predicted need none.
        words: see `build_custom`.
        **settings: arguments of `CohortDataModule`.
    """

    def __init__(
        self,
        *,
        source: Path,
        config: CustomCohortConfig,
        data: Path,
        labelled: bool = True,
        words: Words | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.labelled = labelled
        self.words = words
        self.source = source
        self.config = config
        self.data = data

    def build(self) -> Path:
        """Validate and import the cohort unless it is imported, and return the imported folder."""
        return build_custom(self.source, self.config, self.data, labelled=self.labelled, words=self.words)


class MEDSDataModule(CohortDataModule):
    """A cohort that is built from MEDS data unless it exists.

    Args:
        root: folder with `data` and `metadata`.
        config: settings of the cohort.
        data: `paths.data`.
        words: see `build_meds`.
        **settings: arguments of `CohortDataModule`.
    """

    def __init__(
        self, *, root: Path, config: MEDSCohortConfig, data: Path, words: Words | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.root = root
        self.config = config
        self.data = data
        self.words = words

    def build(self) -> Path:
        """Build the cohort unless it exists, and return its folder."""
        return build_meds(self.root, self.config, self.data, self.words)
