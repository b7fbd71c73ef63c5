from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA

from data_modules.errors import UserError
from data_modules.features import store
from data_modules.features.store import Statistics
from data_modules.loading import arrays as loading_arrays
from data_modules.loading.arrays import CLIP, CohortArrays, ModalityArray
from data_modules.loading.config import LoaderConfig
from data_modules.loading.loaders import EvalLoader, TrainLoader

NUM_ROWS, WIDTH = 53, 4
ROWS = torch.arange(3, 50)


class Counted(np.ndarray):
    """An array that counts how often it is indexed."""

    reads = 0

    def __getitem__(self, key):
        Counted.reads += 1
        return np.asarray(self)[key]


def modality(seed: int = 0, values: np.ndarray | None = None) -> ModalityArray:
    generator = np.random.default_rng(seed)
    if values is None:
        values = generator.normal(5, 3, (NUM_ROWS, WIDTH)).astype(np.float32)
    return ModalityArray(values, store.fit_statistics(values, np.ones(len(values), dtype=bool)))


def cohort(num_rows: int = NUM_ROWS) -> pl.DataFrame:
    generator = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "row_id": pl.Series(range(num_rows), dtype=pl.UInt32),
            "subject": pl.Series(generator.integers(0, 9, num_rows), dtype=pl.UInt32),
            "label/death": pl.Series([True, False, None] * num_rows, dtype=pl.Boolean).head(num_rows),
            "label/stay": pl.Series([None, True] * num_rows, dtype=pl.Boolean).head(num_rows),
            "present/labs": generator.random(num_rows) < 0.5,
            "present/notes": generator.random(num_rows) < 0.5,
        }
    )


@pytest.fixture
def arrays() -> CohortArrays:
    return CohortArrays(cohort(), ["stay", "death"], {"labs": modality(0), "notes": modality(1)})


def served(loader, epoch: int = 0) -> list[list[int]]:
    if isinstance(loader, TrainLoader):
        loader.sampler.set_epoch(epoch)
    return [batch.row_id.tolist() for batch in loader]


def make(arrays: CohortArrays, **settings) -> TrainLoader:
    return TrainLoader(arrays, ROWS, **{"batch_size": 10, "seed": 7, **settings})


def test_a_batch_holds_the_rows_that_were_asked_for_in_their_order(arrays):
    batch = arrays.gather(torch.tensor([5, 0, 2]))
    frame = cohort()[[5, 0, 2]]
    assert batch.row_id.tolist() == [5, 0, 2]
    assert batch.subject.tolist() == frame["subject"].to_list()
    assert batch.present.tolist() == [list(row) for row in frame.select("present/labs", "present/notes").rows()]
    known = [[value is not None for value in row] for row in frame.select("label/stay", "label/death").rows()]
    assert batch.label_mask.tolist() == known
    expected = [[float(value or 0) for value in row] for row in frame.select("label/stay", "label/death").rows()]
    assert batch.label.tolist() == expected
    assert {name: values.dtype for name, values in batch.inputs.items()} == dict.fromkeys(
        ["labs", "notes"], torch.float32
    )


def test_the_order_is_a_function_of_seed_and_epoch(arrays):
    loader = make(arrays)
    first, second = served(loader, 0), served(loader, 1)
    assert first != second
    assert served(make(arrays), 1) == second
    assert served(loader, 0) == first
    assert served(make(arrays, seed=8), 0) != first


def test_seeds_that_differ_in_high_bits_give_other_orders(arrays):
    assert served(make(arrays, seed=7)) != served(make(arrays, seed=7 + 4096))


@pytest.mark.parametrize("batch_size", [1, 10, 47, 100])
def test_every_row_is_served_once_an_epoch(arrays, batch_size):
    loader = make(arrays, batch_size=batch_size)
    batches = served(loader)
    assert sorted(row for batch in batches for row in batch) == ROWS.tolist()
    assert len(batches) == len(loader)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_ranks_shards_of_a_batch_unite_to_the_batch_of_one_process(arrays, world_size):
    alone = served(make(arrays), 3)
    shards = [served(make(arrays, rank=rank, world_size=world_size), 3) for rank in range(world_size)]
    assert {len(shard) for shard in shards} == {len(make(arrays, world_size=world_size))}
    for step, batch in enumerate(alone):
        parts = [shard[step] for shard in shards]
        assert all(parts) or len(batch) < world_size
        assert sorted(row for part in parts for row in part) == sorted(batch)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("num_rows", [4, 20, 21, 22, 27])
def test_the_steps_and_their_rows_are_the_same_for_any_number_of_ranks(arrays, num_rows, accumulate):
    def steps(world_size: int) -> list[list[int]]:
        parts = {"batch_size": 10, "seed": 0, "accumulate": accumulate, "world_size": world_size}
        loaders = [TrainLoader(arrays, torch.arange(num_rows), rank=rank, **parts) for rank in range(world_size)]
        assert {len(loader) for loader in loaders} == {len(loaders[0])}
        return [sorted(row for shard in shards for row in shard) for shards in zip(*map(served, loaders), strict=True)]

    alone = steps(1)
    assert all(alone)
    assert sum(map(len, alone)) == num_rows - (accumulate == 2 and num_rows == 21)
    for world_size in range(2, 10 // accumulate + 1):
        assert steps(world_size) == alone


def test_inside_of_an_epoch_the_parts_of_a_batch_stay_as_many(arrays):
    loader = make(arrays, accumulate=2)
    list(loader)
    make(arrays, accumulate=5).load_state_dict(loader.state_dict())
    next(iter(loader))
    with pytest.raises(UserError, match=r"trainer\.accumulate was 2 and is 5, but the run stopped within an epoch"):
        make(arrays, accumulate=5).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("stop", range(6))
def test_a_loader_resumed_in_an_epoch_goes_on_exactly(arrays, stop):
    loader = make(arrays)
    whole = [served(loader, epoch) for epoch in (2, 3)]
    stopped = make(arrays)
    stopped.set_epoch(2)
    served_before = []
    for number, batch in enumerate(stopped):
        if number == stop:
            break
        served_before.append(batch.row_id.tolist())
        state = stopped.state_dict()
    if not stop:
        state = make(arrays).state_dict()
    resumed = make(arrays)
    resumed.load_state_dict(state)
    assert served_before == whole[0][:stop]
    if stop < len(whole[0]):
        assert served(resumed, 2) == whole[0][stop:]
    assert served(resumed, 3) == whole[1]


def test_the_state_of_a_loader_is_two_plain_integers(arrays):
    loader = make(arrays)
    next(iter(loader))
    assert loader.state_dict() == {"num_served": 1, "accumulate": 1}


PRETRAIN_EPOCHS = 6
MORE = torch.tensor([0, 1, 2, 50, 51, 52])


def with_more(arrays, **settings) -> TrainLoader:
    return make(arrays, more=MORE, pretrain_epochs=PRETRAIN_EPOCHS, **settings)


@pytest.mark.parametrize("batch_size", [1, 10, 15, 47, 100])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_pre_training_reads_every_row_before_any_a_second_time(arrays, batch_size, accumulate):
    if batch_size < accumulate:
        return
    usual = make(arrays, batch_size=batch_size, accumulate=accumulate)
    loader = with_more(arrays, batch_size=batch_size, accumulate=accumulate)
    epochs = [served(loader, epoch) for epoch in range(PRETRAIN_EPOCHS)]
    for number, epoch in enumerate(epochs):
        assert list(map(len, epoch)) == list(map(len, served(usual, number)))
    read = [row for epoch in epochs for batch in epoch for row in batch]
    pool = sorted([*ROWS.tolist(), *MORE.tolist()])
    times = np.bincount(read, minlength=NUM_ROWS)[pool]
    assert times.min() >= len(read) // len(pool)
    assert times.max() <= -(-len(read) // len(pool))
    if accumulate == 1:
        cycles = [read[start : start + len(pool)] for start in range(0, len(read), len(pool))]
        assert [sorted(cycle) for cycle in cycles[:-1]] == [pool] * (len(cycles) - 1)
        assert len({tuple(cycle) for cycle in cycles}) == len(cycles), "each is permuted anew"


def test_after_pre_training_and_without_more_rows_the_order_is_the_usual_one(arrays):
    for epoch in range(PRETRAIN_EPOCHS + 3):
        usual = served(make(arrays), epoch)
        assert served(make(arrays, more=MORE[:0], pretrain_epochs=PRETRAIN_EPOCHS), epoch) == usual
        assert served(make(arrays, more=MORE), epoch) == usual
        assert (served(with_more(arrays), epoch) == usual) == (epoch >= PRETRAIN_EPOCHS)


def test_the_order_of_pre_training_is_a_function_of_seed_and_epoch(arrays):
    alone = served(with_more(arrays), 3)
    walked = with_more(arrays)
    assert [served(walked, epoch) for epoch in range(5)][3] == alone
    assert served(with_more(arrays, seed=8), 3) != alone
    shards = [served(with_more(arrays, rank=rank, world_size=2), 3) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*shards, strict=True)] == [sorted(batch) for batch in alone]


def test_a_loader_resumed_in_pre_training_goes_on_exactly(arrays):
    whole = served(with_more(arrays), 1)
    stopped, resumed = with_more(arrays), with_more(arrays)
    stopped.set_epoch(1)
    for _, _ in zip(range(2), stopped, strict=False):
        state = stopped.state_dict()
    resumed.load_state_dict(state)
    assert served(resumed, 1) == whole[2:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("num_rows", [5, 7, 47])
def test_evaluation_shards_hold_every_row_once(arrays, world_size, num_rows):
    rows = torch.arange(num_rows)
    loaders = [EvalLoader(arrays, rows, batch_size=4, rank=rank, world_size=world_size) for rank in range(world_size)]
    shards = [served(loader) for loader in loaders]
    assert sorted(row for shard in shards for batch in shard for row in batch) == rows.tolist()
    assert [len(shard) for shard in shards] == [len(loader) for loader in loaders]


def test_evaluation_in_one_process_keeps_the_order_of_the_rows(arrays):
    assert [row for batch in served(EvalLoader(arrays, ROWS, batch_size=6)) for row in batch] == ROWS.tolist()


def test_a_rank_without_rows_repeats_the_first_one(arrays):
    shards = [served(EvalLoader(arrays, ROWS[:2], batch_size=4, rank=rank, world_size=3)) for rank in range(3)]
    assert shards == [[[3]], [[4]], [[3]]]


def test_a_split_without_rows_is_refused(arrays):
    with pytest.raises(UserError, match="no rows to evaluate"):
        EvalLoader(arrays, ROWS[:0], batch_size=4)
    with pytest.raises(UserError, match=r"raise cohort\.split\.train"):
        TrainLoader(arrays, ROWS[:0], batch_size=4, seed=0)


def test_no_rank_gets_an_empty_batch_where_a_batch_has_fewer_rows_than_ranks(arrays):
    try:
        loaders = [make(arrays, batch_size=1, rank=rank, world_size=2) for rank in range(2)]
    except ValueError:
        return
    assert all(batch for loader in loaders for batch in served(loader))


def test_values_are_standardised_by_the_train_rows_as_numpy_does():
    values = np.random.default_rng(3).normal(40, 7, (500, WIDTH)).astype(np.float32)
    values[::7, 1] = np.nan
    train = np.arange(500) < 300
    array = ModalityArray(values, store.fit_statistics(values, train))
    rows = np.array([0, 7, 499, 3, 3])
    mean = np.nanmean(values[train].astype(np.float64), 0)
    scale = np.nanstd(values[train].astype(np.float64), 0)
    expected = np.nan_to_num((values[rows] - mean) / scale)
    np.testing.assert_allclose(array.gather(rows).numpy(), expected, atol=1e-5)


def test_what_was_not_measured_is_zero_and_wild_values_are_clipped():
    values = np.array([[np.nan, 1e9], [0.0, -1e9], [1.0, np.inf], [2.0, 3.0]], dtype=np.float32)
    array = ModalityArray(values, Statistics(np.array([1, 0], np.float32), np.array([1, 1], np.float32)))
    assert array.gather(np.arange(4)).tolist() == [[0.0, CLIP], [-1.0, -CLIP], [0.0, CLIP], [1.0, 3.0]]


def test_gathering_leaves_the_stored_values_as_they_are():
    values = np.full((3, 2), np.nan, dtype=np.float32)
    statistics = Statistics(np.zeros(2, np.float32), np.ones(2, np.float32))
    ModalityArray(values, statistics).gather(np.array([0, 1]))
    assert np.isnan(values).all()


def test_rows_of_an_absent_modality_may_hold_anything():
    present = np.array([True, False, True, False])
    values = np.array([[1.0], [np.nan], [3.0], [np.inf]], dtype=np.float32)
    array = ModalityArray(values, store.fit_statistics(values, present))
    assert array.gather(np.array([0, 2])).tolist() == [[-1.0], [1.0]]
    assert torch.isfinite(array.gather(np.arange(4))).all()


def test_a_modality_on_disk_is_mapped_and_never_written(tmp_path):
    values = store.create(tmp_path / "labs", 3, ["a", "b"])
    values[:] = [[1, 2], [3, 4], [5, 6]]
    assert isinstance(values, np.memmap)
    values.flush()
    store.fit_statistics(values, np.ones(3, dtype=bool)).save(tmp_path / "labs")
    array = ModalityArray.open(tmp_path / "labs")
    assert isinstance(array.values, np.memmap)
    assert not array.values.flags.writeable
    assert array.gather(np.array([1])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("num_rows", [1, 50, 5000])
def test_a_batch_is_one_read_a_modality_however_many_rows_it_has(num_rows):
    values = np.zeros((num_rows, WIDTH), dtype=np.float32).view(Counted)
    statistics = Statistics(np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32))
    array = ModalityArray(values, statistics)
    arrays = CohortArrays(cohort(num_rows), ["death"], {"labs": array, "notes": array})
    Counted.reads = 0
    arrays.gather(torch.arange(num_rows))
    assert Counted.reads == 2


@pytest.mark.parametrize("key", ["batch_size", "eval_batch_size"])
def test_a_batch_of_no_rows_is_refused_by_its_full_key(key):
    settings: dict[str, Any] = {key: 0}
    with pytest.raises(ValueError, match=f"loader.{key}=0 must be at least 1"):
        LoaderConfig(**settings)


def test_principal_axes_are_those_of_scikit_learn_whatever_the_parts(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((300, 6)) @ np.diag([3.0, 1.0, 0.5, 2.0, 0.1, 0.7])
    array = loading_arrays.ModalityArray(
        values.astype(np.float32), Statistics(np.zeros(6, dtype=np.float32), np.ones(6, dtype=np.float32))
    )
    rows = np.arange(20, 280)
    fitted = PCA(2, svd_solver="full").fit(values[rows].clip(-loading_arrays.CLIP, loading_arrays.CLIP))
    expected = fitted.components_.T / np.sqrt(fitted.explained_variance_[0] * (len(rows) - 1) / len(rows))
    axes = loading_arrays.principal_axes(array, rows, 2)
    np.testing.assert_allclose(axes.abs().numpy(), np.abs(expected), rtol=1e-4, atol=1e-5)
    assert bool((axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all())
    monkeypatch.setattr(loading_arrays, "PART_ROWS", 7)
    torch.testing.assert_close(loading_arrays.principal_axes(array, rows, 2), axes)


def test_the_parts_of_a_step_are_shared_out_by_the_weights_of_their_known_labels(arrays):
    weight = torch.rand(NUM_ROWS, generator=torch.Generator().manual_seed(2)) + 0.1
    batches = list(make(arrays.with_weight(weight), accumulate=2))
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        shares = []
        for batch in (first, second):
            assert torch.equal(batch.weight, weight[batch.row_id])
            shares.append((batch.label_mask * batch.weight[:, None]).sum(0))
        mean = (shares[0] + shares[1]) / 2
        torch.testing.assert_close(first.label_share, torch.where(mean > 0, shares[0] / mean, 0.0))
        torch.testing.assert_close(second.label_share, torch.where(mean > 0, shares[1] / mean, 0.0))
    assert arrays.gather(torch.arange(3)).weight is None
