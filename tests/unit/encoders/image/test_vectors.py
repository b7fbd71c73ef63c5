"""Vectors that someone else computed: what is taken, and what is refused by which words."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image.vectors import RELEASE_WIDTH, read_embedding, read_release, read_vectors

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def parquet(path: Path, **columns) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def npy(path: Path, values: np.ndarray, names: np.ndarray) -> Path:
    np.save(path, values)
    np.save(path.with_suffix(".ids.npy"), names)
    return path


@pytest.mark.parametrize("dtype", [pl.List(pl.Float32), pl.List(pl.Float64), pl.Array(pl.Float32, 2)])
@pytest.mark.parametrize("key", ["dicom_id", "document_id"])
def test_a_parquet_file_gives_vectors_by_name(key: str, dtype: pl.DataType, tmp_path: Path) -> None:
    vectors = pl.Series(VALUES.tolist(), dtype=dtype)
    file = read_vectors(parquet(tmp_path / "v.parquet", **{key: ["a", "b", "c"], "vector": vectors}))
    assert file.key == key
    found, values = file.look_up(pl.Series(["c", "gone", "a", "c"]))
    assert found.tolist() == [True, False, True, True]
    assert values.dtype == np.float32
    assert np.array_equal(values, np.stack([VALUES[2], [0, 0], VALUES[0], VALUES[2]]))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_an_array_file_gives_vectors_by_name_or_row(dtype: str, tmp_path: Path) -> None:
    file = read_vectors(npy(tmp_path / "v.npy", VALUES.astype(dtype), np.array(["a", "b", "c"])))
    assert file.key == "dicom_id"
    assert np.array_equal(file.look_up(pl.Series(["b"]))[1], VALUES[1:2])
    rows = read_vectors(npy(tmp_path / "r.npy", VALUES, np.array([7, 4, 5])))
    assert rows.key == "row_id"
    assert np.array_equal(rows.look_up(pl.Series([4, 7], dtype=pl.UInt32))[1], VALUES[[1, 0]])


def test_what_a_parquet_file_must_not_be(tmp_path: Path) -> None:
    path, good = tmp_path / "v.parquet", VALUES.tolist()
    broken = [[0.0, 1.0], [float("nan"), 1.0], [1.0, float("inf")]]
    for columns, message in (
        ({"dicom_id": ["a", "b", "b"], "vector": good}, "1 vectors have a repeated dicom_id"),
        ({"dicom_id": ["a", "b", None], "vector": good}, "1 values of dicom_id are null"),
        ({"dicom_id": ["a", "b", "c"], "vector": broken}, "2 vectors hold NaN or infinity"),
        ({"dicom_id": ["a", "b", "c"], "vector": [[1, 2], [1, 2], [3, 4]]}, r"vector is List\(Int64\), expected"),
        ({"dicom_id": ["a", "b", "c"], "vector": [1.0, 2.0, 3.0]}, "vector is Float64, expected lists"),
        ({"dicom_id": ["a", "b", "c"], "vector": [[1.0, 2.0], [1.0], [3.0, 4.0]]}, "the vectors differ in width"),
        (
            {"dicom_id": ["a", "b", "c"], "vector": [[1.0, 2.0], None, [3.0, 4.0]]},
            "the vectors differ in width, or one",
        ),
        ({"dicom_id": ["a", "b", "c"], "vector": [[1.0, None], [1.0, 2.0], [3.0, 4.0]]}, "or one of them is null"),
        ({"name": ["a", "b", "c"], "vector": good}, "one of dicom_id, document_id, row_id, found name, vector"),
        ({"dicom_id": ["a"], "row_id": [1], "vector": good[:1]}, "one of dicom_id, document_id, row_id, found"),
        ({"dicom_id": ["a"], "values": good[:1]}, "expected the column vector"),
    ):
        with pytest.raises(SourceError, match=message):
            read_vectors(parquet(path, **columns))


def test_what_an_array_file_must_not_be(tmp_path: Path) -> None:
    path, names = tmp_path / "v.npy", np.array(["a", "b", "c"])
    for values, ids, message in (
        (VALUES.astype(int), names, r"v\.npy: the array is \(3, 2\) int64, expected"),
        (VALUES[0], names, r"the array is \(2,\) float32"),
        (VALUES, names[:2], r"v\.ids\.npy: the ids are \(2,\) <U1, expected \(3,\)"),
        (VALUES, np.array([0.5, 1, 2]), r"the ids are \(3,\) float64"),
        (VALUES, np.array([1, 1, 2]), "1 vectors have a repeated row_id"),
    ):
        with pytest.raises(SourceError, match=message):
            read_vectors(npy(path, values, ids))
    np.save(path, VALUES)
    path.with_suffix(".ids.npy").unlink()
    with pytest.raises(SourceError, match=r"v\.ids\.npy: this file is missing"):
        read_vectors(path)
    np.save(path.with_suffix(".ids.npy"), np.array(["a", None, 3], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match=r"v\.ids\.npy: this file is not an \.npy array of plain values"):
        read_vectors(path)


def test_a_file_that_is_not_there_or_not_readable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Set embed\.image\.path"):
        read_vectors(tmp_path / "gone.parquet")
    for name, message in (("v.parquet", "not readable as Parquet"), ("v.npy", "not an .npy"), ("v.csv", "expected a")):
        (tmp_path / name).write_bytes(b"something else")
        (tmp_path / "v.ids.npy").write_bytes(b"")
        with pytest.raises(SourceError, match=message):
            read_vectors(tmp_path / name)


@pytest.mark.parametrize("workers", [0, 3])
def test_published_embeddings_are_read_in_order_and_those_that_are_not_there_are_reported(
    workers: int, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(0).standard_normal((20, RELEASE_WIDTH)).astype(np.float32)
    paths = [tmp_path / f"{position}.tfrecord" for position in range(20)]
    for path, vector in zip(paths, vectors, strict=True):
        path.write_bytes(encode(vector, path.stem))
    paths[4].unlink()
    found, values = read_release(paths, workers)
    assert np.flatnonzero(~found).tolist() == [4]
    assert not values[4].any()
    assert np.array_equal(values[found], vectors[found])


def broken(path: Path) -> dict[Path, str]:
    """Files without an embedding -> the reason."""
    whole = encode(np.zeros(RELEASE_WIDTH, np.float32), "a")
    contents = {
        "of a wrong checksum": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        "truncated": whole[:-1],
        "of 12 floats in place of 1376": encode(np.zeros(12, np.float32), "a"),
    }
    files = {}
    for number, (reason, content) in enumerate(contents.items()):
        file = path / f"{number}.tfrecord"
        file.write_bytes(content)
        files[file] = reason
    files[path / "gone.tfrecord"] = "without an embedding"
    return files


def test_a_broken_embedding_is_absent_for_a_reason(tmp_path: Path) -> None:
    files = broken(tmp_path)
    found, vectors = read_release(list(files), 0)
    assert not found.any()
    assert not vectors.any()
    assert [read_embedding(file) for file in files] == list(files.values())


def test_an_embedding_that_cannot_be_accessed_is_an_error_that_names_no_subject(tmp_path: Path) -> None:
    path = tmp_path / "files" / "p10" / "p10000032" / "s50414267" / "a.tfrecord"
    path.mkdir(parents=True)
    with pytest.raises(SourceError, match=r"files/p10: an image in this folder cannot be read \(Is a dir") as caught:
        read_release([path], 0)
    assert not {"p10000032", "s50414267", "a.tfrecord"} & set(re.findall(r"[\w.]+", str(caught.value)))
