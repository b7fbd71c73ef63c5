"""A stored model that predicts rows: of a cohort, a frame, or tensors."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.features.store import Statistics
from data_modules.loading.alignment import Source, align
from data_modules.loading.arrays import standardise
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import TaskKind
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.outputs import ModelOutputs
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.saved import rows as given
from mmnar_lightning.saved.cohort_folder import of_folder
from mmnar_lightning.saved.description import Description, source_of

BATCH_SIZE = 1024
OTHER_COHORT = ""
"""Stands for the fingerprint of any cohort that no rectifier was fitted on."""

Rows = OpenedCohort | pl.DataFrame | Mapping[str, Tensor] | str | Path
"""What can be predicted: an opened cohort, a frame, tensors, or a folder of rows (docs/predict.md)."""


@dataclass(frozen=True)
class Ranges:
    """The range of each column of a table over the train rows; NaN where too few subjects have it.

    Attributes:
        low: (width,) float32.
        high: (width,) float32.
    """

    low: Tensor
    high: Tensor

    def outside(self, values: Tensor) -> Tensor:
        """(B,) int64, number of values of each row that lie outside."""
        return ((values < self.low) | (values > self.high)).sum(1)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of N rows.

    Attributes:
        row_id: (N,) int64.
        present: (N, M) bool, as the model read it.
        logit: (N, T) float64, of f = g + τ⁰; of tasks that are numbers, the number.
        rectified_logit: (N, T) float64, after the rectifier; equal to `logit` without one.
        representation: (N, D) float32; of inner folds those of all members side by side.
        propensity: (N, M) float64, P(present_m = 1 | the rest); None without an assignment head.
        unseen_pattern: (N,) bool, True = fewer than `min_count` train subjects had the pattern.
        out_of_range: (N,) int64, number of values of tables outside of the range of the train rows (`support.usual`).
        kind: of the tasks.
    """

    row_id: Tensor
    present: Tensor
    logit: Tensor
    rectified_logit: Tensor
    representation: Tensor
    propensity: Tensor | None
    unseen_pattern: Tensor
    out_of_range: Tensor
    kind: TaskKind = "binary"

    @property
    def probability(self) -> Tensor:
        """(N, T) float64, before the rectifier; a `SavedModelError` where the tasks are numbers."""
        if self.kind == "value":
            raise SavedModelError("the tasks of this model are numbers, which have no probability; read `predicted`")
        return self.logit.sigmoid()

    @property
    def predicted(self) -> Tensor:
        """(N, T) float64, before the rectifier: probabilities, or numbers in their units."""
        return self.logit if self.kind == "value" else self.logit.sigmoid()

    @property
    def rectified(self) -> Tensor:
        """(N, T) float64, likewise after the rectifier."""
        return self.rectified_logit if self.kind == "value" else self.rectified_logit.sigmoid()

    def __len__(self) -> int:
        return len(self.row_id)

    @classmethod
    def concat(cls, parts: Iterable["Predictions"]) -> "Predictions":
        """Join predictions of the same model, one after the other."""
        every = list(parts)
        columns: dict[str, Any] = {}
        for entry in fields(cls):
            values = [getattr(part, entry.name) for part in every]
            columns[entry.name] = torch.cat(values) if isinstance(values[0], Tensor) else values[0]
        return cls(**columns)

    def frame(self, tasks: Iterable[str]) -> pl.DataFrame:
        """As a table, one row per row.

        Args:
            tasks: T names.

        Returns:
            `row_id`, `pattern` (the label), `unseen_pattern`, `out_of_range`, and per task `logit/`, `probability/`
            and `rectified/`, the probability after the rectifier; of tasks that are numbers `predicted/` and
            `rectified/`.
        """
        columns = {
            "row_id": self.row_id.numpy(),
            "pattern": patterns.labels(self.present),
            "unseen_pattern": self.unseen_pattern.numpy(),
            "out_of_range": self.out_of_range.numpy(),
        }
        for place, task in enumerate(tasks):
            for name in ("predicted", "rectified") if self.kind == "value" else ("logit", "probability", "rectified"):
                columns[f"{name}/{task}"] = getattr(self, name)[:, place].numpy()
        return pl.DataFrame(columns, schema_overrides={"pattern": pl.String})


class FittedEstimator(nn.Module):
    """A fitted estimator as a network; its representation is empty.

    Args:
        estimator: fitted.
        kind: of the tasks.
    """

    def __init__(self, estimator: Estimator, kind: TaskKind = "binary") -> None:
        super().__init__()
        self.estimator, self.kind = estimator, kind

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        found = self.estimator.predict(batch).double()
        logits = found if self.kind == "value" else found.logit()
        nothing = logits.new_zeros((len(batch), 0))
        return ModelOutputs(logits=logits, representation=nothing, encodings=nothing)


class SavedModel:
    """A trained model without the cohort that it was trained on.

    Args:
        folder: that it was read from.
        description: content of model.json.
        network: in evaluation mode.
        statistics: modality -> mean and scale of the train rows.
        ranges: table -> ranges of the train rows.
        loss_offset: τ⁰; None without one.
        rectifier: τ; None without one.
    """

    def __init__(
        self,
        folder: Path,
        description: Description,
        network: nn.Module,
        statistics: Mapping[str, Statistics],
        ranges: Mapping[str, Ranges],
        loss_offset: Rectifier | None,
        rectifier: Rectifier | None,
    ) -> None:
        self.folder = folder
        self.description = description
        self.network = network
        self.statistics = dict(statistics)
        self.ranges = dict(ranges)
        self.loss_offset = loss_offset
        self.rectifier = rectifier

    @property
    def tasks(self) -> list[str]:
        """T task names, in the order of the logits."""
        return self.description.tasks

    @property
    def source(self) -> Source:
        """What the model reads."""
        return source_of(self.description, self.statistics)

    def to(self, device: torch.device | str) -> "SavedModel":
        """Move the network to a device; returns the model itself."""
        self.network.to(device)
        return self

    def predict(self, rows: Rows, *, batch_size: int = BATCH_SIZE, split: str | None = None) -> Predictions:
        """Predict rows; no label is read.

        Args:
            rows: an opened cohort with the model's modalities; a frame with a column `<modality>/<column>` for each
                column of a table and `<modality>` for vectors, and optionally `present/<modality>`; or modality ->
                (B, width) tensor, NaN = not measured. Values are in the units of the training cohort, not standardised.
                A modality that is left out is absent. A path names a folder as docs/cohort.md describes, which is
                imported into a temporary one and encoded as the model's cohort was.
            batch_size: rows at once.
            split: of a cohort, the only rows to predict; None predicts all.

        Returns:
            The predictions, in the order of the rows.

        Raises:
            SavedModelError: if the rows lack what the model needs, or hold what it cannot read.
        """
        if isinstance(rows, str | Path):
            with tempfile.TemporaryDirectory(prefix="mmnar-rows-") as data:
                datamodule = of_folder(self.description, Path(rows), Path(data))
                datamodule.prepare_data()
                datamodule.setup()
                return self.predict(datamodule.cohort, batch_size=batch_size, split=split)
        if isinstance(rows, OpenedCohort):
            batches = self._of_cohort(rows, batch_size, split)
        elif split is not None:
            raise SavedModelError(f"split={split}: only a cohort has splits; select the rows yourself")
        else:
            batches = map(self._with_scaled_vectors, given.batches(self.description, rows, batch_size))
        parts = [self._predict(batch) for batch in batches]
        if not parts:
            raise SavedModelError("there is no row to predict")
        return Predictions.concat(parts)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that a frame needs: `<modality>/<column>` of tables, `<modality>` of vectors."""
        found = []
        for entry in self.description.modalities:
            read = [f"{entry.name}/{name}" for place, name in enumerate(entry.columns) if place not in entry.rare]
            found += read if entry.kind == "table" else [entry.name]
        return found

    def _of_cohort(self, cohort: OpenedCohort, batch_size: int, split: str | None) -> Iterator[Batch]:
        is_own = cohort.fingerprint == self.description.cohort
        aligned = align(cohort, self.source, labelled=False).with_raw_tables()
        number = torch.arange(aligned.table.height) if split is None else aligned.rows(split)
        for part in torch.split(number, batch_size):
            batch = aligned.arrays.gather(part)
            if is_own:
                site = cohort.arrays.site
                yield replace(batch, site=None if site is None else site[part])
            else:
                yield self._without_rare_words(batch)

    def _with_scaled_vectors(self, batch: Batch) -> Batch:
        """Vectors as a cohort gives them: standardised."""
        inputs = dict(batch.inputs)
        for entry in self.description.modalities:
            values = inputs[entry.name]
            if entry.kind == "vectors" and isinstance(values, Tensor):
                inputs[entry.name] = standardise(values.clone().numpy(), self.statistics[entry.name])
        return replace(batch, inputs=inputs)

    def _without_rare_words(self, batch: Batch) -> Batch:
        """The columns that are known by their place alone belong to other words in another cohort."""
        inputs = dict(batch.inputs)
        for entry in self.description.modalities:
            values = inputs[entry.name]
            if entry.rare and isinstance(values, Tensor):
                inputs[entry.name] = values.index_fill(1, torch.tensor(entry.rare), 0.0)
        return replace(batch, inputs=inputs)

    @torch.no_grad()
    def _predict(self, batch: Batch) -> Predictions:
        """Predict a batch whose tables hold values as they were measured."""
        outside = torch.zeros(len(batch), dtype=torch.int64)
        for name, own in self.ranges.items():
            values, place = batch.inputs[name], self.description.names.index(name)
            assert isinstance(values, Tensor)
            outside += torch.where(batch.present[:, place], own.outside(values), 0)
        device = next((weight.device for weight in self.network.parameters()), torch.device("cpu"))
        read = self._as_read(batch).to(device)
        outputs = self.network(read)
        no_subject = torch.zeros_like(batch.subject)
        logit = outputs.logits.cpu()
        if self.loss_offset is not None:
            logit = self.loss_offset(logit, batch.present, no_subject, OTHER_COHORT)
        logit = logit.double()
        after = logit if self.rectifier is None else self.rectifier(logit, batch.present, no_subject, OTHER_COHORT)
        scale = self.description.value_scale
        if scale is not None:
            logit, after = scale.restored(logit), scale.restored(after)
        seen = torch.tensor(self.description.train_patterns, dtype=torch.int64)
        return Predictions(
            row_id=batch.row_id,
            present=batch.present,
            logit=logit,
            rectified_logit=after,
            representation=outputs.representation.cpu(),
            propensity=self._propensity(read),
            unseen_pattern=~torch.isin(patterns.encode(batch.present), seen),
            out_of_range=outside,
            kind=self.description.task_kind,
        )

    def _as_read(self, batch: Batch) -> Batch:
        """Tables as the network reads them: standardised unless it encodes them itself."""
        inputs = dict(batch.inputs)
        for entry in self.description.modalities:
            values = inputs[entry.name]
            if entry.kind != "table":
                continue
            assert isinstance(values, Tensor)
            values = values.clone()
            values[:, entry.unread] = torch.nan
            inputs[entry.name] = values if entry.raw else standardise(values.numpy(), self.statistics[entry.name])
        return replace(batch, inputs=inputs)

    def _propensity(self, batch: Batch) -> Tensor | None:
        members = list(self.network.members) if isinstance(self.network, FoldEnsemble) else [self.network]
        if not all(isinstance(member, MMNARModel) and member.assignment is not None for member in members):
            return None
        found = [member.propensities(batch) for member in members if isinstance(member, MMNARModel)]
        return torch.stack(found).mean(0).cpu().double()
