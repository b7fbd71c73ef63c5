"""Backbones: what learns, what stays, and that a batch without any image is one like the others."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from mmnar_lightning.nn.images import ImageBackbone, SmallNetwork, add_lora, small_backbone, train_top


def pixels(count: int, channels: int = 1, side: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"pixels": torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)}


def backbone(name: str = "test_resnet", **settings) -> ImageBackbone:
    torch.manual_seed(0)
    network: Any = timm.create_model(name, num_classes=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it had been trained
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return ImageBackbone(network, network.num_features, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3], **settings)


def test_pixels_are_standardised_by_channel_and_grey_ones_are_every_channel() -> None:
    given = pixels(2)
    seen = []
    watcher = ImageBackbone(nn.Flatten(), 3 * 64 * 64, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3])
    watcher.network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    watcher(given)
    assert torch.allclose(seen[0][:, 1], (given["pixels"][:, 0] / 255 - 0.5) / 0.25)
    assert torch.allclose(seen[0][:, 2], (given["pixels"][:, 0] / 255 - 0.6) / 0.3)


def test_training_changes_nothing_that_a_image_says_and_no_statistic() -> None:
    network = backbone()
    given = pixels(5, side=96)
    before = {name: value.clone() for name, value in network.named_buffers()}
    alone = torch.cat([network.eval()({"pixels": given["pixels"][i : i + 1]}) for i in range(5)])
    together = network.train()(given)
    assert torch.allclose(alone, together, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_images_go_through_in_chunks_where_nothing_is_learnt(chunk: int) -> None:
    network, given = small_backbone(chunk=chunk).eval(), pixels(7)
    sizes = []
    network.network.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    with torch.no_grad():
        vectors = network(given)
    assert max(sizes) <= chunk
    assert sum(sizes) == 7
    assert torch.allclose(vectors, network(given), atol=1e-5)


def test_bf16_runs_the_network_in_half_and_gives_floats() -> None:
    seen = []
    network = small_backbone(bf16=True)
    network.network[0].register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    assert network(pixels(2)).dtype == torch.float32
    whole = small_backbone()
    whole.load_state_dict(network.state_dict())
    assert torch.allclose(whole(pixels(2)), network(pixels(2)), atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        whole.network[0][0].register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
        whole(pixels(2))
    assert seen[-1] == torch.bfloat16, "what the Trainer says must stand"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_the_last_layers_learn_and_the_others_stay(name: str) -> None:
    network = timm.create_model(name, num_classes=0)
    train_top(network, 1)
    learnt = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    beginnings = {"test_resnet": ("layer4",), "test_vit": ("blocks.5", "norm"), "test_convnext": ("stages.3", "head")}
    assert learnt
    assert all(part.startswith(beginnings[name]) for part in learnt)
    assert any(network.get_parameter(part).ndim > 1 for part in learnt), "a norm alone is no layer"
    network(torch.rand(1, 3, 160, 160)).sum().backward()
    assert {part for part, parameter in network.named_parameters() if parameter.grad is not None} == learnt
    with pytest.raises(ValueError, match=r"^embed\.image\.top_layers=99: .* has only \d+ layers"):
        train_top(network, 99)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_lora_starts_as_the_network_itself_and_learns_little(name: str) -> None:
    given = pixels(2, side=160)
    network = backbone(name).eval()
    before = network(given)
    add_lora(network.network)
    network.eval()
    assert torch.allclose(network(given), before, atol=1e-5)
    learnt = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learnt
    assert all("lora_" in name for name in learnt)
    network.train()(given).square().sum().backward()
    updates = [parameter for name, parameter in network.named_parameters() if "lora_B" in name]
    assert any(update.grad is not None and update.grad.any() for update in updates)


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ValueError, match="pip install 'mmnar-lightning"):
        add_lora(nn.Linear(2, 2))


def test_the_small_network_shows_where_something_lies() -> None:
    left, right = torch.zeros(2, 1, 1, 64, 64, dtype=torch.uint8)
    left[..., 28:36, 8:16] = 255
    right[..., 28:36, 48:56] = 255
    network = small_backbone().eval()
    assert isinstance(network.network, SmallNetwork)
    assert not torch.allclose(network({"pixels": left}), network({"pixels": right}), atol=1e-2)
