"""Images of a cohort through every encoder: which row has what, what is read again, and when the stage stops."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from safetensors.torch import save_file

from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.features import store
from data_modules.loading.items import PixelItems, VectorItems, open_store
from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image import frozen as image_networks
from mmnar_lightning.encoders.image import selection
from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.selection import ImagesError
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.image.vectors import RELEASE_WIDTH
from mmnar_lightning.encoders.stage import embed
from tests.helpers.images import grey, index, jpeg, spoil

IMAGES = [(0, "a", "AP"), (0, "b", "PA"), (2, "c", "PA"), (2, "side", "LATERAL"), (4, "d", "AP"), (5, "x", "LATERAL")]
"""Rows 1 and 3 have no image, row 5 has no frontal one."""
SPLIT = ["train", "train", "train", "test", "test", "train"]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    folder = tmp_path / "cohorts" / "made"
    (folder / "modalities" / "cxr").mkdir(parents=True)
    pl.DataFrame({"row_id": range(len(SPLIT)), "split": SPLIT}).write_parquet(folder / "cohort.parquet")
    index(*IMAGES).write_parquet(folder / "modalities" / "cxr" / "images.parquet")
    modalities = [{"name": "cxr", "kind": "images", "width": 0}]
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "f", "modalities": modalities}))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> ImageFolders:
    pictures, embeddings = tmp_path / "jpg", tmp_path / "tfrecord"
    for position, (_, name, view) in enumerate(IMAGES):
        jpeg(grey(position), pictures / f"files/p10/{name}.jpg")
        if view in ("AP", "PA"):
            (embeddings / "files/p10").mkdir(parents=True, exist_ok=True)
            (embeddings / f"files/p10/{name}.tfrecord").write_bytes(encode(published(position), name))
    return ImageFolders(pictures=pictures, embeddings=embeddings)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def published(position: int) -> np.ndarray:
    return np.arange(RELEASE_WIDTH, dtype=np.float32) + 10 * position


def timm_config(weights: Path, **more) -> ImageConfig:
    return ImageConfig(encoder="timm", weights=str(weights), **{"model": "test_resnet", "batch_size": 2, **more})


def embedded(cohort: Path, config: ImageConfig, folders: ImageFolders, data: Path) -> Path:
    return embed(cohort, EmbedConfig(image=config), data, folders, "cpu")["cxr"]


def test_published_embeddings_are_averaged_over_the_frontal_images_of_a_row(
    cohort: Path, folders: ImageFolders, tmp_path: Path
) -> None:
    made = embedded(cohort, ImageConfig(encoder="release"), folders, tmp_path)
    values = store.open_values(made)
    assert store.open_present(made).tolist() == [True, False, True, False, True, False]
    assert np.allclose(values[0], (published(0) + published(1)) / 2)
    assert np.allclose(values[2], published(2))
    one = embedded(cohort, ImageConfig(encoder="release", max_images=1), folders, tmp_path)
    assert one != made
    assert np.allclose(store.open_values(one)[0], published(0)), "AP comes first"


def test_with_attention_every_image_keeps_its_own_embedding(
    cohort: Path, folders: ImageFolders, tmp_path: Path
) -> None:
    made = embedded(cohort, ImageConfig(encoder="release", pooling="attention"), folders, tmp_path)
    items = open_store(made)
    assert isinstance(items, VectorItems)
    assert items.present.tolist() == [True, False, True, False, True, False]
    given = items.gather(np.array([2, 1, 0]))
    assert given.row.tolist() == [0, 2, 2]
    train = np.stack([published(0), published(1), published(2)])
    expected = (np.stack([published(2), published(0), published(1)]) - train.mean(0)) / train.std(0)
    assert np.allclose(given.values["vectors"], expected, atol=1e-4)


def test_a_few_missing_embeddings_are_absent_and_listed_and_many_stop_the_stage(
    cohort: Path, folders: ImageFolders, tmp_path: Path
) -> None:
    (folders.embeddings / "files/p10/c.tfrecord").unlink()
    with pytest.raises(ImagesError, match=r"1 of 4 images could not be read \(1 without an embedding\): more than"):
        embedded(cohort, ImageConfig(encoder="release"), folders, tmp_path)
    listed = tmp_path / "embeddings" / "unreadable-made-cxr.csv"
    assert pl.read_csv(listed).rows() == [("files/p10/c", "without an embedding")]
    assert not list((tmp_path / "embeddings").glob("cxr-*/"))
    made = embedded(cohort, ImageConfig(encoder="release", max_unreadable_share=0.25), folders, tmp_path)
    assert store.open_present(made).tolist() == [True, False, False, False, True, False]
    (line,) = json.loads((made / "manifest.json").read_text())["left_out"]
    assert line.startswith("25.0% of its images count as absent")
    assert "p10" not in line
    assert listed.is_file()


def test_a_damaged_embedding_is_absent_listed_and_named_by_no_message(
    cohort: Path, folders: ImageFolders, tmp_path: Path
) -> None:
    path = folders.embeddings / "files/p10/c.tfrecord"
    path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    with pytest.raises(ImagesError, match=r"1 of 4 images could not be read \(1 of a wrong checksum\)") as caught:
        embedded(cohort, ImageConfig(encoder="release"), folders, tmp_path)
    assert "p10" not in str(caught.value)
    made = embedded(cohort, ImageConfig(encoder="release", max_unreadable_share=0.25), folders, tmp_path)
    assert store.open_present(made).tolist() == [True, False, False, False, True, False]
    listed = tmp_path / "embeddings" / "unreadable-made-cxr.csv"
    assert pl.read_csv(listed).rows() == [("files/p10/c", "of a wrong checksum")]


def test_vectors_of_ones_own_by_image_or_by_row(cohort: Path, folders: ImageFolders, tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    names, values = ["d", "c", "b", "a", "of another cohort"], [[4.0], [3.0], [2.0], [1.0], [9.0]]
    pl.DataFrame({"dicom_id": names, "vector": values}).write_parquet(path)
    made = embedded(cohort, ImageConfig(encoder="vectors", path=str(path)), folders, tmp_path)
    assert store.open_values(made)[:, 0].tolist() == [1.5, 0, 3, 0, 4, 0]
    pl.DataFrame({"dicom_id": names, "vector": [[2.0]] * 5}).write_parquet(path)
    again = embedded(cohort, ImageConfig(encoder="vectors", path=str(path)), folders, tmp_path)
    assert again != made, "another file under the same name"
    pl.DataFrame({"row_id": [0, 2, 4], "vector": [[7.0], [8.0], [9.0]]}).write_parquet(path)
    by_row = embedded(cohort, ImageConfig(encoder="vectors", path=str(path)), folders, tmp_path)
    assert store.open_values(by_row)[:, 0].tolist() == [7, 0, 8, 0, 9, 0]
    pl.DataFrame({"dicom_id": names[1:], "vector": values[1:]}).write_parquet(path)
    with pytest.raises(ImagesError, match=r"1 of 4 images could not be read \(1 without a vector\)"):
        embedded(cohort, ImageConfig(encoder="vectors", path=str(path)), folders, tmp_path)
    pl.DataFrame({"document_id": names, "vector": values}).write_parquet(path)
    with pytest.raises(SourceError, match="the vectors are of documents"):
        embedded(cohort, ImageConfig(encoder="vectors", path=str(path)), folders, tmp_path)


def test_a_frozen_network_says_what_the_trained_one_says_in_eval_mode(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path
) -> None:
    config = timm_config(weights, pooling="attention")
    frozen = VectorItems(embedded(cohort, config, folders, tmp_path))
    trained_config = timm_config(weights, pooling="attention", mode="trained")
    trained = open_store(embedded(cohort, trained_config, folders, tmp_path))
    assert isinstance(trained, PixelItems)
    backbone = image_backbone(trained_config).eval()
    rows = np.arange(len(SPLIT))
    pixels = trained.gather(rows)
    assert pixels.row.tolist() == frozen.gather(rows).row.tolist() == [0, 0, 2, 4]
    assert pixels.values["pixels"].dtype == torch.uint8
    with torch.no_grad():
        said = backbone(pixels.values)
    assert trained.width == frozen.width == backbone.width == said.shape[1]
    assert said.std(0).max() > 1e-3
    assert np.allclose(frozen.values[frozen.items.item], said, atol=1e-5)


def test_two_networks_that_are_shown_the_same_pixels_each_find_their_own_width(
    cohort: Path, folders: ImageFolders, tmp_path: Path
) -> None:
    configs = [timm_config(Path("none"), mode="trained", model=model) for model in ("test_vit", "test_convnext2")]
    assert image_input(configs[0]).description == image_input(configs[1]).description
    widths = [image_backbone(config).width for config in configs]
    assert widths[0] != widths[1]
    stores = [open_store(embedded(cohort, config, folders, tmp_path)) for config in configs]
    assert [made.width for made in stores] == widths


@pytest.mark.parametrize("mode", ["frozen", "trained"])
def test_any_number_of_threads_gives_the_same_bytes(
    mode: str, cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path
) -> None:
    made = [
        embedded(cohort, timm_config(weights, mode=mode, num_workers=workers), folders, tmp_path / str(workers))
        for workers in (0, 2)
    ]
    names = sorted(path.name for path in made[0].iterdir())
    assert names == sorted(path.name for path in made[1].iterdir())
    for name in set(names) - {"manifest.json"}:
        assert (made[0] / name).read_bytes() == (made[1] / name).read_bytes(), name


@pytest.mark.parametrize("mode", ["frozen", "trained"])
@pytest.mark.parametrize("how", ["truncated", "empty", "gone", "16 bits"])
def test_an_unreadable_image_is_absent_and_the_others_are_untouched(
    how: str, mode: str, cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path
) -> None:
    whole = open_store(embedded(cohort, timm_config(weights, pooling="attention", mode=mode), folders, tmp_path / "w"))
    spoil(folders.pictures / "files/p10/a.jpg", how)
    strict = timm_config(weights, pooling="attention", mode=mode)
    with pytest.raises(ImagesError, match=r"1 of 4 images could not be read"):
        embedded(cohort, strict, folders, tmp_path)
    mild = timm_config(weights, pooling="attention", mode=mode, max_unreadable_share=0.3)
    made = embedded(cohort, mild, folders, tmp_path)
    assert pl.read_csv(tmp_path / "embeddings" / "unreadable-made-cxr.csv")["file"].to_list() == ["files/p10/a"]
    left = open_store(made).gather(np.arange(len(SPLIT)))
    assert left.row.tolist() == [0, 2, 4]
    if mode == "trained":
        assert torch.equal(left.values["pixels"], whole.gather(np.arange(len(SPLIT))).values["pixels"][1:])
    spoil(folders.pictures / "files/p10/b.jpg", "gone")
    gone = embedded(cohort, timm_config(weights, mode=mode, max_unreadable_share=0.5), folders, tmp_path / "again")
    assert open_store(gone).present.tolist() == [False, False, True, False, True, False]


def test_a_image_is_read_once_whatever_is_asked_of_it_later(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = selection.read_images

    def watched(paths, *arguments):
        read.extend(path.stem for path in paths)
        return real(paths, *arguments)

    monkeypatch.setattr(image_networks, "read_images", watched)
    embedded(cohort, timm_config(weights, views=["AP"]), folders, tmp_path)
    assert sorted(read) == ["a", "d"]
    embedded(cohort, timm_config(weights, views=["PA", "AP"]), folders, tmp_path)
    assert sorted(read) == ["a", "b", "c", "d"]
    embedded(cohort, timm_config(weights, views=["PA", "AP"], max_images=1), folders, tmp_path)
    embedded(cohort, timm_config(weights, views=["PA", "AP"], pooling="attention"), folders, tmp_path)
    assert len(read) == 4
    jpeg(grey(99, 100, 60), folders.pictures / "files/p10/a.jpg")
    embedded(cohort, timm_config(weights, views=["AP", "PA"], pooling="attention"), folders, tmp_path)
    assert read[4:] == ["a"], "a image that was fixed is another one"


def test_after_too_many_unreadable_images_only_the_repaired_ones_are_encoded(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = timm_config(weights, batch_size=1)
    pictures = [folders.pictures / f"files/p10/{name}.jpg" for name in ("a", "c")]
    for path in pictures:
        spoil(path, "truncated")
    with pytest.raises(ImagesError, match=r"2 of 4 images could not be read \(2 truncated or broken\)"):
        embedded(cohort, config, folders, tmp_path)
    listed = pl.read_csv(tmp_path / "embeddings" / "unreadable-made-cxr.csv")["file"]
    assert sorted(listed) == ["files/p10/a", "files/p10/c"], "all of them, so that they are fixed at once"
    for position, path in enumerate(pictures):
        jpeg(grey(position), path)
    read: list[str] = []
    real = image_networks.FrozenImages._encode
    monkeypatch.setattr(
        image_networks.FrozenImages, "_encode", lambda self, files: read.extend(files) or real(self, files)
    )
    assert open_store(embedded(cohort, config, folders, tmp_path)).present.sum() == 3
    assert sorted(read) == ["files/p10/a", "files/p10/c"]
    assert not list(tmp_path.rglob("*.work"))


@pytest.mark.parametrize("mode", ["frozen", "trained"])
def test_too_many_missing_images_stop_the_stage_before_a_image_is_decoded(
    mode: str, cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_networks, "read_images", lambda *_: pytest.fail("images were decoded"))
    for name in ("a", "c"):
        spoil(folders.pictures / f"files/p10/{name}.jpg", "gone" if name == "a" else "empty")
    with pytest.raises(ImagesError, match=r"2 of 4 images could not be read \(1 missing, 1 empty\)"):
        embedded(cohort, timm_config(weights, mode=mode), folders, tmp_path)
    assert pl.read_csv(tmp_path / "embeddings" / "unreadable-made-cxr.csv").height == 2


def test_a_run_that_was_broken_off_goes_on_where_it_was_and_ends_with_the_same_bytes(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_networks, "UNIT_BATCHES", 1)
    config = timm_config(weights, batch_size=1, pooling="attention")
    whole = embedded(cohort, config, folders, tmp_path / "whole")
    encoded: list[int] = []
    real = image_networks.FrozenImages._encode

    def breaking(self, files):
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(len(files))
        return real(self, files)

    monkeypatch.setattr(image_networks.FrozenImages, "_encode", breaking)
    with pytest.raises(KeyboardInterrupt):
        embedded(cohort, config, folders, tmp_path / "broken")
    read: list[str] = []
    monkeypatch.setattr(
        image_networks.FrozenImages,
        "_encode",
        lambda self, files: read.extend(files) or real(self, files),
    )
    made = embedded(cohort, config, folders, tmp_path / "broken")
    assert len(read) == 2
    assert (made / store.VALUES).read_bytes() == (whole / store.VALUES).read_bytes()


def test_a_release_without_what_the_encoder_reads_is_refused_and_leaves_nothing(
    cohort: Path, weights: Path, tmp_path: Path
) -> None:
    for config, what in (
        (ImageConfig(encoder="release"), "image-embeddings release"),
        (timm_config(weights), "MIMIC-CXR-JPG with its images"),
        (ImageConfig(encoder="small"), "MIMIC-CXR-JPG with its images"),
    ):
        with pytest.raises(ValueError, match=rf"embed\.image\.encoder={config.encoder}: there is no {what}"):
            embedded(cohort, config, ImageFolders(), tmp_path)
    assert not (tmp_path / "embeddings").exists()


def test_a_cohort_whose_rows_show_no_image_has_an_empty_store(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path
) -> None:
    for config in (
        ImageConfig(encoder="release", views=["LL"]),
        timm_config(weights, views=["LL"]),
        timm_config(weights, views=["LL"], pooling="attention"),
        ImageConfig(encoder="small", views=["LL"]),
    ):
        made = open_store(embedded(cohort, config, folders, tmp_path))
        assert not made.present.any()


@pytest.mark.parametrize("kind", ["release", "frozen", "trained", "small"])
def test_files_that_are_lost_or_come_back_or_change_are_noticed(
    cohort: Path, folders: ImageFolders, weights: Path, tmp_path: Path, kind: str
) -> None:
    config = {
        "release": ImageConfig(encoder="release", max_unreadable_share=0.5),
        "frozen": timm_config(weights, max_unreadable_share=0.5),
        "trained": timm_config(weights, max_unreadable_share=0.5, mode="trained"),
        "small": ImageConfig(encoder="small", max_unreadable_share=0.5),
    }[kind]
    suffix, folder = (".tfrecord", folders.embeddings) if kind == "release" else (".jpg", folders.pictures)
    assert folder is not None
    file, hidden = folder / f"files/p10/d{suffix}", tmp_path / "hidden"
    file.rename(hidden)
    without = embedded(cohort, config, folders, tmp_path)
    assert shown(without) == [True, False, True, False, False, False]
    hidden.rename(file)
    with_file = embedded(cohort, config, folders, tmp_path)
    assert shown(with_file) == [True, False, True, False, True, False]
    assert embedded(cohort, config, folders, tmp_path) == with_file, "nothing changed"
    if kind == "release":
        file.write_bytes(encode(published(77), "d"))
    else:
        jpeg(grey(77), file)
    assert embedded(cohort, config, folders, tmp_path) not in (with_file, without)


def shown(folder: Path) -> list[bool]:
    """Which rows have an input."""
    stored = store.open_present(folder)
    return (open_store(folder).present if stored is None else stored).tolist()
