"""Images inside the model: absent ones change nothing, several become one, and every rank learns alike."""

from dataclasses import replace

import pytest
import torch

from data_modules.batch import Batch, Items
from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import ModelConfig

MODALITIES = [Modality(name="table", kind="table", width=3), Modality(name="cxr", kind="images", width=128)]
ROWS = 5


def model(**settings) -> MMNARModel:
    torch.manual_seed(0)
    config = EmbedConfig(image=ImageConfig(encoder="small", **settings))
    return MMNARModel(MODALITIES, 2, ModelConfig(), items={"cxr": item_parts(MODALITIES[1], config)})


def batch(row: list[int], pixels: torch.Tensor, present: list[bool]) -> Batch:
    generator = torch.Generator().manual_seed(3)
    return Batch(
        row_id=torch.arange(ROWS),
        subject=torch.arange(ROWS),
        present=torch.tensor([[True, image] for image in present]),
        inputs={
            "table": torch.randn(ROWS, 3, generator=generator),
            "cxr": Items(row=torch.tensor(row, dtype=torch.int64), values={"pixels": pixels}),
        },
        label=torch.zeros(ROWS, 2),
        label_mask=torch.ones(ROWS, 2, dtype=torch.bool),
    )


def pictures(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (count, 1, 64, 64), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_images_of_a_row_that_counts_as_absent_change_nothing(pooling: str) -> None:
    network = model(pooling=pooling).eval()
    shown = pictures(4)
    given = batch([0, 0, 2, 3], shown, [True, False, True, False, False])
    other = shown.clone()
    other[3] = 255 - other[3]
    changed = batch([0, 0, 2, 3], other, [True, False, True, False, False])
    assert torch.equal(network(given).logits, network(changed).logits)
    other[2] = 255 - other[2]
    moved = (
        network(batch([0, 0, 2, 3], other, [True, False, True, False, False])).logits != network(given).logits
    ).any(1)
    assert moved.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_order_of_images_and_a_image_twice_change_nothing(pooling: str) -> None:
    network = model(pooling=pooling).eval()
    shown = pictures(3)
    present = [True, True, False, False, False]
    once = network(batch([0, 0, 1], shown, present)).logits
    turned = network(batch([0, 0, 1], shown[[1, 0, 2]], present)).logits
    twice = network(batch([0, 0, 1, 1], shown[[0, 1, 2, 2]], present)).logits
    assert torch.allclose(once, turned, atol=1e-5)
    assert torch.allclose(once, twice, atol=1e-5)
    alone = network(batch([0, 1], shown[[0, 2]], present)).logits
    assert not torch.allclose(once[0], alone[0], atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_batch_without_any_image_gives_every_parameter_of_the_network_a_gradient_of_zero(pooling: str) -> None:
    network = model(pooling=pooling).train()
    network(batch([], pictures(0), [False] * ROWS)).logits.square().sum().backward()
    encoder = network.encoders.encoders["cxr_encoder"]
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    assert gradients
    assert all(gradient is not None and not gradient.any() for gradient in gradients.values())


def test_a_batch_with_images_teaches_the_network() -> None:
    network = model().train()
    given = batch([0, 2], pictures(2), [True, False, True, False, False])
    network(given).logits.square().sum().backward()
    backbone = network.encoders.encoders["cxr_encoder"].backbone
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in backbone.parameters())
    hidden = replace(given, present=given.present & torch.tensor([True, False]))
    network.zero_grad()
    network(hidden).logits.square().sum().backward()
    assert not any(parameter.grad.any() for parameter in backbone.parameters())
