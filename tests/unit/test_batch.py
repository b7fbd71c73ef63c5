import dataclasses

import pytest
import torch

from data_modules import patterns
from data_modules.batch import Batch
from tests.helpers.batches import make_batch

PRESENT = torch.tensor([[True, False], [True, True], [False, False]])


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    flat = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {**{f"inputs/{name}": values for name, values in flat.pop("inputs").items()}, **flat}


def in_parts():
    """A batch of every field, those of gradient accumulation and inner folds too."""
    return dataclasses.replace(
        make_batch(PRESENT), label_share=torch.ones(2), fold=torch.zeros(3, 1, dtype=torch.int64)
    )


def test_moving_a_batch_moves_every_tensor_and_changes_nothing_else():
    moved = tensors(in_parts().to("meta", non_blocking=True))
    for name, tensor in tensors(in_parts()).items():
        assert moved[name].device.type == "meta", name
        assert (moved[name].shape, moved[name].dtype) == (tensor.shape, tensor.dtype), name


def test_a_batch_that_stays_where_it_is_keeps_its_values():
    batch = in_parts()
    there = batch.to(torch.device("cpu"))
    assert isinstance(there, Batch)
    assert list(there.inputs) == ["m0", "m1"]
    for name, tensor in tensors(batch).items():
        assert torch.equal(tensors(there)[name], tensor), name


def test_lightning_moves_a_batch_through_its_own_method():
    from lightning.fabric.utilities import move_data_to_device

    assert move_data_to_device(in_parts(), torch.device("meta")).label.device.type == "meta"


def test_a_batch_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        in_parts().label = torch.zeros(1)


def test_the_length_of_a_batch_is_its_rows():
    assert len(in_parts()) == 3


def test_the_pattern_of_a_batch_is_that_of_its_presence():
    batch = in_parts()
    assert torch.equal(batch.pattern, patterns.encode(PRESENT))
    assert batch.pattern.tolist() == [1, 3, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA device")
def test_pinned_memory_holds_every_tensor():
    assert all(tensor.is_pinned() for tensor in tensors(in_parts().pin_memory()).values())
