"""The frozen memory: means of train rows, which stand for the other patients in methods that mix rows.

Published code of these methods predicts a row from whatever rows share its batch. Here every row, in training and
after it, meets the same memory, so that its prediction is its own: alone, in any batch and order, on any rank.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.inputs import InputMaps

NUM_MEANS = 64
"""Most means of a memory."""
MOST_ROWS = 2048
"""Most rows of a pattern that are clustered; more are drawn with a fixed seed."""
SEED = 0
"""Of these draws and of k-means."""

Read = Callable[[Tensor], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
"""(n,) row ids -> their inputs as encoders read them, modality -> (n, width) float; and which values count as measured
for the number of subjects that a mean rests on, modality -> (n, width) bool."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Means of groups of train rows that have the same pattern.

    Attributes:
        present: (S, M) bool; a place without any modality is not used.
        inputs: modality -> (S, width) float32, NaN = too few subjects of the group have a value.
        support: every value rests on at least as many subjects.
    """

    present: Tensor
    inputs: Mapping[str, Tensor]
    support: int

    @classmethod
    def empty(cls, modalities: Sequence[Modality]) -> "Memory":
        """A memory without any mean, to be replaced by a stored one."""
        inputs = {entry.name: torch.zeros(NUM_MEANS, entry.width) for entry in modalities}
        return cls(present=torch.zeros(NUM_MEANS, len(modalities), dtype=torch.bool), inputs=inputs, support=0)


@dataclass(frozen=True, kw_only=True)
class TrainRows:
    """The train rows, in any order.

    Attributes:
        row_id: (N,) int64.
        subject: (N,) int64.
        present: (N, M) bool.
        read: reads the inputs of some of them.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    read: Read


class FrozenMemory(nn.Module):
    """A memory as buffers, so that checkpoints and stored models have it; nothing in it is trained.

    Args:
        modalities: M modalities, all of one vector per row.
        memory: of the train rows; None = weights that are loaded bring it.
    """

    present: Tensor
    support: Tensor

    def __init__(self, modalities: Sequence[Modality], memory: Memory | None) -> None:
        super().__init__()
        held = Memory.empty(modalities) if memory is None else memory
        self.names = [entry.name for entry in modalities]
        self.register_buffer("present", held.present.clone())
        self.register_buffer("support", torch.tensor(held.support))
        for name in self.names:
            self.register_buffer(f"{name}_mean", held.inputs[name].clone())

    def encode(self, encoders: Encoders) -> Tensor:
        """The encodings of the memory by the encoders of the rows, (S, M, D) float, zero where absent."""
        number = torch.arange(len(self.present), device=self.present.device)
        nothing = self.present.new_zeros((len(self.present), 0))
        inputs: dict[str, Any] = {name: self.get_buffer(f"{name}_mean") for name in self.names}
        batch = Batch(
            row_id=number,
            subject=number,
            present=self.present,
            inputs=inputs,
            label=nothing.float(),
            label_mask=nothing,
        )
        encodings: Tensor = encoders(batch)
        return encodings


def compute_memory(rows: TrainRows, modalities: Sequence[Modality], maps: InputMaps, min_count: int) -> Memory:
    """Compute the memory of train rows: means of clusters of rows that have the same missingness pattern.

    The most frequent patterns share the places by their numbers of rows. K-means within a pattern reads the mapped
    inputs, each modality with the same total weight; a cluster of fewer than `min_count` subjects joins the nearest
    one. A mean is over subjects. Patterns with fewer subjects, and rows without any modality, are left out.

    Args:
        rows: of the train split; their order does not matter.
        modalities: M modalities, all of one vector per row.
        maps: modality -> the fixed map that its vectors pass first.
        min_count: `privacy.min_count`, the fewest subjects that a mean rests on.

    Returns:
        The memory.

    Raises:
        UserError: if no pattern has as many subjects.
    """
    least = max(min_count, 1)
    groups = _groups(rows, least)
    if not groups:
        raise UserError(
            f"privacy.min_count={min_count}: no missingness pattern has as many train subjects, and the memory of the "
            "baseline holds means of at least as many; lower it, or choose another baseline.name"
        )
    counts = share_places(
        [group.num_rows for group in groups], [group.num_subjects // least for group in groups], NUM_MEANS
    )
    found = Memory.empty(modalities)
    at = 0
    for group, count in zip(groups, counts, strict=True):
        present = rows.present[group.positions[0]]
        own = [entry for place, entry in enumerate(modalities) if present[place]]
        values, counted = rows.read(rows.row_id[group.positions])
        subject = rows.subject[group.positions].numpy()
        label = _clusters(_points(values, own, maps), subject, count, least)
        for number in np.unique(label):
            chosen = label == number
            for entry in own:
                read = (values[entry.name].numpy()[chosen], counted[entry.name].numpy()[chosen])
                found.inputs[entry.name][at] = torch.from_numpy(mean_over_subjects(*read, subject[chosen], least))
            found.present[at] = present
            at += 1
    return Memory(present=found.present, inputs=found.inputs, support=least)


@dataclass(frozen=True)
class _Group:
    """Rows of one pattern.

    Attributes:
        positions: (n,) int64, of the rows that are clustered, by ascending row id.
        num_rows: all rows of the pattern.
        num_subjects: of the rows that are clustered.
    """

    positions: NDArray[np.int64]
    num_rows: int
    num_subjects: int


def _groups(rows: TrainRows, least: int) -> list[_Group]:
    """The rows of each pattern of at least as many subjects, the most frequent patterns first."""
    order = rows.row_id.argsort().numpy()
    pattern = patterns.encode(rows.present).numpy()[order]
    found = []
    for number in np.unique(pattern[pattern > 0]):
        own = order[pattern == number]
        drawn = np.random.default_rng([SEED, int(number)]).permutation(len(own))[:MOST_ROWS]
        taken = own[np.sort(drawn)]
        found.append(_Group(taken, len(own), len(np.unique(rows.subject.numpy()[taken]))))
    frequent = sorted((group for group in found if group.num_subjects >= least), key=lambda group: -group.num_rows)
    return frequent[:NUM_MEANS]


def share_places(frequency: Sequence[int], most: Sequence[int], total: int) -> list[int]:
    """Share places among groups by their frequency: each has one, and the next goes to the most rows per place.

    Args:
        frequency: rows of each group.
        most: most places of each group, at least 1.
        total: places, at least as many as groups.

    Returns:
        Places of each group.

    >>> share_places([90, 10, 5], [9, 9, 1], 8)
    [6, 1, 1]
    """
    places = [1] * len(frequency)
    for _ in range(total - len(places)):
        free = [number for number, own in enumerate(places) if own < most[number]]
        if not free:
            break
        places[max(free, key=lambda number: frequency[number] / places[number])] += 1
    return places


def _points(values: Mapping[str, Tensor], own: Sequence[Modality], maps: InputMaps) -> NDArray[np.float64]:
    """What is clustered, (n, C) float64: the mapped inputs of the modalities, each divided by √ its width."""
    parts = []
    for entry in own:
        read = values[entry.name]
        mapped = maps[entry.name](read) if entry.name in maps else read
        parts.append(mapped.double().nan_to_num(0.0) / max(mapped.shape[1], 1) ** 0.5)
    points: NDArray[np.float64] = torch.cat(parts, dim=1).numpy()
    return points


def _clusters(points: NDArray[np.float64], subject: NDArray[np.int64], count: int, least: int) -> NDArray[np.int64]:
    """(n,) int64, clusters by k-means, each of at least `least` subjects."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    count = min(count, len(np.unique(points, axis=0)))
    with threadpool_limits(limits=1):  # sums of several threads depend on their order
        label: NDArray[np.int64] = KMeans(count, n_init=1, random_state=SEED).fit(points).labels_.astype(np.int64)
    while True:
        numbers = np.unique(label)
        subjects = [len(np.unique(subject[label == number])) for number in numbers]
        smallest = int(np.argmin(subjects))
        if subjects[smallest] >= least:
            return label
        assert len(numbers) > 1, "the group has enough subjects"
        centres = np.stack([points[label == number].mean(0) for number in numbers])
        distance = ((centres - centres[smallest]) ** 2).sum(1)
        distance[smallest] = np.inf
        label = np.where(label == numbers[smallest], numbers[int(np.argmin(distance))], label)


def mean_over_subjects(
    values: NDArray[Any], counted: NDArray[np.bool_], subject: NDArray[np.int64], least: int
) -> NDArray[np.float32]:
    """Mean over the subjects of a cluster, each with the same weight however many rows it has.

    Args:
        values: (n, width) float, NaN = not measured.
        counted: (n, width) bool, the values that count as measured.
        subject: (n,) int64.
        least: fewest subjects.

    Returns:
        (width,) float32; NaN for a column in which fewer subjects have a value that counts.

    >>> values, subject = np.array([[1.0, 5.0], [3.0, np.nan], [6.0, np.nan]]), np.array([7, 7, 8])
    >>> mean_over_subjects(values, np.isfinite(values), subject, 2).tolist()
    [4.0, nan]
    """
    _, own, rows_of = np.unique(subject, return_inverse=True, return_counts=True)
    known = np.isfinite(values)
    weight = known / rows_of[own][:, None]
    total = np.where(known, values, 0.0).astype(np.float64) * weight
    mean = total.sum(0) / np.maximum(weight.sum(0), np.finfo(np.float64).tiny)
    order = np.argsort(own, kind="stable")
    starts = np.searchsorted(own[order], np.arange(len(rows_of)))
    subjects = np.logical_or.reduceat(counted[order], starts, axis=0).sum(0)
    return np.where(subjects >= least, mean, np.nan).astype(np.float32)
