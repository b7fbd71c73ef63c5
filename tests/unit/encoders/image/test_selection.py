"""Which images a row shows, their pixels, and what happens to those that cannot be read."""

import errno
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image import selection
from mmnar_lightning.encoders.image.backbone import image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.keys import JPEG, image_keys
from mmnar_lightning.encoders.image.selection import (
    ImagesError,
    Unreadable,
    choose,
    read_image,
    read_images,
    small_input,
)
from tests.helpers.images import grey, index, jpeg, spoil

SPOILT = {
    "empty": "empty",
    "truncated": "truncated or broken",
    "no picture": "truncated or broken",
    "16 bits": "of mode I;16",
    "CMYK": "of mode CMYK",
    "gone": "missing",
}


def config(model: str = "test_resnet", **settings) -> ImageConfig:
    return ImageConfig(encoder="timm", model=model, weights="file.pth", **settings)


def test_frontal_images_come_first_and_of_a_view_the_latest() -> None:
    images = pl.concat(
        [
            index((1, "old", "AP"), (1, "side", "LATERAL"), (2, "only", "LATERAL"), (3, "unknown", None), hours=-9),
            index((1, "new", "AP"), (1, "pa", "PA"), (4, "pa4", "PA"), hours=-1),
        ]
    )
    assert choose(images, ["AP", "PA"], 9)["dicom_id"].to_list() == ["new", "old", "pa", "pa4"]
    assert choose(images, ["PA", "AP"], 2)["dicom_id"].to_list() == ["pa", "new", "pa4"]
    assert choose(images, ["AP", "*"], 3)["dicom_id"].to_list() == ["new", "old", "pa", "only", "unknown", "pa4"]
    assert choose(images.reverse(), ["AP", "*"], 3).equals(choose(images, ["AP", "*"], 3))
    assert choose(images, ["AP"], 1).columns == images.columns
    assert choose(images.clear(), ["AP"], 1).is_empty()


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "resnet10t", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("size", [(300, 200), (90, 400)])
def test_pixels_are_those_of_timms_own_transform(model: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = jpeg(grey(3, *size), tmp_path / "a.jpg")
    data = resolve_model_data_config(timm.create_model(model, num_classes=0))
    expected = create_transform(**data, is_training=False)(Image.open(path).convert("RGB"))
    mean, std = (torch.tensor(data[key]).view(-1, 1, 1) for key in ("mean", "std"))
    for colour in (True, False):
        wanted = image_input(config(model, colour=colour))
        pixels = read_image(path, wanted)
        assert pixels.shape == wanted.shape
        assert pixels.dtype == np.uint8
        assert torch.allclose((torch.from_numpy(pixels) / 255 - mean) / std, expected, atol=1e-5)


@pytest.mark.parametrize("colour", [True, False])
def test_a_large_jpeg_is_scaled_while_it_is_decoded_and_its_pixels_stay_close(colour: bool, tmp_path: Path) -> None:
    smooth = grey(3, 9, 7).resize((1400, 1800), Image.Resampling.BICUBIC)
    wanted = image_input(config(colour=colour))
    least = 2 * wanted.side
    decoded: list[tuple[int, int]] = []

    def seen(image: Image.Image) -> torch.Tensor:
        decoded.append(image.size)
        return wanted.transform(image)

    found = read_image(jpeg(smooth, tmp_path / "a.jpg"), replace(wanted, transform=seen))
    assert least <= min(decoded[0]) < 2 * least
    whole = wanted.transform(Image.open(tmp_path / "a.jpg").convert(wanted.mode)).numpy()
    assert isinstance(found, np.ndarray)
    assert found.shape == whole.shape
    assert np.abs(found.astype(float) - whole).mean() < 1
    # A PNG cannot be scaled so, and a JPEG below twice as large as needed is not.
    smooth.save(tmp_path / "b.png")
    read_image(tmp_path / "b.png", replace(wanted, transform=seen))
    read_image(jpeg(smooth.resize((2 * least - 2, 3 * least)), tmp_path / "c.jpg"), replace(wanted, transform=seen))
    assert decoded[1:] == [smooth.size, (2 * least - 2, 3 * least)]


def test_colour_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    red = Image.new("RGB", (80, 80), (200, 10, 10))
    path = jpeg(red, tmp_path / "red.jpg")
    pixels = read_image(path, image_input(config(colour=True)))
    assert pixels[0].mean() > 190
    assert pixels[1].mean() < 20
    assert read_image(path, image_input(config())).shape[0] == 1


def test_the_small_network_sees_the_whole_image(tmp_path: Path) -> None:
    pixels = read_image(jpeg(grey(1, 128, 128), tmp_path / "a.jpg"), small_input())
    assert pixels.shape == (1, 64, 64)
    assert read_image(jpeg(grey(1, 200, 50), tmp_path / "b.jpg"), small_input()).shape == (1, 64, 64)


@pytest.mark.parametrize(("how", "reason"), SPOILT.items())
def test_a_image_that_cannot_be_read_says_why(how: str, reason: str, tmp_path: Path) -> None:
    path = spoil(jpeg(grey(1), tmp_path / "a.jpg"), how)
    assert read_image(path, small_input()) == reason


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_image_that_cannot_be_reached_now_is_an_error_and_not_an_absent_image(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jpeg(grey(1), tmp_path / "a.jpg")

    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(SourceError, match=rf": an image in this folder cannot be read \({os.strerror(code)}\)"):
        list(read_images([path], small_input(), 2))


def test_a_folder_of_images_that_may_not_be_entered_is_no_folder_without_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    assert image_keys(tmp_path, pl.Series(["gone", "p10/gone"]), JPEG)[1].tolist() == [False, False]
    monkeypatch.setattr(Path, "stat", fails)
    with pytest.raises(SourceError, match=r": an image in this folder cannot be read \(Permission denied\)"):
        image_keys(tmp_path, pl.Series(["gone"]), JPEG)


def test_any_number_of_threads_gives_the_same_tensors_in_the_same_order(tmp_path: Path) -> None:
    paths = [jpeg(grey(i), tmp_path / f"{i}.jpg") for i in range(30)]
    spoil(paths[7], "truncated")
    alone = list(read_images(paths, small_input(), 0))
    assert alone[7] == SPOILT["truncated"]
    for workers in (1, 2, 5):
        several = list(read_images(paths, small_input(), workers))
        assert all(np.array_equal(one, other) for one, other in zip(alone, several, strict=True))


def test_threads_do_not_run_ahead_of_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(selection, "read_image", lambda path, _: begun.append(path) or "x")
    read = read_images([tmp_path] * 1000, small_input(), 2)
    assert isinstance(read, Generator)
    next(read)
    assert len(begun) < 20
    read.close()


def test_unreadable_images_are_counted_and_listed(tmp_path: Path) -> None:
    unreadable = Unreadable(100, 0.02, tmp_path / "lists" / "unreadable.csv")
    unreadable.save()
    assert not unreadable.list_at.exists()
    unreadable.add("files/p10/a", "empty")
    unreadable.add("files/p10/b", "missing")
    unreadable.save()
    assert unreadable.count_line() == "2 of 100 images could not be read (1 empty, 1 missing)"
    assert pl.read_csv(unreadable.list_at).rows() == [("files/p10/a", "empty"), ("files/p10/b", "missing")]


def test_too_many_unreadable_images_stop_the_stage_without_naming_one(tmp_path: Path) -> None:
    unreadable = Unreadable(10, 0.1, tmp_path / "unreadable.csv")
    unreadable.add("files/p10/a", "empty")
    unreadable.check()
    unreadable.add("files/p10/b", "empty")
    with pytest.raises(ImagesError, match=r"^2 of 10 images .* embed\.image\.max_unreadable_share=0\.1") as caught:
        unreadable.finish()
    assert "p10" not in str(caught.value).replace(str(tmp_path), "")
    assert pl.read_csv(unreadable.list_at).height == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_images": 0}, r"embed\.image\.max_images=0 must be at least 1"),
        ({"num_workers": -1}, r"embed\.image\.num_workers=-1"),
        ({"max_unreadable_share": 1.5}, r"embed\.image\.max_unreadable_share=1\.5"),
        ({"views": []}, r"embed\.image\.views=\[\]"),
        ({"views": ["AP", "AP"]}, r"embed\.image\.views="),
        ({"encoder": "timm"}, r"embed\.image\.model is empty"),
        ({"encoder": "timm", "model": "resnet18"}, r"embed\.image\.weights is empty"),
        ({"encoder": "vectors"}, r"embed\.image\.path is empty"),
        ({"encoder": "release", "mode": "trained"}, r"encoder=release has no network to train"),
        ({"encoder": "small", "mode": "frozen"}, r"use embed\.image\.mode=trained"),
        ({"lr_scale": 0}, r"embed\.image\.lr_scale=0"),
        ({"encoder": "timm", "model": "m", "weights": "none"}, r"a frozen network of random weights"),
        (
            {"encoder": "timm", "mode": "trained", "model": "m", "weights": "none", "trainable": "lora"},
            r"random weights must all be trained",
        ),
    ],
)
def test_settings_that_make_no_sense_or_would_be_ignored_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageConfig(**settings)


def test_images_are_left_out_with_one_word_and_small_is_trained_without_another() -> None:
    assert ImageConfig(encoder="none", model="resnet18", weights="w", trainable="lora").encoder == "none"
    assert ImageConfig(encoder="small").trained
    assert not ImageConfig(encoder="release").trained
