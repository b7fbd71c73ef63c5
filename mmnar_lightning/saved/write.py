"""Writes the model folder: weights, the scales of its inputs, and model.json."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from data_modules import stage
from data_modules.features.store import FloatArray
from data_modules.loading.alignment import Source
from data_modules.loading.arrays import EDGE_SUBJECTS, ModalityArray
from data_modules.loading.opened import OpenedCohort
from data_modules.patterns import encode
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.nn.inputs import InputMap, PiecewiseLinear
from mmnar_lightning.saved import support
from mmnar_lightning.saved.description import RARE, WEIGHTS, Description, SavedModality
from mmnar_lightning.saved.parts import Parts
from mmnar_lightning.saved.terms import terms_of

PACKAGES = ("mmnar-lightning", "torch", "numpy", "polars", "scikit-learn")


def write(folder: Path, parts: Parts, cohort: OpenedCohort, *, min_count: int, facts: Mapping[str, Any]) -> None:
    """Write the model folder.

    No column, scale, range, bin or word in it rests on fewer than `min_count` train subjects: the values of a column
    that fewer have are read as not measured, a word that fewer have loses its name, and ranges end where enough
    subjects reach. Means of vectors that rest on fewer are a `SavedModelError`.

    Args:
        folder: replaced if it exists.
        parts: of the trained model.
        cohort: that it was trained on.
        min_count: `privacy.min_count`.
        facts: the attributes of `Description` that the cohort does not know.

    Raises:
        SavedModelError: if bins or a frozen memory rest on fewer than `min_count` subjects.
    """
    rests = support.of_memories(parts.tensors)
    if rests is not None and rests < min_count:
        raise SavedModelError(
            f"privacy.min_count={min_count}: the means of the baseline's memory rest on at least {rests} subjects, as "
            "privacy.min_count was when it was trained; use at most that, or train it again"
        )
    if min_count > EDGE_SUBJECTS and any(isinstance(own, PiecewiseLinear) for own in parts.maps.values()):
        raise SavedModelError(
            f"privacy.min_count={min_count}: edges of bins rest on {EDGE_SUBJECTS} subjects; use at most that, or "
            "model.encoder.bins=0"
        )
    source, tensors = Source.of(cohort), dict(parts.tensors)
    modalities, outside = [], np.zeros(len(cohort.table), np.int64)
    for place, entry in enumerate(cohort.modalities):
        scale = _Scale.of(place, cohort, source, min_count)
        tensors |= scale.tensors
        outside[scale.rows] += scale.outside
        modalities.append(
            SavedModality(
                name=entry.name,
                kind=entry.kind,
                width=entry.width,
                columns=scale.columns,
                raw=entry.name in source.raw,
                map=_kind_of(parts.maps.get(entry.name)),
                beside=entry.name in parts.beside,
                unread=scale.unread,
            )
        )
    train = cohort.rows("train")
    described = Description(
        cohort=cohort.fingerprint,
        simulated=bool(cohort.manifest["simulated"]),
        terms=terms_of(str(facts["dataset"]), cohort.manifest["versions"], simulated=cohort.manifest["simulated"]),
        tasks=list(cohort.tasks),
        scale=_scale_of_values(cohort, min_count),
        modalities=modalities,
        patterns=sorted(cohort.patterns),
        train_patterns=_frequent(cohort, min_count),
        min_count=min_count,
        usual_outside=support.usual(outside[train.numpy()], cohort.arrays.subject[train].numpy(), min_count),
        versions={name: version(name) for name in PACKAGES},
        **facts,
    )
    _replace(folder, described, tensors)


def _scale_of_values(cohort: OpenedCohort, min_count: int) -> dict[str, list[float]] | None:
    """Mean and deviation of tasks that are numbers, each of which rests on enough train subjects."""
    scale, train = cohort.arrays.scale, cohort.rows("train")
    if scale is None:
        return None
    for column, task in enumerate(cohort.tasks):
        rows = train[cohort.arrays.label_mask[train, column]]
        count = len(torch.unique(cohort.arrays.subject[rows]))
        if count < min_count:
            raise SavedModelError(
                f"{task}: its mean rests on {count} train subjects, fewer than privacy.min_count={min_count}; leave it "
                "out of cohort.tasks, or lower privacy.min_count"
            )
    return {"mean": scale.mean.tolist(), "deviation": scale.deviation.tolist()}


def _kind_of(own: InputMap | None) -> str:
    if own is None:
        return ""
    return "bins" if isinstance(own, PiecewiseLinear) else "projection"


def _replace(folder: Path, described: Description, tensors: Mapping[str, Tensor]) -> None:
    """Write both files into a new folder, then rename it."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # Copies: parts of a network share their maps, and safetensors stores no tensor twice.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    (partial / WEIGHTS).write_bytes(save(copies))
    described.save(partial)
    stage.write_json(partial / stage.MANIFEST, {})
    stage.seal(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _frequent(cohort: OpenedCohort, min_count: int) -> list[int]:
    """Pattern ids of at least `min_count` train subjects."""
    train = cohort.rows("train")
    pairs = torch.stack([encode(cohort.arrays.present[train]), cohort.arrays.subject[train]], dim=1)
    pattern, subjects = torch.unique(torch.unique(pairs, dim=0)[:, 0], return_counts=True)
    frequent: list[int] = pattern[subjects >= min_count].tolist()
    return frequent


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Scale:
    """What is stored of the scale of a modality.

    Attributes:
        columns: names; `<prefix>/<rare N>` for a word that too few subjects have.
        unread: positions of the columns that too few subjects have.
        tensors: statistics and ranges, as weights.safetensors names them.
        rows: (n,) int64, ids of the train rows of a table; of any other modality none.
        outside: (n,) int64, number of values of each that lie outside of the ranges.
    """

    columns: list[str]
    unread: list[int]
    tensors: dict[str, Tensor]
    rows: NDArray[np.int64] = field(default_factory=_none)
    outside: NDArray[np.int64] = field(default_factory=_none)

    @classmethod
    def of(cls, place: int, cohort: OpenedCohort, source: Source, min_count: int) -> "_Scale":
        """Hide what rests on too few train subjects."""
        entry = cohort.modalities[place]
        rows = cohort.rows("train")
        rows = rows[cohort.arrays.present[rows, place]]
        subject = cohort.arrays.subject[rows].numpy()
        if entry.kind == "table":
            return cls._of_table(entry.name, cohort, source, rows.numpy(), subject, min_count)
        statistics = source.statistics.get(entry.name)
        count = len(np.unique(subject))
        if statistics is not None and count < min_count:
            raise SavedModelError(
                f"{entry.name}: its means rest on {count} train subjects, fewer than privacy.min_count={min_count}; "
                "leave it out of cohort.modalities, or lower privacy.min_count"
            )
        return cls([], [], {} if statistics is None else _named(entry.name, statistics.mean, statistics.scale))

    @classmethod
    def _of_table(
        cls,
        name: str,
        cohort: OpenedCohort,
        source: Source,
        rows: NDArray[np.int64],
        subject: NDArray[np.int64],
        min_count: int,
    ) -> "_Scale":
        store = cohort.arrays.arrays[name]
        assert isinstance(store, ModalityArray)
        columns = [str(column) for column in source.columns[name]]
        words = support.words_of(columns)
        found = support.measure(store.values, rows, subject, words, min_count)
        few = found.subjects < min_count
        unread = few & ~words
        mean, scale = np.where(unread, 0.0, store.statistics.mean), np.where(unread, 1.0, store.statistics.scale)
        tensors = _named(name, mean.astype(np.float32), scale.astype(np.float32))
        tensors |= {f"range/{name}/{end}": torch.from_numpy(getattr(found, end)) for end in ("low", "high")}
        for at in np.flatnonzero(few & words):
            columns[at] = f"{columns[at].partition('/')[0]}/{RARE.format(place=at)}"
        return cls(columns, np.flatnonzero(unread).tolist(), tensors, rows, found.outside)


def _named(name: str, mean: FloatArray, scale: FloatArray) -> dict[str, Tensor]:
    return {f"statistics/{name}/mean": torch.from_numpy(mean), f"statistics/{name}/scale": torch.from_numpy(scale)}
