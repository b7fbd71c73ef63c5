import dataclasses

import pytest
import torch

from data_modules import patterns
from data_modules.batch import Batch, Items
from data_modules.errors import UserError
from tests.helpers.batches import make_batch

PRESENT = torch.tensor([[True, False], [True, True], [False, False]])


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    flat = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.name != "rank_rows"}
    return {**{f"inputs/{name}": values for name, values in flat.pop("inputs").items()}, **flat}


def in_parts():
    """A batch of every field, those of gradient accumulation, inner folds, a target and two ranks too."""
    return dataclasses.replace(
        make_batch(PRESENT), label_share=torch.ones(2), fold=torch.zeros(3, 1, dtype=torch.int64),
        site=torch.tensor([True, False, True]), weight=torch.tensor([0.5, 1.0, 1.5]), rank_rows=(3, 2),
    )  # fmt: skip


def test_moving_a_batch_moves_every_tensor_and_changes_nothing_else():
    moved = tensors(in_parts().to("meta", non_blocking=True))
    for name, tensor in tensors(in_parts()).items():
        assert moved[name].device.type == "meta", name
        assert (moved[name].shape, moved[name].dtype) == (tensor.shape, tensor.dtype), name
    assert in_parts().to("meta").rank_rows == (3, 2)


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


def test_selected_rows_keep_their_fold_site_and_weight():
    batch = dataclasses.replace(in_parts(), fold=torch.tensor([[0], [1], [2]]))
    chosen = batch.select(torch.tensor([False, True, True]))
    assert chosen.fold.tolist() == [[1], [2]]
    assert chosen.site.tolist() == [False, True]
    assert chosen.rank_rows is None
    assert chosen.weight.tolist() == [1.0, 1.5]


@pytest.mark.parametrize("swapped", [False, True])
def test_joined_batches_are_one_after_the_other_and_rows_of_one_alone_have_no_fold_no_site_and_weight_one(
    swapped: bool,
):
    whole, plain = in_parts(), make_batch(~PRESENT, seed=1)
    parts = [plain, whole] if swapped else [whole, plain]
    both = Batch.concat(parts)
    for first, part in zip((0, 3), parts, strict=True):
        for name, tensor in tensors(part).items():
            if name not in {"fold", "site", "weight", "label_share"}:
                assert torch.equal(tensors(both)[name][first : first + 3], tensor), name
    ends = ([0, 0, 0], [-1, -1, -1]), ([True, False, True], [False] * 3), ([0.5, 1.0, 1.5], [1.0] * 3)
    folds, sites, weights = (last + first if swapped else first + last for first, last in ends)
    assert both.fold.squeeze(1).tolist() == folds
    assert both.site.tolist() == sites
    assert both.site.dtype == torch.bool
    assert both.weight.tolist() == weights
    assert both.label_share is None
    joined = Batch.concat([plain, plain])
    assert joined.site is joined.fold is joined.weight is None


def test_rows_with_items_cannot_be_joined():
    items = Items(row=torch.zeros(1, dtype=torch.int64), values={"vectors": torch.zeros(1, 2)})
    batch = dataclasses.replace(in_parts(), inputs={"m0": torch.zeros(3, 1), "m1": items})
    with pytest.raises(UserError, match="m1 has several items per row, which cannot be joined; use a frozen encoder"):
        Batch.concat([batch, batch])


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
