"""Where batches are gathered changes no bit of them, nor the place from which a stopped epoch goes on."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from data_modules.batch import Batch, Items
from data_modules.errors import UserError
from data_modules.loading import placed as placing
from data_modules.loading.arrays import CohortArrays
from data_modules.loading.loaders import EvalLoader, TrainLoader
from data_modules.loading.placed import AHEAD, PinnedArrays, ResidentArrays, placed, resident_bytes
from tests.unit.loading.test_loaders import NUM_ROWS, ROWS, cohort, modality

CPU = torch.device("cpu")
PLACES = ("files", "ahead", "resident")


class Words:
    """A store with several items per row: as many as its row id says, at most two."""

    width, present = 3, None

    def gather(self, rows: np.ndarray) -> Items:
        owner = np.repeat(np.arange(len(rows)), rows % 3)
        return Items(row=torch.from_numpy(owner), values={"vectors": torch.from_numpy(rows[owner])[:, None].float()})


@pytest.fixture
def arrays() -> CohortArrays:
    """Values with gaps, items, folds, sites and weights."""
    values = np.random.default_rng(0).normal(5, 3, (NUM_ROWS, 4)).astype(np.float32)
    values[::7, 1] = np.nan
    fold, site = torch.arange(NUM_ROWS)[:, None] % 3, torch.arange(NUM_ROWS) % 2 == 0
    found = CohortArrays(cohort(), ["stay", "death"], {"labs": modality(0, values), "notes": Words()}, fold, site)
    return found.with_weight(torch.rand(NUM_ROWS) + 0.5)


def source(arrays: CohortArrays, place: str):
    return {"files": arrays, "ahead": PinnedArrays(arrays, pin=False), "resident": ResidentArrays(arrays, CPU)}[place]


def parts(batch: Batch) -> list[torch.Tensor]:
    items = batch.inputs["notes"]
    assert isinstance(items, Items)
    labs = batch.inputs["labs"]
    assert isinstance(labs, torch.Tensor)
    own = [batch.row_id, batch.subject, batch.present, batch.label, batch.label_mask, batch.fold, batch.site]
    assert batch.weight is not None
    return [*(part for part in own if part is not None), batch.weight, labs, items.row, items.values["vectors"]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_are_the_same_bit_for_bit_and_in_the_same_order(arrays, place, accumulate) -> None:
    settings: dict[str, Any] = {"batch_size": 10, "seed": 7, "accumulate": accumulate, "rank": 1, "world_size": 2}
    expected = list(TrainLoader(arrays, ROWS, **settings))
    found = list(TrainLoader(source(arrays, place), ROWS, **settings))
    assert len(found) == len(expected) == 5 * accumulate
    for one, other in zip(found, expected, strict=True):
        assert list(one.inputs) == ["labs", "notes"]
        for left, right in zip(parts(one), parts(other), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
        if accumulate > 1:
            assert torch.equal(one.label_share, other.label_share)
        assert one.rank_rows == other.rank_rows


@pytest.mark.parametrize("place", PLACES)
def test_a_stopped_epoch_goes_on_at_the_next_batch_although_others_were_gathered(arrays, place) -> None:
    settings: dict[str, Any] = {"batch_size": 10, "seed": 7}
    whole = [batch.row_id.tolist() for batch in TrainLoader(arrays, ROWS, **settings)]
    stopped = TrainLoader(source(arrays, place), ROWS, **settings)
    served = iter(stopped)
    assert [next(served).row_id.tolist() for _ in range(2)] == whole[:2]
    resumed = TrainLoader(source(arrays, place), ROWS, **settings)
    resumed.load_state_dict(stopped.state_dict())
    assert [batch.row_id.tolist() for batch in resumed] == whole[2:]


def test_each_rank_knows_the_rows_of_all(arrays) -> None:
    ranks = [TrainLoader(arrays, ROWS, batch_size=10, seed=7, rank=rank, world_size=3) for rank in range(3)]
    for batches in zip(*ranks, strict=True):
        sizes = tuple(len(batch) for batch in batches)
        assert {batch.rank_rows for batch in batches} == {sizes}
    assert sizes == (3, 2, 2)


def test_the_next_batches_are_gathered_in_another_thread_while_one_is_read(arrays, monkeypatch) -> None:
    gathered: list[str] = []
    gather = CohortArrays.gather

    def noted(self, rows):
        gathered.append(threading.current_thread().name)
        return gather(self, rows)

    monkeypatch.setattr(CohortArrays, "gather", noted)
    stream = PinnedArrays(arrays, pin=False).stream(torch.split(ROWS, 10))
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert AHEAD <= len(gathered) <= 2 + AHEAD
    assert all(name.startswith("gather") for name in gathered)


def test_a_fault_while_gathering_ahead_reaches_the_reader(arrays) -> None:
    with pytest.raises(IndexError):
        list(PinnedArrays(arrays, pin=False).stream([ROWS[:3], torch.tensor([NUM_ROWS + 5])]))


@pytest.mark.parametrize("place", PLACES)
def test_evaluation_reads_every_row_once(arrays, place) -> None:
    loader = EvalLoader(source(arrays, place), ROWS, batch_size=6)
    assert [row for batch in loader for row in batch.row_id.tolist()] == ROWS.tolist()


def test_resident_arrays_are_standardised_once(arrays, monkeypatch) -> None:
    resident = ResidentArrays(arrays, CPU)
    monkeypatch.setattr("data_modules.loading.arrays.standardise", None)
    assert len(resident.gather(ROWS[:4])) == 4


def test_bytes_are_those_of_the_tensors(arrays) -> None:
    batch = ResidentArrays(arrays, CPU).gather(torch.arange(NUM_ROWS))
    own = [part for part in parts(batch)[:-2] if part is not batch.row_id]
    assert resident_bytes(arrays) == sum(part.numel() * part.element_size() for part in own)


CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("place", "device", "free", "expected"),
    [
        ("auto", CPU, None, CohortArrays),
        ("host", CPU, None, CohortArrays),
        ("device", CPU, None, ResidentArrays),
        ("host", CUDA, 100.0, PinnedArrays),
        ("auto", CUDA, 1.9, PinnedArrays),
        ("auto", CUDA, 2.1, "resident on cuda"),
        ("device", CUDA, 1.1, "resident on cuda"),
    ],
)
def test_the_place_follows_the_setting_and_the_free_memory(arrays, monkeypatch, place, device, free, expected) -> None:
    monkeypatch.setattr(placing, "free_bytes", lambda _: int(resident_bytes(arrays) * free))
    if device == CUDA:
        monkeypatch.setattr(placing, "ResidentArrays", lambda _, where: f"resident on {where}")
    found = placed(arrays, place, device)
    assert found == expected or type(found) is expected


def test_arrays_that_do_not_fit_are_refused_with_both_sizes(arrays, monkeypatch) -> None:
    monkeypatch.setattr(placing, "free_bytes", lambda _: resident_bytes(arrays) - 1)
    with pytest.raises(
        UserError, match=r"loader\.device=device: the arrays .* GB, and cuda has .* use loader.device=host"
    ):
        placed(arrays, "device", CUDA)
