"""What holds for every model of the registry."""

from dataclasses import fields, replace
from functools import cache
from typing import get_args

import pytest
import torch

from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.registry import BASELINES
from mmnar_lightning.metrics import functional
from tests.helpers.baselines import CONFIGS, TASKS, Trained, telling_batch
from tests.helpers.batches import fill_absent, make_batch, take

READS_INPUTS = sorted(set(CONFIGS) - {"mask_only"})


@cache
def trained(name: str) -> Trained:
    return Trained(CONFIGS[name], telling_batch(1500), telling_batch(300, seed=1))


def test_every_baseline_has_a_name_and_settings_in_the_configuration() -> None:
    named = next(field.type for field in fields(BaselineConfig) if field.name == "name")
    assert set(get_args(named)) == {"none", *BASELINES}
    assert {field.name for field in fields(BaselineConfig)} == {"name", *BASELINES} - {"mask_only"}, "it has none"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rows_prediction_is_the_same_alone_in_any_batch_and_in_any_order(name: str) -> None:
    batch = telling_batch(40, seed=2)
    together = trained(name).predict(batch)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3)).tolist()
    torch.testing.assert_close(trained(name).predict(take(batch, order)), together[order], atol=1e-6, rtol=0)
    alone = torch.cat([trained(name).predict(take(batch, [row])) for row in range(40)])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)
    torch.testing.assert_close(trained(name).predict(take(batch, [5, 2, 5])), together[[5, 2, 5]], atol=1e-6, rtol=0)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_stands_in_an_absent_slot_changes_no_bit_of_a_prediction(name: str, junk: float) -> None:
    batch = telling_batch(40, seed=2)
    predicted = trained(name).predict(batch)
    assert bool(predicted.isfinite().all())
    assert torch.equal(trained(name).predict(fill_absent(batch, junk)), predicted)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_stands_in_an_absent_slot_or_an_unknown_label_changes_nothing_that_is_learnt(name: str) -> None:
    train, val, test = telling_batch(400), telling_batch(200, seed=1), telling_batch(40, seed=2)
    dirty = []
    for batch in (train, val):
        label = batch.label.masked_fill(~batch.label_mask, torch.nan)
        dirty.append(replace(fill_absent(batch, torch.nan), label=label))
    clean = Trained(CONFIGS[name], train, val, steps=5).predict(test)
    assert torch.equal(Trained(CONFIGS[name], *dirty, steps=5).predict(test), clean)


@pytest.mark.parametrize("name", READS_INPUTS)
def test_what_the_inputs_and_presence_tell_is_learnt(name: str) -> None:
    test = telling_batch(1000, seed=4)
    predicted = trained(name).predict(test)
    for task in range(len(TASKS)):
        assert functional.auroc(predicted[:, task], test.label[:, task]) > 0.72, TASKS[task]


def test_mask_only_learns_presence_and_reads_no_input() -> None:
    test = telling_batch(1000, seed=4)
    predicted = trained("mask_only").predict(test)
    assert functional.auroc(predicted[:, 2], test.label[:, 2]) > 0.8
    other = replace(test, inputs=make_batch(test.present, seed=9).inputs)
    assert torch.equal(trained("mask_only").predict(other), predicted)
    assert torch.equal(trained("mask_only").predict(replace(test, inputs={})), predicted)


@pytest.mark.parametrize("name", READS_INPUTS)
def test_the_others_read_what_is_present(name: str) -> None:
    batch = telling_batch(40, seed=2)
    shifted = replace(batch, inputs=batch.inputs | {"m0": -batch.inputs["m0"]})
    changed = (trained(name).predict(shifted) - trained(name).predict(batch)).abs().amax(1) > 1e-3
    assert not bool(changed[~batch.present[:, 0]].any())
    assert bool(changed.any())


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "boosted_trees"])
def test_a_batch_without_a_row_passes(name: str) -> None:
    assert trained(name).predict(telling_batch(0)).shape == (0, len(TASKS))
