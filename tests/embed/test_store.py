"""The store of vectors: the same bytes whoever builds it, however often it is broken off, and nothing read twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.features import documents
from mmnar_lightning.embed.store import KEYS, VECTORS, Keys, Plan, VectorStore
from tests.embed import builds, peak, tiny

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 3
MOST_BYTES = 8000
"""That memory may grow by with a document: half of its text."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = {
        row: [tiny.note(3 * row + place, 3 + (row * 11) % 70) for place in range(1 + row % 3)]
        for row in range(0, 60, 2)
    }
    return tiny.write_cohort(tmp_path_factory.mktemp("cohort") / "c", texts, 60)


def start(cohort: Path, model: Path, data: Path, batches: int = -1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.embed.builds", str(cohort), str(model), str(data), str(batches)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes], expected: int = 0) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == expected, errors.decode()


def contents(data: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def alone(cohort: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    data = tmp_path_factory.mktemp("alone")
    finish(start(cohort, model, data))
    return contents(data)


def test_four_processes_leave_the_bytes_of_one(
    cohort: Path, model: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    for process in [start(cohort, model, tmp_path) for _ in range(4)]:
        finish(process)
    assert len(alone) == 8
    assert contents(tmp_path) == alone


def test_killed_at_several_points_and_started_again_it_leaves_the_same_bytes(
    cohort: Path, model: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    for batches in (3, 17):
        finish(start(cohort, model, tmp_path, batches), expected=9)
    assert not list(tmp_path.glob("embeddings/note-*"))
    finish(start(cohort, model, tmp_path))
    assert contents(tmp_path) == alone


def keys(*names: str) -> Keys:
    return np.array([f"{name:>032}".encode() for name in names], dtype="S32")


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
    store, plan, told = VectorStore(tmp_path), plan_of(keys("a", "b", "c")), []
    store.build(plan, encoder(plan), told.append)
    (block, vectors), *rest = store.read(keys("c", "a", "c"))
    expected = (1 * 1 + 2 * 2 + 3 * 3) / 6
    assert not rest
    assert np.allclose(vectors[:, 0], np.array([20, 0, 20]) + expected)
    assert vectors.shape == (3, WIDTH)
    assert block == slice(0, 3)
    assert sum(told) == pytest.approx(3)


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


def test_a_finished_unit_is_not_done_again(tmp_path: Path) -> None:
    store, plan, calls = VectorStore(tmp_path), plan_of(keys("a", "b", "c")), []

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


def test_settings_of_the_processes_make_many_units(model: Path) -> None:
    assert builds.settings(model).text.batch_windows == 2


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Cohorts of few and of many notes of 15 kilobytes, by their number."""
    padding, place = tiny.note(5, 3000), tmp_path_factory.mktemp("sizes")
    cohorts = {}
    for size in (400, 1600):
        texts = {row: [f"{size} {row} {padding}"] for row in range(size)}
        cohorts[size] = tiny.write_cohort(place / str(size), texts, size, str(size))
        regroup(cohorts[size])
    return cohorts


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("encoder", ["transformers", "hashed_ngrams"])
def test_memory_does_not_grow_with_the_documents_but_by_an_index_of_them(
    encoder: str, few_and_many: dict[int, Path], tmp_path: Path
) -> None:
    model = tiny.write_model(tmp_path / "bert", positions=128)
    settings = {"model": str(model), "window": 128, "overlap": 16} if encoder == "transformers" else {"width": 16}
    given = [json.dumps({"encoder": encoder, **settings}), str(tmp_path / "data"), *map(str, few_and_many.values())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.embed.peak", *given]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout)
    fewer, more = few_and_many
    assert many - few < (more - fewer) * MOST_BYTES, (few, many)


def regroup(cohort: Path) -> None:
    """Write the notes in small groups, as the cohort stage writes larger ones."""
    path = cohort / "modalities" / "note" / documents.DOCUMENTS
    pl.read_parquet(path).write_parquet(path, row_group_size=peak.GROUP)
