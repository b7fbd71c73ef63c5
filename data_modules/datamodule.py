"""LightningDataModules: a cohort folder as loaders of its four subject-level splits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from torch import Tensor

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import CustomCohortConfig, ReleaseCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.databases.registry import database
from data_modules.loading.config import LoaderConfig
from data_modules.loading.loaders import EvalLoader, TrainLoader
from data_modules.loading.opened import OpenedCohort, open_cohort
from data_modules.raw.reader import Release

Encode = Callable[[Path], Mapping[str, Path]]
"""A cohort's folder -> modality -> folder with arrays or items, of documents and images."""


def encode_nothing(folder: Path) -> Mapping[str, Path]:
    """Leave documents and images out."""
    return {}


class CohortDataModule(LightningDataModule):
    """A finished cohort folder, whichever database it came from.

    `setup` opens it; afterwards `cohort` is there.

    Args:
        loader: how rows become batches.
        seed: of the training order.
        accumulate: parts that a training batch is taken in.
        encode: gives folders with arrays of modalities that have none of their own (documents, images).
    """

    def __init__(
        self, *, loader: LoaderConfig, seed: int = 0, accumulate: int = 1, encode: Encode = encode_nothing
    ) -> None:
        super().__init__()
        self.loader = loader
        self.seed = seed
        self.accumulate = accumulate
        self.encode = encode
        self._cohort: OpenedCohort | None = None

    @property
    def cohort(self) -> OpenedCohort:
        """The opened cohort."""
        assert self._cohort is not None, "setup opens the cohort"
        return self._cohort

    def build(self) -> Path:
        """Build the cohort unless it is there; returns its folder."""
        raise TypeError(f"{type(self).__name__} does not say how its cohort is built")

    def prepare_data(self) -> None:
        """Build the cohort and its vectors, on one process of each node."""
        self.encode(self.build())

    def setup(self, stage: str | None = None) -> None:
        """Open the cohort folder; safe to call again."""
        if self._cohort is None:
            folder = self.build()
            self.use(open_cohort(folder, self.encode(folder), self.loader.held_pattern))

    def use(self, cohort: OpenedCohort) -> None:
        """Serve the rows of a cohort that is already open, for example one aligned to another."""
        self._cohort = cohort

    def _ranks(self) -> dict[str, int]:
        trainer = self.trainer
        if trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": trainer.global_rank, "world_size": trainer.world_size}

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches of the train split."""
        return TrainLoader(
            self.cohort.arrays,
            self.cohort.rows("train"),
            batch_size=self.loader.batch_size,
            seed=self.seed,
            accumulate=self.accumulate,
            **self._ranks(),
        )

    def eval_dataloader(self, split: str) -> EvalLoader:
        """Batches of a split in order."""
        return self.rows_dataloader(self.cohort.rows(split))

    def rows_dataloader(self, rows: Tensor) -> EvalLoader:
        """Batches of any rows, (N,) int64, in order."""
        return EvalLoader(self.cohort.arrays, rows, batch_size=self.loader.eval_batch_size, **self._ranks())

    def val_dataloader(self) -> EvalLoader:
        """Batches of the val split."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> EvalLoader:
        """Batches of the test split; only `evaluate` asks for them."""
        return self.eval_dataloader("test")


class ReleaseDataModule(CohortDataModule):
    """A cohort that is built from the raw tables of a release on first use.

    Args:
        dataset: name of the database in the registry.
        roots: `:`-separated folders of the release.
        config: which rows, outcomes and modalities.
        data: `paths.data`.
        **settings: as `CohortDataModule` takes them.
    """

    def __init__(
        self,
        dataset: str,
        *,
        roots: str,
        config: ReleaseCohortConfig,
        data: Path,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.database = database(dataset)
        self.roots = roots
        self.config = config
        self.data = data

    def build(self) -> Path:
        """Build the cohort unless it is there; returns its folder."""
        release = Release.parse(self.database.schema, self.roots)
        return build_cohort(self.database, release, self.config, self.data)


class MIMICDataModule(ReleaseDataModule):
    """A MIMIC-IV cohort; see `ReleaseDataModule`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("mimic", **settings)


class EICUDataModule(ReleaseDataModule):
    """An eICU cohort; see `ReleaseDataModule`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("eicu", **settings)


class CustomDataModule(CohortDataModule):
    """A cohort that someone else wrote, obeying docs/cohort.md.

    Args:
        source: the folder that they wrote; it is only read.
        config: which of its tasks and modalities to use.
        data: `paths.data`.
        **settings: as `CohortDataModule` takes them.
    """

    def __init__(self, *, source: Path, config: CustomCohortConfig, data: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.source = source
        self.config = config
        self.data = data

    def build(self) -> Path:
        """Check and import the cohort unless that was done; returns the imported folder."""
        return build_custom(self.source, self.config, self.data)
