"""From settings to a network: which weights, what learns, and what is refused."""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.selection import ImagesError, read_image
from mmnar_lightning.nn.weights import WeightsError, fingerprint
from tests.helpers.images import grey, jpeg


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A whole tiny network with its classifier, as hubs have them."""
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def settings(weights: Path | str, **more) -> ImageConfig:
    return ImageConfig(encoder="timm", **{"model": "test_resnet", "weights": str(weights), **more})


def test_frozen_and_trained_say_the_same_in_eval_mode(weights: Path) -> None:
    torch.manual_seed(1)
    frozen = image_backbone(settings(weights))
    torch.manual_seed(2)
    trained = image_backbone(settings(weights, mode="trained"))
    pixels = {"pixels": torch.randint(0, 256, (5, 1, 160, 160), dtype=torch.uint8)}
    with torch.no_grad():
        said = frozen(pixels)
        assert said.std() > 1e-3
        assert torch.allclose(said, trained.eval()(pixels), atol=1e-5)
        one_by_one = torch.cat([trained({"pixels": pixels["pixels"][i : i + 1]}) for i in range(5)])
    assert torch.allclose(said, one_by_one, atol=1e-5)
    assert frozen.width == said.shape[1]
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not frozen.training
    assert all(parameter.requires_grad for parameter in trained.parameters())


@pytest.mark.parametrize("model", ["resnet10t", "test_vit"])
def test_a_image_on_disk_says_what_timms_own_way_to_read_it_says(model: str, tmp_path: Path) -> None:
    network = timm.create_model(model, num_classes=0).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    path = jpeg(grey(3, 300, 200), tmp_path / "a.jpg")
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    config = settings(tmp_path / "w.safetensors", model=model)
    with torch.no_grad():
        theirs = network(transform(Image.open(path).convert("RGB"))[None])
        ours = image_backbone(config)({"pixels": torch.from_numpy(read_image(path, image_input(config)))[None]})
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_weights_are_those_of_the_file_and_not_drawn(weights: Path) -> None:
    assert fingerprint(image_backbone(settings(weights))) == fingerprint(image_backbone(settings(weights)))
    random = settings("none", mode="trained")
    assert fingerprint(image_backbone(random)) != fingerprint(image_backbone(random))


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_gradient_checkpointing_changes_no_gradient(model: str) -> None:
    pixels = {"pixels": torch.randint(0, 256, (2, 1, 160, 160), dtype=torch.uint8)}
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = image_backbone(settings("none", model=model, mode="trained", gradient_checkpointing=checkpointing))
        backbone(pixels).square().sum().backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in zip(*gradients, strict=True))


def test_what_learns_is_what_was_asked_for(weights: Path) -> None:
    def learnt(**more) -> set[str]:
        backbone = image_backbone(settings(weights, mode="trained", **more))
        return {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}

    assert {name.split(".")[1] for name in learnt(trainable="top_k", top_layers=1)} == {"layer4"}
    assert {name.split(".")[1] for name in learnt(trainable="top_k", top_layers=2)} == {"layer3", "layer4"}
    assert all("lora" in name for name in learnt(trainable="lora"))


def test_weights_of_another_network_are_refused_by_file_and_tensor(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: .*cls_token of VisionTransformer is missing"):
        image_backbone(settings(weights, model="test_vit"))


def test_a_local_file_that_is_not_there_is_not_looked_for_on_a_hub(tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth: this weights file does not exist"):
        image_backbone(settings(tmp_path / "gone.pth"))
    assert not hub


def test_a_local_file_asks_no_hub(weights: Path, hub: list[str]) -> None:
    image_backbone(settings(weights))
    image_backbone(settings("none", mode="trained"))
    assert not hub


@pytest.mark.parametrize(("named", "asked"), [("pretrained", "timm/resnet18.a1_in1k"), ("someone/net", "someone/net")])
def test_without_a_network_the_error_says_what_to_download_and_where_to_put_it(
    named: str, asked: str, hub: list[str]
) -> None:
    message = rf"huggingface\.co/{asked}/resolve/main/model\.safetensors, and set embed\.image\.weights=/path/to/"
    with pytest.raises(WeightsError, match=message):
        image_backbone(settings(named, model="resnet18"))
    assert hub == [asked, asked], "first this machine, then the hub"


def test_a_model_without_published_weights_is_refused_by_its_name(hub: list[str]) -> None:
    with pytest.raises(
        WeightsError, match=r"embed\.image\.weights=pretrained: convnext_atto_rms has no published weights"
    ):
        image_backbone(settings("pretrained", model="convnext_atto_rms"))
    assert not hub


def test_a_name_that_is_no_hub_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither an existing file or folder nor a hub name"):
        image_backbone(settings(f"{tmp_path}/some/folder"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the hub, which cannot be reached."""
    asked: list[str] = []

    def unreachable(name: str, file: str, **_: object) -> str:
        asked.append(name)
        raise FileNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    return asked


def test_a_model_that_timm_has_not_is_refused_with_what_is_near() -> None:
    with pytest.raises(ImagesError, match=r"embed\.image\.model=resnet18x: timm has no such model"):
        image_backbone(settings("none", mode="trained", model="resnet18x"))
    with pytest.raises(ImagesError, match="timm has no such model; did you mean resnet"):
        image_backbone(settings("none", mode="trained", model="resnet_19"))


def test_the_small_network_needs_no_file() -> None:
    backbone = image_backbone(ImageConfig(encoder="small", mode="trained", batch_size=3))
    assert backbone.chunk == 3
    assert backbone({"pixels": torch.zeros(2, 1, 64, 64, dtype=torch.uint8)}).shape == (2, backbone.width)
