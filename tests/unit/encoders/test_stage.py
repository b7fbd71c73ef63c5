"""Documents and images become vectors: which row gets which, and what is refused."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.features import store
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.image.vectors import RELEASE_WIDTH
from mmnar_lightning.encoders.stage import device_of, embed
from mmnar_lightning.encoders.text import hashed
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.hashed import hashed_ngrams
from tests.helpers import tiny_models
from tests.helpers.images import index

HASHED = TextConfig(encoder="hashed_ngrams")
RELEASE = ImageConfig(encoder="release")
TEXTS = {0: "No edema.", 2: "Severe pulmonary edema.", 3: "Walks with a cane."}


def vector(value: float) -> np.ndarray:
    return np.full(RELEASE_WIDTH, value, np.float32) + np.arange(RELEASE_WIDTH, dtype=np.float32)


@pytest.fixture
def published(tmp_path: Path) -> ImageFolders:
    """A release of three embeddings."""
    folder = tmp_path / "image-embeddings" / "1.0"
    (folder / "files" / "p10").mkdir(parents=True)
    for name, value in (("a", 1.0), ("b", 3.0), ("c", 10.0)):
        (folder / "files" / "p10" / f"{name}.tfrecord").write_bytes(encode(vector(value), name))
    return ImageFolders(embeddings=folder)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A cohort folder of five rows; row 1 has no document and rows 1 and 4 no image."""
    folder = tmp_path / "cohort"
    for name in ("table", "note", "image"):
        (folder / "modalities" / name).mkdir(parents=True)
    split = ["train", "train", "train", "test", "train"]
    pl.DataFrame({"row_id": range(5), "split": split}).write_parquet(folder / "cohort.parquet")
    texts = pl.DataFrame({"row_id": list(TEXTS), "hours": -1.0, "document_id": "x", "text": list(TEXTS.values())})
    texts.write_parquet(folder / "modalities" / "note" / "documents.parquet")
    index((0, "a", "AP"), (2, "b", "PA"), (3, "c", "AP")).write_parquet(
        folder / "modalities" / "image" / "images.parquet"
    )
    kinds = [("table", "table", 3), ("note", "documents", 0), ("image", "images", 0)]
    modalities = [{"name": name, "kind": kind, "width": width} for name, kind, width in kinds]
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "f", "modalities": modalities}))
    return folder


def test_texts_of_a_row_are_joined_in_order_of_time() -> None:
    early, late = {"hours": -5.0, "document_id": "b"}, {"hours": -1.0, "document_id": "a"}
    texts = pl.DataFrame([{"row_id": 7, **late, "text": "edema."}, {"row_id": 7, **early, "text": "No"}])
    rows, vectors = hashed_ngrams(texts, 1024)
    assert rows.tolist() == [7]
    assert np.array_equal(vectors, hashed_ngrams(pl.DataFrame({"row_id": [7], "text": ["No edema."]}), 1024)[1])
    assert not np.array_equal(vectors, hashed_ngrams(pl.DataFrame({"row_id": [7], "text": ["edema. No"]}), 1024)[1])


def test_vectors_of_texts_depend_on_their_words_alone_and_have_length_one() -> None:
    both = pl.DataFrame({"row_id": [9, 4], "text": ["No edema.", "Severe edema."]})
    rows, vectors = hashed_ngrams(both, 32)
    assert rows.tolist() == [4, 9]
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors[1:], hashed_ngrams(both[:1], 32)[1])


def test_no_text_at_all_is_no_vector() -> None:
    empty = pl.DataFrame({"row_id": [], "text": []}, schema={"row_id": pl.UInt32, "text": pl.String})
    rows, vectors = hashed_ngrams(empty, 32)
    assert rows.shape == (0,)
    assert vectors.shape == (0, 32)


def test_rows_without_a_document_are_absent_and_statistics_are_of_train_rows(
    finished: Path, published: ImageFolders, tmp_path: Path
) -> None:
    stores = embed(finished, EmbedConfig(text=HASHED, image=RELEASE), tmp_path, published)
    assert list(stores) == ["note", "image"]
    note, image = (store.open_values(stores[name]) for name in ("note", "image"))
    assert store.open_present(stores["note"]).tolist() == [True, False, True, True, False]
    assert store.open_present(stores["image"]).tolist() == [True, False, True, True, False]
    assert note.shape == (5, 1024)
    assert np.array_equal(
        note[[0, 2, 3]], hashed_ngrams(pl.DataFrame({"row_id": TEXTS.keys(), "text": TEXTS.values()}), 1024)[1]
    )
    assert not note[[1, 4]].any()
    assert np.array_equal(image[3], vector(10.0))
    statistics = store.Statistics.load(stores["image"])
    assert np.allclose(statistics.mean, vector(2.0)), "row 3 is in test"
    assert np.allclose(statistics.scale, 1.0)


def test_rows_that_are_counted_a_few_at_a_time_have_the_bytes_of_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        row: [tiny_models.note(row + place, 4 + row) for place in range(row % 3 + 1)] for row in (0, 1, 2, 4, 5, 8, 11)
    }
    texts[1].insert(1, " ")
    cohort = tiny_models.write_cohort(tmp_path / "c", {**texts, 6: ["\n"]}, 12)
    whole = pl.read_parquet(cohort / "modalities" / "note" / "documents.parquet")
    rows, expected = hashed_ngrams(whole.filter(pl.col("text").str.strip_chars() != ""), 1024)
    monkeypatch.setattr(hashed, "ROWS_TOGETHER", 3)
    made = embed(cohort, EmbedConfig(text=HASHED), tmp_path, ImageFolders())["note"]
    assert np.flatnonzero(store.open_present(made)).tolist() == rows.tolist() == list(texts)
    assert store.open_values(made)[rows].tobytes() == expected.tobytes()
    assert {path.suffix for path in made.iterdir()} == {".json", ".npy"}


def test_what_was_encoded_is_not_encoded_again_and_other_settings_lie_elsewhere(
    finished: Path, published: ImageFolders, tmp_path: Path
) -> None:
    config = EmbedConfig(text=HASHED, image=RELEASE)
    first = embed(finished, config, tmp_path, published)
    before = {name: (folder / store.VALUES).stat().st_mtime_ns for name, folder in first.items()}
    assert embed(finished, config, tmp_path, published) == first
    assert {name: (folder / store.VALUES).stat().st_mtime_ns for name, folder in first.items()} == before
    other = embed(
        finished, EmbedConfig(text=TextConfig(encoder="hashed_ngrams", sections=["Plan"])), tmp_path, ImageFolders()
    )
    assert list(other) == ["note"]
    assert other["note"] != first["note"]


def test_an_encoder_of_none_leaves_its_kind_out(finished: Path, tmp_path: Path) -> None:
    assert embed(finished, EmbedConfig(), tmp_path, ImageFolders()) == {}
    assert not (tmp_path / "embeddings").exists()


def test_image_embeddings_without_their_release_are_refused_and_leave_nothing(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"embed\.image\.encoder=release: there is no image-embeddings release under the roots"
    ):
        embed(finished, EmbedConfig(image=RELEASE), tmp_path, ImageFolders())
    assert not list((tmp_path / "embeddings").glob("*/"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, 0), ({"LOCAL_RANK": "2"}, 2), ({"SLURM_LOCALID": "3"}, 3), ({"LOCAL_RANK": "1", "SLURM_LOCALID": "0"}, 1)],
)
def test_every_process_of_a_machine_takes_a_gpu_of_its_own(
    given: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_of("auto") == torch.device("cuda", expected)
