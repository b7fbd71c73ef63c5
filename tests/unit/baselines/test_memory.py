"""The frozen memory: what its means rest on, and that nothing but the train rows decides them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.patterns import encode
from mmnar_lightning.baselines.memory import (
    MOST_ROWS,
    NUM_MEANS,
    FrozenMemory,
    Memory,
    TrainRows,
    compute_memory,
    mean_over_subjects,
)
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.inputs import Projection
from tests.helpers.baselines import telling_batch
from tests.helpers.batches import fill_absent, modalities, take

LEAST = 12
OWN = modalities(3)


def rows_of(batch: Batch, counted: dict[str, Tensor] | None = None) -> TrainRows:
    """The rows of a batch, whose ids need not be their positions."""
    place = {int(number): at for at, number in enumerate(batch.row_id)}

    def read(rows: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        at = [place[int(number)] for number in rows]
        values = {name: own[at] for name, own in batch.inputs.items()}
        return values, {name: own[at] for name, own in (counted or measured(batch)).items()}

    return TrainRows(row_id=batch.row_id, subject=batch.subject, present=batch.present, read=read)


def measured(batch: Batch) -> dict[str, Tensor]:
    return {name: own.isfinite() for name, own in batch.inputs.items()}


def shuffled(batch: Batch, seed: int = 1) -> Batch:
    return take(batch, np.random.default_rng(seed).permutation(len(batch)).tolist())


def equal(one: Memory, other: Memory) -> bool:
    return one.present.equal(other.present) and all(
        torch.equal(one.inputs[name].nan_to_num(-9.0), other.inputs[name].nan_to_num(-9.0)) for name in one.inputs
    )


def of_subjects(rows: int, per_subject: int, seed: int = 0) -> Batch:
    batch = telling_batch(rows, seed=seed)
    return replace(batch, subject=torch.arange(rows) // per_subject)


def used(memory: Memory) -> Tensor:
    return memory.present.any(1)


def test_every_mean_rests_on_enough_subjects_and_on_all_rows_of_its_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, seen = of_subjects(900, 3), []

    def record(values: np.ndarray, counted: np.ndarray, subject: np.ndarray, least: int) -> np.ndarray:
        seen.append((len(np.unique(subject)), len(subject)))
        return mean_over_subjects(values, counted, subject, least)

    monkeypatch.setattr("mmnar_lightning.baselines.memory.mean_over_subjects", record)
    memory = compute_memory(rows_of(batch), OWN, {}, LEAST)
    assert min(count for count, _ in seen) >= LEAST
    assert memory.support == LEAST
    assert int(memory.present.sum()) == len(seen)
    frequent = [p for p in range(1, 8) if len(batch.subject[batch.pattern == p].unique()) >= LEAST]
    assert sorted(encode(memory.present[used(memory)]).unique().tolist()) == frequent
    entries = sum(int((batch.pattern == p).sum()) * bin(p).count("1") for p in frequent)
    assert sum(rows for _, rows in seen) == entries
    assert 20 < int(used(memory).sum()) <= NUM_MEANS


def test_a_pattern_of_few_subjects_is_left_out_however_many_rows_they_have() -> None:
    batch = of_subjects(900, 3)
    rare = batch.pattern == 5
    batch = replace(batch, subject=torch.where(rare, batch.subject % (LEAST - 1) + 10_000, batch.subject))
    memory = compute_memory(rows_of(batch), OWN, {}, LEAST)
    assert 5 not in encode(memory.present).tolist()
    alone = take(batch, rare.nonzero().squeeze(1).tolist())
    with pytest.raises(UserError, match=r"privacy\.min_count=12: no missingness pattern has as many train subjects"):
        compute_memory(rows_of(alone), OWN, {}, LEAST)


def test_it_is_the_same_whatever_the_order_of_the_rows_and_every_time() -> None:
    batch = of_subjects(600, 2)
    first = compute_memory(rows_of(batch), OWN, {}, LEAST)
    assert equal(compute_memory(rows_of(batch), OWN, {}, LEAST), first)
    assert equal(compute_memory(rows_of(shuffled(batch)), OWN, {}, LEAST), first)
    other = of_subjects(600, 2, seed=1)
    assert not equal(compute_memory(rows_of(other), OWN, {}, LEAST), first)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, 1e30])
def test_absent_inputs_change_no_bit(junk: float) -> None:
    batch = of_subjects(600, 2)
    first = compute_memory(rows_of(batch), OWN, {}, LEAST)
    dirty = replace(batch, inputs=dict(fill_absent(batch, junk).inputs))
    assert equal(compute_memory(rows_of(dirty), OWN, {}, LEAST), first)


def test_one_place_for_a_pattern_is_the_mean_over_its_subjects() -> None:
    batch = of_subjects(30, 1)
    batch = replace(batch, present=torch.ones(30, 3, dtype=torch.bool), subject=torch.arange(30) // 2)
    memory = compute_memory(rows_of(batch), OWN, {}, 15)
    assert int(used(memory).sum()) == 1
    assert memory.present[0].tolist() == [True] * 3
    for entry in OWN:
        torch.testing.assert_close(memory.inputs[entry.name][0], batch.inputs[entry.name].mean(0))


def test_a_value_that_few_subjects_of_a_cluster_have_is_not_in_it() -> None:
    batch = of_subjects(40, 1)
    batch = replace(batch, present=torch.ones(40, 3, dtype=torch.bool))
    values = batch.inputs["m0"].clone()
    values[LEAST - 1 :, 0] = torch.nan
    values[LEAST:, 1] = torch.nan
    words = measured(batch)
    words["m1"] = torch.zeros_like(words["m1"])
    words["m1"][:LEAST, 0] = True
    batch = replace(batch, inputs=batch.inputs | {"m0": values})
    words["m0"] = values.isfinite()
    memory = compute_memory(rows_of(batch, words), OWN, {}, 40 // 2)
    assert bool(memory.inputs["m0"][0, :2].isnan().all())
    memory = compute_memory(rows_of(batch, words), OWN, {}, LEAST)
    assert bool(memory.inputs["m1"][:, 1:][used(memory)].isnan().all()), "counted in no row"


def test_columns_that_enough_subjects_have_are_the_mean_over_those() -> None:
    values = np.array([[1.0, np.nan], [5.0, 2.0], [6.0, np.nan], [np.nan, 4.0]])
    subject = np.array([1, 1, 2, 3])
    found = mean_over_subjects(values, np.isfinite(values), subject, 2)
    np.testing.assert_allclose(found, [(3.0 + 6.0) / 2, (0.5 * 2.0 + 4.0) / 1.5])
    assert np.isnan(mean_over_subjects(values, np.isfinite(values), subject, 3)).all()


def test_clusters_separate_groups_that_the_mapped_inputs_separate() -> None:
    batch = of_subjects(200, 1)
    batch = replace(batch, present=torch.tensor([[True, False, False]]).expand(200, -1))
    side = torch.where(torch.arange(200) < 100, 5.0, -5.0)
    values = torch.stack([side, 1e3 * torch.randn(200, generator=torch.Generator().manual_seed(0)), side * 0], dim=1)
    axes = {"m0": Projection(torch.tensor([[1.0], [0.0], [0.0]]))}
    memory = compute_memory(rows_of(replace(batch, inputs=batch.inputs | {"m0": values})), OWN, axes, 100)
    assert sorted(memory.inputs["m0"][used(memory)][:, 0].tolist()) == [-5.0, 5.0]


def test_a_pattern_of_many_rows_is_read_in_part() -> None:
    batch = of_subjects(MOST_ROWS + 500, 1)
    batch = replace(batch, present=torch.ones(len(batch), 3, dtype=torch.bool))
    rows, read = rows_of(batch), []

    def counting(given: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        read.append(len(given))
        return rows.read(given)  # type: ignore[return-value]

    compute_memory(replace(rows, read=counting), OWN, {}, LEAST)
    assert read == [MOST_ROWS]


def test_the_module_keeps_it_as_buffers_and_trains_nothing() -> None:
    memory = compute_memory(rows_of(of_subjects(600, 2)), OWN, {}, LEAST)
    made, empty = FrozenMemory(OWN, memory), FrozenMemory(OWN, None)
    assert not list(made.parameters())
    assert set(made.state_dict()) == {"present", "support", "m0_mean", "m1_mean", "m2_mean"}
    empty.load_state_dict(made.state_dict())
    encoders = Encoders(OWN, 8, 0.0)
    found = empty.encode(encoders)
    assert torch.equal(found, made.encode(encoders))
    assert bool((found[~memory.present] == 0).all())
    expected = encoders.encoders["m1_encoder"](memory.inputs["m1"][memory.present[:, 1]])
    torch.testing.assert_close(found[:, 1][memory.present[:, 1]], expected)
