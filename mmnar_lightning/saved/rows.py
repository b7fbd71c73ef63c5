"""Rows that a user gives in memory: a frame or tensors, as batches of raw values."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.cohorts.columns import PRESENT
from data_modules.vocabulary import ARRAY_KINDS
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.saved.description import Description, SavedModality


def batches(description: Description, given: pl.DataFrame | Mapping[str, Tensor], size: int) -> Iterator[Batch]:
    """Split rows into batches.

    Args:
        description: of the model.
        given: as of `SavedModel.predict`.
        size: rows of a batch.

    Yields:
        Batches whose tables hold values as they were measured, without labels.

    Raises:
        SavedModelError: for a name that the model does not know, a wrong width or dtype, infinite values, lengths that
            differ, or a modality with several items per row.
    """
    for entry in description.modalities:
        if entry.kind not in ARRAY_KINDS:
            raise SavedModelError(
                f"{entry.name} is {entry.kind} with several items per row; write a cohort folder (docs/cohort.md) and "
                "predict that"
            )
    columns = _of_frame(description, given) if isinstance(given, pl.DataFrame) else dict(given)
    known = {*description.names, *(PRESENT + name for name in description.names)}
    unknown = sorted(set(columns) - known)
    if unknown:
        raise SavedModelError(f"{unknown[0]!r} is no input of the model; it reads {', '.join(description.names)}")
    count = _length(columns)
    values = {entry.name: _values(entry, columns.get(entry.name), count) for entry in description.modalities}
    present = torch.stack([_present(name, columns, values[name]) for name in description.names], dim=1)
    tasks = len(description.tasks)
    for part in torch.split(torch.arange(count), size):
        yield Batch(
            row_id=part,
            subject=part,
            present=present[part],
            inputs={name: own[part] for name, own in values.items()},
            label=torch.zeros(len(part), tasks),
            label_mask=torch.zeros(len(part), tasks, dtype=torch.bool),
            site=torch.ones(len(part), dtype=torch.bool),  # new rows are not of the source
        )


def _length(columns: Mapping[str, Tensor]) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SavedModelError(f"every input needs the same number of rows, but they have {lengths or 'none'}")
    return next(iter(lengths.values()))


def _values(entry: SavedModality, given: Tensor | None, count: int) -> Tensor:
    """(N, width) float32; NaN where the modality is left out."""
    if given is None:
        return torch.full((count, entry.width), torch.nan)
    if given.dim() != 2 or given.shape[1] != entry.width or given.dtype in {torch.bool, torch.complex64}:
        raise SavedModelError(
            f"{entry.name} has {given.dtype} of shape {tuple(given.shape)}; expected numbers of shape "
            f"({count}, {entry.width})"
        )
    values = given.detach().cpu().to(torch.float32)
    infinite = int(values.isinf().any(1).sum())
    if infinite:
        raise SavedModelError(f"{entry.name}: {infinite} rows have infinite values; NaN means not measured")
    return values


def _present(name: str, columns: Mapping[str, Tensor], values: Tensor) -> Tensor:
    """(N,) bool: as given, or whether any value is there."""
    own = columns.get(PRESENT + name)
    if own is None:
        return values.isfinite().any(1)
    if own.dtype != torch.bool or own.dim() != 1:
        raise SavedModelError(
            f"{PRESENT}{name} has {own.dtype} of shape {tuple(own.shape)}; expected bool of shape (N,)"
        )
    return own


def _of_frame(description: Description, frame: pl.DataFrame) -> dict[str, Tensor]:
    """Modality -> values, and `present/<modality>`, of the columns of a frame; other columns are refused."""
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for entry in description.modalities:
        named = _named(entry)
        own = [name for name in named if name in frame.columns]
        used |= {*own, *([PRESENT + entry.name] if PRESENT + entry.name in frame.columns else [])}
        if own and len(own) < len(named):
            lacking = next(name for name in named if name not in frame.columns)
            raise SavedModelError(
                f"the frame has {len(own)} of {len(named)} columns of {entry.name}, and lacks {lacking}; give null "
                "where it was not measured"
            )
        if own:
            found[entry.name] = _vectors(frame[entry.name], entry) if entry.kind == "vectors" else _table(frame, entry)
        if PRESENT + entry.name in frame.columns:
            found[PRESENT + entry.name] = _flags(frame, PRESENT + entry.name)
    unknown = [name for name in frame.columns if name not in used]
    if unknown:
        raise SavedModelError(
            f"the frame's column {unknown[0]!r} is no input of the model; select the columns it reads (`model.columns`)"
        )
    return found


def _named(entry: SavedModality) -> list[str]:
    """The columns of a frame that hold a modality; no row has the words that only few train subjects had."""
    if entry.kind != "table":
        return [entry.name]
    return [f"{entry.name}/{name}" for place, name in enumerate(entry.columns) if place not in entry.rare]


def _table(frame: pl.DataFrame, entry: SavedModality) -> Tensor:
    """(N, width) float32, NaN where null."""
    names = _named(entry)
    for name in names:
        if not frame[name].dtype.is_numeric() and frame[name].dtype not in {pl.Boolean, pl.Null}:
            raise SavedModelError(f"the frame's column {name!r} must be numeric, but is {frame[name].dtype}")
    read = [place for place in range(entry.width) if place not in entry.rare]
    values = torch.zeros(frame.height, entry.width)
    array = frame.select(pl.col(names).cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    values[:, read] = torch.from_numpy(np.array(array))
    if entry.rare:  # a row without any value has no word either
        values[:, entry.rare] = torch.where(values[:, read].isfinite().any(1, keepdim=True), 0.0, torch.nan)
    return values


def _vectors(column: pl.Series, entry: SavedModality) -> Tensor:
    """(N, width) float32, NaN where null."""
    if not isinstance(column.dtype, pl.List | pl.Array) or not column.dtype.inner.is_numeric():
        raise SavedModelError(f"the frame's column {entry.name!r} must hold lists of numbers, but is {column.dtype}")
    lists = column.cast(pl.List(pl.Float32))
    wrong = int((lists.list.len() != entry.width).sum())
    if wrong:
        raise SavedModelError(f"{entry.name}: {wrong} vectors are not of width {entry.width}")
    values = torch.full((len(lists), entry.width), torch.nan)
    known = lists.is_not_null()
    flat = lists.drop_nulls().explode().fill_null(float("nan")).to_numpy()
    values[torch.from_numpy(known.to_numpy(writable=True))] = torch.from_numpy(np.array(flat)).reshape(-1, entry.width)
    return values


def _flags(frame: pl.DataFrame, name: str) -> Tensor:
    column = frame[name]
    if column.dtype != pl.Boolean or column.null_count():
        raise SavedModelError(f"the frame's column {name!r} must be Boolean without null, but is {column.dtype}")
    return torch.from_numpy(column.to_numpy(writable=True))
