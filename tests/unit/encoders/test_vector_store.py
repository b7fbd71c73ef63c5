"""The store of vectors: the same bytes whichever process builds it, however often it is stopped; nothing read twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from data_modules import stage
from data_modules.features import documents
from mmnar_lightning.encoders.image import frozen
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.vector_store import KEYS, VECTORS, Keys, Plan, VectorStore, _Work
from tests.helpers import embed_builds, embed_peak, tiny_models
from tests.helpers.images import grey, index, jpeg
from tests.helpers.paths import ROOT
from tests.helpers.processes import Started

WIDTH = 3
MOST_BYTES = 8000
"""That memory may grow by with a document: half of its text."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = {
        row: [tiny_models.note(3 * row + place, 3 + (row * 11) % 70) for place in range(1 + row % 3)]
        for row in range(0, 60, 2)
    }
    return tiny_models.write_cohort(tmp_path_factory.mktemp("cohort") / "c", texts, 60)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort folder of images, and beside it their pictures."""
    folder = tmp_path_factory.mktemp("images") / "c"
    (folder / "modalities" / "cxr").mkdir(parents=True)
    rows = [(row, f"image{row}", "AP") for row in range(12)]
    index(*rows).write_parquet(folder / "modalities" / "cxr" / "images.parquet")
    pl.DataFrame({"row_id": range(12), "split": "train"}).write_parquet(folder / "cohort.parquet")
    modalities = [{"name": "cxr", "kind": "images", "width": 0}]
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "f", "modalities": modalities}))
    for row, name, _ in rows:
        jpeg(grey(row), folder.parent / f"files/p10/{name}.jpg")
    return folder


def start(cohort: Path, model: Path, data: Path, *words: str) -> Started:
    """A process that embeds, of images those beside their cohort."""
    given = [*map(str, (cohort, model, data)), "--pictures", str(cohort.parent), *words]
    data.parent.mkdir(exist_ok=True)
    return Started(["-m", "tests.helpers.embed_builds", *given], data.parent)


def finish(process: Started, expected: int = 0) -> int:
    """How many units it encoded; none where it was killed."""
    assert process.wait() == expected, process.output
    return 0 if expected else int(process.output.split()[-1])


def build_here(cohort: Path, model: Path, data: Path) -> int:
    """Embed in this process, as the others do; how many units it encoded."""
    units: list[int] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "UNIT_BATCHES", embed_builds.BATCHES)
        write = _Work._write
        patch.setattr(_Work, "_write", lambda self, unit, part: units.append(unit) or write(self, unit, part))
        embed(cohort, embed_builds.settings(model), data, ImageFolders(pictures=cohort.parent))
    torch.set_num_threads(threads)
    return len(units)


def contents(data: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def alone(cohort: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """The bytes that one process leaves, and its units."""
    data = tmp_path_factory.mktemp("alone")
    units = build_here(cohort, model, data)
    return contents(data), units


def test_four_processes_share_the_units_and_leave_the_bytes_of_one(
    cohort: Path, model: Path, alone: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    expected, units = alone
    assert len(expected) == 8
    together = [start(cohort, model, tmp_path / "data", "--meet", "4") for _ in range(4)]
    done = [finish(process) for process in together]
    assert min(done) >= 1
    assert sum(done) == units, "no unit is encoded twice"
    assert contents(tmp_path / "data") == expected


def test_killed_at_several_points_and_started_again_it_leaves_the_same_bytes(
    cohort: Path, model: Path, alone: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    expected, units = alone
    for words in (("--die-after", "3"), ("--die-after", "17"), ("--die-joining",)):
        finish(start(cohort, model, tmp_path, *words), expected=embed_builds.KILLED)
    assert not list(tmp_path.glob("embeddings/note-*"))
    assert not list(tmp_path.glob(f"embeddings/text-*/[!.]*/{VECTORS}"))
    assert build_here(cohort, model, tmp_path) == 0, "all units were there"
    assert contents(tmp_path) == expected
    assert units > 10


def test_two_processes_share_images_as_well_and_one_that_is_killed_joining_costs_nothing(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    assert build_here(images, weights, tmp_path / "alone") == 6
    together = [start(images, weights, tmp_path / "two", "--meet", "2", "--die-joining") for _ in range(2)]
    for process in together:
        finish(process, expected=embed_builds.KILLED)
    assert build_here(images, weights, tmp_path / "two") == 0
    assert contents(tmp_path / "two") == contents(tmp_path / "alone")


def keys(*names: str) -> Keys:
    return np.array([f"{name:>032}".encode() for name in names], dtype="S32")


def test_what_is_tidied_away_behind_a_finished_shard_is_not_encoded_again(tmp_path: Path) -> None:
    vectors, plan = VectorStore(tmp_path), plan_of(keys("a", "b"))
    shard, parts = vectors.shard_of(plan.keys), vectors.work_of(plan.keys) / "parts"
    for folder in (shard, parts):
        folder.mkdir(parents=True)
    encoded: list[slice] = []

    def encode(pieces: slice) -> NDArray[np.float32]:
        encoded.append(pieces)
        return np.zeros((len(plan.item[pieces]), 1), dtype=np.float32)

    work = _Work(plan, shard, parts, encode, lambda items: None)
    assert work._is_done(0)
    for part in parts.glob("*.npy"):
        part.unlink()
    stage.write_json(shard / stage.MANIFEST, {})
    assert work._is_done(0)
    assert len(encoded) == 1


def plan_of(chosen: Keys, pieces: int = 3, unit: int = 2) -> Plan:
    """Every item in some pieces of rising weight, dealt out in turn."""
    item = np.tile(np.arange(len(chosen)), pieces)
    weight = np.repeat(np.arange(1, pieces + 1), len(chosen)).astype(np.float32)
    return Plan(chosen, item, weight, unit)


def encoder(plan: Plan, calls: list[slice] | None = None) -> Callable[[slice], np.ndarray]:
    def encode(pieces: slice) -> np.ndarray:
        if calls is not None:
            calls.append(pieces)
        value = plan.item[pieces] * 10 + plan.weight[pieces]
        return np.repeat(value[:, None], WIDTH, axis=1).astype(np.float32)

    return encode


def test_an_item_is_the_weighted_mean_of_its_pieces(tmp_path: Path) -> None:
    store, plan = VectorStore(tmp_path), plan_of(keys("a", "b", "c"))
    reported: list[float] = []
    store.build(plan, encoder(plan), reported.append)
    (block, vectors), *rest = store.read(keys("c", "a", "c"))
    expected = (1 * 1 + 2 * 2 + 3 * 3) / 6
    assert not rest
    assert np.allclose(vectors[:, 0], np.array([20, 0, 20]) + expected)
    assert vectors.shape == (3, WIDTH)
    assert block == slice(0, 3)
    assert sum(reported) == pytest.approx(3)


def test_only_what_is_missing_is_encoded_and_shards_are_read_together(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    assert store.missing(keys("b", "a", "b")).tolist() == keys("a", "b").tolist()
    for wanted, lacking in ((("a", "c"), ("a", "c")), (("a", "b", "c", "d"), ("b", "d"))):
        missing = store.missing(keys(*wanted))
        assert missing.tolist() == keys(*lacking).tolist()
        plan = plan_of(missing)
        store.build(plan, encoder(plan), lambda _: None)
    assert not len(store.missing(keys("a", "b", "c", "d")))
    vectors = np.concatenate([part for _, part in store.read(keys("a", "b", "c", "d"))])
    assert np.allclose(vectors[:, 0] - vectors[0, 0], [0, 0, 10, 10])


@pytest.mark.parametrize("name", [KEYS, VECTORS])
def test_a_damaged_shard_is_named_with_the_command_that_encodes_again(name: str, tmp_path: Path) -> None:
    plan = plan_of(keys("a", "b"))
    VectorStore(tmp_path).build(plan, encoder(plan), lambda _: None)
    path = VectorStore(tmp_path).shards()[0] / name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    for read in (VectorStore.missing, lambda store, wanted: list(store.read(wanted))):
        with pytest.raises(stage.StageError, match=rf"{name} differs from what was written.*`mmnar embed`"):
            read(VectorStore(tmp_path), plan.keys)


def test_a_vector_that_is_not_there_is_an_error_and_not_zero(tmp_path: Path) -> None:
    store, plan = VectorStore(tmp_path), plan_of(keys("a", "b"))
    with pytest.raises(AssertionError, match="this store is empty"):
        list(store.read(plan.keys))
    store.build(plan, encoder(plan), lambda _: None)
    with pytest.raises(ValueError, match=r"2 of 3 vectors are not in this store: .*run the same command again"):
        list(store.read(keys("x", "a", "y")))


def test_a_finished_unit_is_not_done_again(tmp_path: Path) -> None:
    store, plan = VectorStore(tmp_path), plan_of(keys("a", "b", "c"))
    calls: list[slice] = []

    def breaks(pieces: slice) -> np.ndarray:
        if pieces.start == 4:
            raise KeyboardInterrupt
        return encoder(plan)(pieces)

    with pytest.raises(KeyboardInterrupt):
        store.build(plan, breaks, lambda _: None)
    assert store.shards() == []
    store.build(plan, encoder(plan, calls), lambda _: None)
    assert [pieces.start for pieces in calls] == [4, 6, 8]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [store.shards()[0].name]


def test_work_that_was_broken_off_goes_on_with_units_of_another_size(tmp_path: Path) -> None:
    store, plan = VectorStore(tmp_path), plan_of(keys("a", "b", "c"), unit=4)

    def breaks(pieces: slice) -> np.ndarray:
        if pieces.start == 4:
            raise KeyboardInterrupt
        return encoder(plan)(pieces)

    with pytest.raises(KeyboardInterrupt):
        store.build(plan, breaks, lambda _: None)
    smaller = plan_of(plan.keys, unit=2)
    store.build(smaller, encoder(smaller), lambda _: None)
    whole = VectorStore(tmp_path / "whole")
    whole.build(smaller, encoder(smaller), lambda _: None)
    assert (store.shards()[0] / VECTORS).read_bytes() == (whole.shards()[0] / VECTORS).read_bytes()
    assert sorted(path.name for path in store.folder.glob("*/")) == [store.shards()[0].name, "whole"]


def test_a_part_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = VectorStore(tmp_path), plan_of(keys("a", "b"))

    def half(path: Path, _: np.ndarray, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", half)
        with pytest.raises(OSError, match="no space"):
            store.build(plan, encoder(plan), lambda _: None)
    store.build(plan, encoder(plan), lambda _: None)
    assert {path.name for path in store.shards()[0].iterdir()} == {KEYS, VECTORS, "manifest.json"}


@pytest.fixture(scope="module")
def by_size(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Cohorts by their number of notes of 15 kilobytes; the first is encoded for what is held ever after."""
    padding, place = tiny_models.note(5, 750).replace(" ", 16 * " "), tmp_path_factory.mktemp("sizes")
    cohorts = {}
    for size in (60, 100, 600):
        texts = {row: [f"{size} {row} {padding}"] for row in range(size)}
        cohorts[size] = tiny_models.write_cohort(place / str(size), texts, size, str(size))
        regroup(cohorts[size])
    return cohorts


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_documents_but_by_an_index_of_them(
    by_size: dict[int, Path], tmp_path: Path
) -> None:
    model = tiny_models.write_model(tmp_path / "bert", positions=128)
    encoders = [{"encoder": "transformers", "model": str(model), "window": 128}, {"encoder": "hashed_ngrams"}]
    given = [json.dumps(encoders), str(tmp_path / "data"), *map(str, by_size.values())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.helpers.embed_peak", *given]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    _, fewer, more = by_size
    for encoder, (_, few, many) in zip(encoders, json.loads(done.stdout), strict=True):
        assert many - few < (more - fewer) * MOST_BYTES, (encoder, few, many)


def regroup(cohort: Path) -> None:
    """Write the notes in small groups, as the cohort stage writes larger ones."""
    path = cohort / "modalities" / "note" / documents.DOCUMENTS
    pl.read_parquet(path).write_parquet(path, row_group_size=embed_peak.GROUP)
